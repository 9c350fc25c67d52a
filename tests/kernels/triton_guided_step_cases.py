"""All Triton cases of the guided step, in Triton's interpreter: for test_guided_step_triton.py, in their own process.

TRITON_INTERPRET is read when a kernel is declared, so it is set for the whole process. Prints one line a case.
"""

import itertools
import sys

import torch

from raccord.kernels.guided_step import KeyedNoise, guided_step

# Sizes of 1, primes, several programs (a program takes 256 counters), every rank.
SHAPES = [(1, 4, 16, 16), (3, 2, 5, 7), (2, 3, 37), (2, 5), (1, 2, 8, 131)]


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape, limited, source in itertools.product(SHAPES, (False, True), ("none", "keyed", "given")):
        sample, uncond, cond, drawn = torch.randn((4, *shape), generator=generator).unbind(0)
        rows = torch.rand((shape[0], 7), generator=generator, dtype=torch.float64) * 2 - 1
        rows[:, 6] = 0.5
        if not limited:
            rows[:, 2], rows[:, 6] = 0.0, float("inf")
        rows[0, 1] = 0.0
        whole = len(shape) == 4 and limited
        scale = torch.rand((shape[0], 1, *shape[2:]), generator=generator) if whole else 7.5
        noise = {"none": None, "given": drawn, "keyed": KeyedNoise(2**62 + 1, list(range(shape[0])), -20)}[source]
        half = torch.float16 if source == "given" else torch.float32
        results = [
            guided_step(sample, uncond.to(half), cond.to(half), scale, rows, noise=noise, backend=backend)
            for backend in ("triton", "reference")
        ]
        state = sample.clone()
        guided_step(state, uncond.to(half), cond.to(half), scale, rows, noise=noise, inplace=True, backend="triton")
        expected = results[1].view(torch.int32)
        wrong = sum(int((actual.view(torch.int32) != expected).sum()) for actual in (results[0], state))
        sys.stdout.write(f"{wrong} of {expected.numel()} differ: {shape} limited={limited} noise={source}\n")


if __name__ == "__main__":
    main()

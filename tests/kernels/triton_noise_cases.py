"""All Triton cases of the noise, in Triton's interpreter: run by test_noise_triton.py in one process of its own.

TRITON_INTERPRET is read when a kernel is declared, so it is set for the whole process. Prints one line a case.
"""

import sys

import torch

from raccord.kernels.noise import gaussian

# Sizes of 1, primes, several programs (a program takes 256 counters), and origins of every alignment and both signs.
CASES = [
    (["a"], (1, 1, 1), (0, 0)),
    (["a", 7, "émile"], (2, 3, 5), (-1, -7)),
    (["a", "b"], (3, 17, 67), (11, 2)),
    (["a"], (1, 2, 128), (0, 0)),
    (["a", "b"], (2, 37), (-5, 3)),
    (["a"], (5,), (0, 1)),
    (["a"], (1, 3, 9), (2**31 - 3, 2**31 - 9)),
    (["a"], (1, 3, 43), (-(2**31), -(2**31))),
]


def main() -> None:
    for streams, shape, corner in CASES:
        steps = [(-1) ** index * 500 * index for index in range(len(streams))]
        results = [
            gaussian(2**62 + 1, "initial", streams, steps, shape, origin=[corner] * len(streams), backend=backend)
            for backend in ("triton", "reference")
        ]
        actual, expected = (result.view(torch.int32) for result in results)
        sys.stdout.write(f"{(actual != expected).sum()} of {actual.numel()} differ: {streams} {shape} {corner}\n")


if __name__ == "__main__":
    main()

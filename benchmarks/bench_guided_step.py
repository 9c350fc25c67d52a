"""The guided step beside what it replaces: diffusers' classifier-free guidance and `DDIMScheduler.step`, one thread.

    PYTHONSAFEPATH=1 .venv/bin/python benchmarks/bench_guided_step.py

Bits are compared with the reference first, and the result with diffusers'. Writes benchmarks/results/guided_step.json.
With eta 1 both sides draw their noise: diffusers from a generator, ours keyed by seed, stream and timestep.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

SHAPES = {
    "16x16": (1, 4, 16, 16),
    "64x64": (1, 4, 64, 64),
    "128x128": (1, 4, 128, 128),
    "4 x 128x128": (4, 4, 128, 128),
}
GUIDANCE = 7.5


def main() -> None:
    """Time both, for every shape with and without noise."""
    import diffusers
    import torch
    from side_by_side import compare, machine

    from raccord.kernels.guided_step import KeyedNoise, guided_step
    from raccord.sampler.diffusers_schedulers import DDIMScheduler

    torch.set_num_threads(1)
    settings = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
    theirs, own = diffusers.DDIMScheduler(**settings), DDIMScheduler(**settings)
    for scheduler in (theirs, own):
        scheduler.set_timesteps(50)
    moment, destination = theirs.timesteps[20], int(theirs.timesteps[21])
    rows = []
    for name, shape in SHAPES.items():
        generator = torch.Generator().manual_seed(0)
        sample = torch.randn(shape, generator=generator)
        outputs = torch.randn((2 * shape[0], *shape[1:]), generator=generator)
        streams = [f"frame-{row}" for row in range(shape[0])]
        for eta in (0.0, 1.0):
            row = own.guided_coefficients(moment, eta=eta)
            assert row is not None

            def peer(eta=eta, sample=sample, outputs=outputs, generator=generator):
                uncond, cond = outputs.chunk(2)
                guided = uncond + GUIDANCE * (cond - uncond)
                # pipelines pass an element of `timesteps`, as here, not the int of the annotation
                step = theirs.step(guided, moment, sample, eta=eta, generator=generator, return_dict=False)  # pyright: ignore[reportArgumentType]
                return step[0]

            def ours(eta=eta, sample=sample, outputs=outputs, streams=streams, row=row, backend=None):
                uncond, cond = outputs.chunk(2)
                noise = KeyedNoise(1, streams, destination) if eta > 0 else None
                return guided_step(sample, uncond, cond, GUIDANCE, row, noise=noise, backend=backend)

            with torch.no_grad():
                assert torch.equal(ours(), ours(backend="reference"))
                if eta == 0:
                    torch.testing.assert_close(ours(), peer(), rtol=1e-5, atol=1e-5)
                found = compare({"diffusers": peer, "raccord": ours}, ours="raccord", rounds=31)
            rows.append({"shape": name, "eta": eta, "who": found})
            print(name, eta, {key: round(value, 2) for key, value in found["diffusers"].items()}, flush=True)
    result = {"machine": machine(), "diffusers": diffusers.__version__, "rows": rows}
    (HERE / "results" / "guided_step.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

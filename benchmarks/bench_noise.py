"""Keyed noise beside torch.randn, one latent and a batch of latents; bits are compared with the reference first.

PYTHONSAFEPATH=1 .venv/bin/pytest benchmarks/bench_noise.py --benchmark-enable --benchmark-json=FILE
"""

import pytest
import torch

from raccord import gaussian
from raccord.kernels.noise import OPERATION

SHAPES = {"1 x 4x16x16": (1, 4, 16, 16), "1 x 4x64x64": (1, 4, 64, 64), "4 x 4x128x128": (4, 4, 128, 128)}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def drawer(who, shape):
    rows, *rest = shape
    streams, steps = [f"frame-{row}" for row in range(rows)], [0] * rows
    if who == "torch.randn":
        generator = torch.Generator().manual_seed(1)
        return lambda: torch.randn(shape, generator=generator)
    return lambda: gaussian(1, "bench", streams, steps, rest, backend=who)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("who", ["torch.randn", "cpu", "reference"])
def test_noise(benchmark, who, shape):
    benchmark.group = shape
    if who in OPERATION.backends and (reasons := OPERATION.backends[who].available()):
        pytest.skip("; ".join(reasons))
    draw = drawer(who, SHAPES[shape])
    if who != "torch.randn":
        assert torch.equal(draw(), drawer("reference", SHAPES[shape])())
    benchmark(draw)

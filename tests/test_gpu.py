"""What must hold on a CUDA device: `pytest -m gpu`. Skipped where there is none."""

import pytest
import torch

from raccord import gaussian
from raccord.kernels.entity_attention import entity_attention
from raccord.kernels.noise import OPERATION
from raccord.kernels.regional_attention import regional_attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device in this process"),
]


@pytest.mark.parametrize("backend", ["triton", "reference"])
@pytest.mark.parametrize("shape", [(4, 64, 64), (3, 17, 31), (1, 1, 5)])
def test_noise_has_the_bits_of_the_cpu(backend, shape):
    if reasons := OPERATION.backends[backend].available():
        pytest.skip("; ".join(reasons))
    streams, steps, origin = ["a", 7, "b"], [0, 3, -1], [(0, 0), (-5, 2), (100, 1)]
    there = gaussian(11, "gpu", streams, steps, shape, origin=origin, device="cuda", backend=backend)
    here = gaussian(11, "gpu", streams, steps, shape, origin=origin, backend="reference")
    assert torch.equal(there.cpu(), here)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_attention_errs_at_most_twice_as_much_as_on_the_cpu(dtype):
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    query, key, value = normal(2, 64, 4, 40), normal(2, 64, 4, 40), normal(2, 64, 4, 40)
    pool_key, pool_value = normal(30, 4, 40), normal(30, 4, 40)
    segments = torch.tensor([[[0, 10], [10, 20]]] * 2, dtype=torch.int32)
    weight = torch.rand((2, 2, 64), generator=generator)
    owner = torch.randint(0, 3, (2, 64), generator=generator, dtype=torch.uint8)
    visible = torch.eye(3, dtype=torch.bool).repeat(2, 1, 1)
    spans = torch.tensor([[[0, 10], [10, 20]]] * 2, dtype=torch.int32)

    def both(device, precision):
        def to(x):
            return x.to(device, precision) if x.is_floating_point() else x.to(device)

        regional = regional_attention(
            *map(to, (query, pool_key, pool_value, segments)), weight.to(device), height=8, width=8
        )
        shared = entity_attention(
            *map(to, (query, key, value, owner, visible)),
            bank_key=to(pool_key),
            bank_value=to(pool_value),
            bank_segments=spans.to(device),
            height=8,
            width=8,
        )
        return torch.cat([regional, shared]).double().cpu()

    exact = both("cpu", torch.float64)
    error, allowed = (both(device, dtype) - exact for device in ("cuda", "cpu"))
    assert error.abs().max() <= 2 * allowed.abs().max() + torch.finfo(dtype).eps

"""What must hold on a CUDA device: `pytest -m gpu`. Skipped where there is none."""

from typing import Any

import pytest
import torch

from raccord import gaussian
from raccord.kernels import noise
from raccord.kernels.entity_attention import entity_attention
from raccord.kernels.guided_step import KeyedNoise, guided_step
from raccord.kernels.regional_attention import OPERATION, regional_attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device in this process"),
]


@pytest.mark.parametrize("backend", ["triton", "reference"])
@pytest.mark.parametrize("shape", [(4, 64, 64), (3, 17, 31), (1, 1, 5)])
def test_noise_has_the_bits_of_the_cpu(backend, shape):
    if reasons := noise.OPERATION.backends[backend].available():
        pytest.skip("; ".join(reasons))
    streams, steps, origin = ["a", 7, "b"], [0, 3, -1], [(0, 0), (-5, 2), (100, 1)]
    there = gaussian(11, "gpu", streams, steps, shape, origin=origin, device="cuda", backend=backend)
    here = gaussian(11, "gpu", streams, steps, shape, origin=origin, backend="reference")
    assert torch.equal(there.cpu(), here)


BACKENDS = pytest.mark.parametrize("backend", ["triton", "reference"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
# (rows, side of the grid, heads, head width): as in SD 1.5 and SDXL
SHAPES = pytest.mark.parametrize(
    "shape", [(2, 8, 8, 160), (2, 16, 4, 80), (2, 32, 2, 40), (2, 32, 2, 64), (1, 64, 1, 64)]
)


@pytest.fixture(autouse=True)
def _only_what_serves(request):
    backend = request.getfixturevalue("backend") if "backend" in request.fixturenames else "reference"
    if reasons := OPERATION.backends[backend].available():
        pytest.skip("; ".join(reasons))


def regional(shape, dtype, *, device="cuda", seed=3):
    """(query, key, value, segments, weight) and the grid; texts of 77, 0, 20 and 77 tokens, a third of weights 0."""
    rows, side, heads, width = shape
    generator = torch.Generator().manual_seed(seed)
    lengths = (77, 0, 20, 77)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator).to(device, dtype)

    tensors = [normal(rows, side * side, heads, width), normal(174, heads, width), normal(174, heads, width)]
    spans = torch.tensor([[[sum(lengths[:i]), n] for i, n in enumerate(lengths)]] * rows, dtype=torch.int32)
    weight = torch.rand((rows, 4, side * side), generator=generator)
    weight[weight < 0.35] = 0.0
    # a box: most tiles do not hear the last text
    weight[:, 3].unflatten(1, (side, side))[:, side // 4 :] = 0.0
    return [*tensors, spans.to(device), weight.to(device)], {"height": side, "width": side}


def shared(shape, dtype, *, device="cuda", seed=4):
    """(query, key, value, owner, visible) and the rest of a call: two entities in boxes, each with a memory."""
    rows, side, heads, width = shape
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator).to(device, dtype)

    owner = torch.zeros((rows, side, side), dtype=torch.uint8)
    owner[:, side // 4 :, : side // 3] = 1
    owner[:, side // 4 :, side // 2 :] = 2
    visible = torch.ones((rows, 3, 3), dtype=torch.bool)
    visible[:, 1, 2] = visible[:, 2, 1] = False
    spans = torch.tensor([[[0, 100], [100, 33]]] * rows, dtype=torch.int32)
    args = [normal(rows, side * side, heads, width) for _ in range(3)]
    bank = {"bank_key": normal(133, heads, width), "bank_value": normal(133, heads, width)}
    grid = {"bank_segments": spans.to(device), "bank_weight": 1.5, "height": side, "width": side}
    return [*args, owner.flatten(1).to(device), visible.to(device)], {**bank, **grid}


def wide(x):
    return x.double() if isinstance(x, torch.Tensor) and x.is_floating_point() else x


def worst(found, exact):
    return float((found.double() - exact).abs().max())


def allowed(plain, exact, dtype, most):
    """Twice the reference's own error, and one rounding of the shares that meet the values (at most `most`)."""
    return 2 * worst(plain, exact) + torch.finfo(dtype).eps / 2 * float(most.abs().max())


@pytest.fixture(autouse=True)
def _no_tensorfloat():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@BACKENDS
@SHAPES
@DTYPES
@pytest.mark.parametrize("combine", ["blend", "joint"])
def test_regional_attention_errs_at_most_twice_as_much_as_the_reference(backend, shape, dtype, combine):
    args, grid = regional(shape, dtype)
    options = {**grid, "combine": combine, "return_lse": True}
    exact, exact_lse = regional_attention(*map(wide, args), **options, backend="reference")
    plain, plain_lse = regional_attention(*args, **options, backend="reference")
    found, lse = regional_attention(*args, **options, backend=backend)
    assert worst(found, exact) <= allowed(plain, exact, dtype, args[2])
    there = exact_lse.isfinite()
    assert torch.equal(there, lse.isfinite())
    assert worst(lse[there], exact_lse[there]) <= 2 * worst(plain_lse[there], exact_lse[there]) + 1e-5


@SHAPES
@DTYPES
@pytest.mark.parametrize("combine", ["blend", "joint"])
@pytest.mark.parametrize("backend", ["triton"])
def test_the_gradient_in_the_query_errs_at_most_twice_as_much_as_the_reference(backend, shape, dtype, combine):
    args, grid = regional(shape, dtype)
    generator = torch.Generator().manual_seed(5)
    output_gradient = torch.randn(args[0].shape, generator=generator).to("cuda")
    lse_gradient = torch.randn(args[4].shape, generator=generator).to("cuda")

    def gradient(tensors, backend):
        query = tensors[0].clone().requires_grad_()
        options = {**grid, "combine": combine, "return_lse": True, "backend": backend}
        output, lse = regional_attention(query, *tensors[1:], **options)
        pairs = [
            (output, output_gradient.to(output.dtype)),
            (lse[:, [0, 2, 3]], lse_gradient[:, [0, 2, 3]].to(lse.dtype)),
        ]
        return torch.autograd.grad([x for x, _ in pairs], query, [g for _, g in pairs])[0]

    exact, plain = gradient([wide(x) for x in args], "reference"), gradient(args, "reference")
    found = gradient(args, backend)
    # what is rounded to the dtype before it meets the keys is at most P (2 |dO| |v| + |g|)
    most = (
        2 * output_gradient.norm(dim=-1).max() * args[2].double().norm(dim=-1).max() + lse_gradient.abs().sum(1).max()
    )
    bound = args[0].shape[3] ** -0.5 * most * args[1].abs().max()
    assert worst(found, exact) <= allowed(plain, exact, dtype, bound)
    assert torch.equal(gradient(args, backend), found)


@BACKENDS
@SHAPES
@DTYPES
def test_entity_attention_errs_at_most_twice_as_much_as_the_reference(backend, shape, dtype):
    entity_attention_errs_little(backend, shape, dtype)


@SHAPES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_entity_attention_through_pytorchs_own_errs_at_most_twice_as_much(shape, dtype):
    entity_attention_errs_little("sdpa", shape, dtype)


def entity_attention_errs_little(backend, shape, dtype):
    args, rest = shared(shape, dtype)
    exact = entity_attention(*map(wide, args), **{name: wide(x) for name, x in rest.items()}, backend="reference")
    plain = entity_attention(*args, **rest, backend="reference")
    most = torch.cat([args[2].flatten(), rest["bank_value"].flatten()])
    found = entity_attention(*args, **rest, backend=backend)
    assert worst(found, exact) <= allowed(plain, exact, dtype, most)


@pytest.mark.parametrize("backend", ["triton"])
@DTYPES
@pytest.mark.parametrize("which", ["regional", "shared"])
def test_neither_batch_nor_order_nor_a_rerun_changes_a_bit(backend, which, dtype):
    make, attend = (regional, regional_attention) if which == "regional" else (shared, entity_attention)
    made: Any = make((4, 32, 2, 64), dtype)
    args, rest = made
    per_row = {0, 3, 4} if which == "regional" else set(range(5))

    def some(rows):
        picked = [x[rows] if i in per_row else x for i, x in enumerate(args)]
        more = {name: x[rows] if name == "bank_segments" else x for name, x in rest.items()}
        return attend(*picked, **more, backend=backend)

    whole = some([0, 1, 2, 3])
    assert all(torch.equal(some([0, 1, 2, 3]), whole) for _ in range(100))
    assert torch.equal(some([2, 0, 3, 1]), whole[[2, 0, 3, 1]])
    for row in range(4):
        assert torch.equal(some([row])[0], whole[row])


@pytest.mark.parametrize("backend", ["triton"])
def test_what_is_hidden_may_hold_anything(backend):
    args, rest = shared((1, 32, 2, 64), torch.bfloat16)
    clean = entity_attention(*args, **rest, backend=backend)
    mine = args[3][0] == 1
    for poisoned in (args[1], args[2]):
        poisoned[0, args[3][0] == 2] = torch.nan
    rest["bank_key"][100:], rest["bank_value"][100:] = torch.nan, torch.inf
    found = entity_attention(*args, **rest, backend=backend)
    assert torch.equal(found[0, mine], clean[0, mine])
    assert found[0, args[3][0] == 2].isnan().all()


@pytest.mark.parametrize("backend", ["triton"])
def test_a_guided_step_has_the_bits_of_the_cpu(backend):
    generator = torch.Generator().manual_seed(6)
    sample, uncond, cond = torch.randn((3, 2, 4, 24, 40), generator=generator).unbind(0)
    coefficients = torch.tensor([[0.9, -0.2, 0.1, 0.3, 1.1, -0.5, 3.0]] * 2, dtype=torch.float64)
    noise_key = KeyedNoise(7, ["a", "b"], 5)

    def step(device, **options):
        tensors = (x.to(device) for x in (sample, uncond, cond))
        return guided_step(*tensors, 5.0, coefficients.to(device), noise=noise_key, **options)

    assert torch.equal(step("cuda", backend=backend).cpu(), step("cpu", backend="reference"))


@DTYPES
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

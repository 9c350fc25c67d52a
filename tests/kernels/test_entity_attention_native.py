"""Entity attention in C++: as exact as plain torch in the same dtype, and the bits that must not change."""

import pytest
import torch

from raccord.kernels import _native
from raccord.kernels.entity_attention import entity_attention, native, routes

pytestmark = pytest.mark.skipif(bool(_native.reasons()), reason="; ".join(_native.reasons()))

DTYPES = [torch.float32, torch.bfloat16]
USABLE = [] if _native.reasons() else _native.levels()[1]
# each of them multiplies bfloat16 as such, with its own bits, so laws must hold at each
PAIRED = [(torch.bfloat16, level) for level in USABLE if level in _native.BFLOAT16_LEVELS]
DTYPE_AND_LEVEL = pytest.mark.parametrize(("dtype", "level"), [(torch.float32, None), (torch.bfloat16, None), *PAIRED])


def make(seed, *, rows=2, height=6, width=7, heads=2, head_width=40, memory=(3, 0, 80), dtype=torch.float32):
    """(query, key, value, owner, visible), the rest of the call, with a bank that each row uses alike."""
    generator = torch.Generator().manual_seed(seed)
    positions, kinds, total = height * width, len(memory) + 1, sum(memory)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    tensors = [normal(rows, positions, heads, head_width) for _ in range(3)]
    owner = torch.randint(0, kinds, (rows, positions), generator=generator, dtype=torch.uint8)
    visible = torch.rand((rows, kinds, kinds), generator=generator) > 0.4
    starts = [sum(memory[:i]) for i in range(len(memory))]
    spans = torch.tensor([list(zip(starts, memory, strict=True))] * rows, dtype=torch.int32)
    rest = {
        "bank_key": normal(total, heads, head_width),
        "bank_value": normal(total, heads, head_width),
        "bank_segments": spans.reshape(rows, len(memory), 2),
        "bank_weight": 1.5,
        "height": height,
        "width": width,
    }
    return [*tensors, owner, visible], rest


def cpu(args, rest, **more):
    return entity_attention(*args, **rest, backend="cpu", **more)


def kernel(args, rest, **options):
    query, *_ = args
    given = [rest[name] for name in ("bank_key", "bank_value", "bank_segments")]
    scale = query.shape[-1] ** -0.5
    return native.entity_attention(*args, *given, bank_weight=rest["bank_weight"], scale=scale, **options)


def poisoned(args, rest, kind, poison):
    """The call of one row with `poison` for whatever a position that belongs to `kind` does not see."""
    query, key, value, owner, visible = args
    hidden = ~visible[0, kind][owner[0].long()]
    key, value = key.clone(), value.clone()
    key[0, hidden], value[0, hidden] = poison, poison
    bank_key, bank_value = rest["bank_key"].clone(), rest["bank_value"].clone()
    for entity, (start, length) in enumerate(rest["bank_segments"][0].tolist(), start=1):
        if entity != kind:
            bank_key[start : start + length] = bank_value[start : start + length] = poison
    return [query, key, value, owner, visible], {**rest, "bank_key": bank_key, "bank_value": bank_value}


def wide(value):
    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def bits(tensor):
    return tensor.view(torch.int16 if tensor.dtype == torch.bfloat16 else torch.int32)


@DTYPE_AND_LEVEL
@pytest.mark.parametrize(
    ("grid", "head_width", "memory"),
    [
        ((1, 1), 32, (1,)),
        ((1, 1), 8, ()),
        ((7, 9), 40, (77, 0, 1)),
        ((8, 8), 64, (80,)),
        ((16, 16), 80, (5, 193, 7)),
        ((16, 16), 160, (192, 31)),
        ((32, 32), 40, (400, 3)),
        ((5, 3), 3, (2, 2, 2, 2, 2, 2, 2)),
    ],
)
def test_is_as_exact_as_plain_torch(grid, head_width, memory, dtype, level):
    args, rest = make(1, height=grid[0], width=grid[1], head_width=head_width, memory=memory, dtype=dtype)
    exact = entity_attention(*map(wide, args), **{name: wide(value) for name, value in rest.items()})
    found, plain = kernel(args, rest, level=level), entity_attention(*args, **rest, backend="reference").double()
    assert level is not None or torch.equal(bits(found), bits(cpu(args, rest)))
    # twice torch's own error; where that is (nearly) nothing, one rounding of the result
    allowed = 2 * (plain - exact).norm() + torch.finfo(dtype).eps / 2 * exact.norm()
    assert (found - exact).norm() <= allowed


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "offset"), [(300.0, 0.0), (1.0, 900.0), (1.0, -900.0), (60.0, 300.0), (60.0, -300.0)])
def test_large_scores_do_not_overflow(size, offset, dtype):
    """Scores far apart, or all far from 0 on either side, also over several blocks of keys and with memory."""
    args, rest = make(2, height=16, width=16, head_width=16, memory=(200, 300), dtype=dtype)
    args[0] *= size
    # one column of the products is the same for all keys
    args[0][..., 0] = offset
    args[1][..., 0] = rest["bank_key"][..., 0] = 1.0
    exact = entity_attention(*map(wide, args), **{name: wide(value) for name, value in rest.items()})
    plain = entity_attention(*args, **rest, backend="reference")
    found = cpu(args, rest)
    assert torch.isfinite(found).all()
    assert (found - exact).norm() <= 2 * (plain - exact).norm() + torch.finfo(dtype).eps / 2 * exact.norm()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", USABLE)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_neither_instruction_set_nor_threads_change_a_bit(level, threads, dtype):
    # enough work for several threads to be started
    args, rest = make(3, height=16, width=16, heads=4, head_width=40, dtype=dtype)
    found = kernel(args, rest, threads=threads, level=level)
    own = (dtype, level) in PAIRED
    assert torch.equal(bits(found), bits(kernel(args, rest, threads=1, level=level if own else "scalar")))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rerun_gives_the_same_bits(dtype):
    args, rest = make(4, dtype=dtype)
    first = cpu(args, rest)
    assert all(torch.equal(bits(cpu(args, rest)), bits(first)) for _ in range(100))


@DTYPE_AND_LEVEL
def test_neither_batch_nor_order_of_rows_changes_a_bit(dtype, level):
    args, rest = make(5, rows=4, dtype=dtype)
    whole = kernel(args, rest, level=level)
    for row in range(4):
        alone = [x[row : row + 1] for x in args], {**rest, "bank_segments": rest["bank_segments"][row : row + 1]}
        assert torch.equal(bits(kernel(*alone, level=level)[0]), bits(whole[row]))
    order = [2, 0, 3, 1]
    turned = [x[order] for x in args], {**rest, "bank_segments": rest["bank_segments"][order]}
    assert torch.equal(bits(kernel(*turned, level=level)), bits(whole[order]))


@DTYPE_AND_LEVEL
@pytest.mark.parametrize("poison", [7.0, float("nan")])
def test_other_queries_change_no_bit(dtype, level, poison):
    args, rest = make(6, dtype=dtype)
    clean = kernel(args, rest, level=level)
    args[0][:, ::2] = poison
    assert torch.equal(bits(kernel(args, rest, level=level)[:, 1::2]), bits(clean[:, 1::2]))


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_seen_may_hold_anything(poison):
    args, rest = make(7, rows=1)
    owner = args[3][0]
    clean = cpu(args, rest)
    for kind in range(4):
        found = cpu(*poisoned(args, rest, kind, poison))
        assert torch.equal(bits(found[0, owner == kind]), bits(clean[0, owner == kind]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_skipped_groups_change_no_bit(dtype):
    """Entities that stand nowhere, with memory, beside those that do: more groups to skip, the same result."""
    args, rest = make(8, memory=(9, 20), dtype=dtype)
    clean = cpu(args, rest)
    rows, kinds = args[3].shape[0], 6
    visible = torch.ones((rows, kinds, kinds), dtype=torch.bool)
    visible[:, :3, :3] = args[4]
    absent = torch.tensor([[0, 29], [3, 4], [0, 0]], dtype=torch.int32).expand(rows, 3, 2)
    more = {**rest, "bank_segments": torch.cat([rest["bank_segments"], absent], 1)}
    assert torch.equal(bits(cpu([*args[:4], visible], more)), bits(clean))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_memory_lies_in_the_bank_changes_no_bit(dtype):
    args, rest = make(9, memory=(5, 30), dtype=dtype)
    clean = cpu(args, rest)
    gap = torch.full((13, 2, 40), float("nan"), dtype=dtype)
    moved = {name: torch.cat([gap, rest[name][5:], gap, rest[name][:5], gap]) for name in ("bank_key", "bank_value")}
    spans = torch.tensor([[56, 5], [13, 30]], dtype=torch.int32).expand(2, 2, 2)
    assert torch.equal(bits(cpu(args, {**rest, **moved, "bank_segments": spans})), bits(clean))


@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_of_weight_zero_is_no_memory(dtype):
    args, rest = make(10, dtype=dtype)
    none = {**rest, "bank_segments": torch.zeros_like(rest["bank_segments"])}
    poisoned = {**rest, "bank_key": torch.full_like(rest["bank_key"], float("nan")), "bank_weight": 0.0}
    assert torch.equal(bits(cpu(args, poisoned)), bits(cpu(args, none)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_position_that_sees_nothing_gives_zero(dtype):
    args, rest = make(11, memory=(4,), dtype=dtype)
    args[4][:] = False
    found = cpu(args, rest)
    lonely = args[3] == 0
    assert found[lonely].eq(0).all()
    assert found[~lonely].ne(0).any(-1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_tensors_are_welcome(dtype):
    args, rest = make(12, dtype=dtype)
    strided = [torch.stack([x, x], -1)[..., 0] if x.is_floating_point() else x for x in args]
    assert not strided[0].is_contiguous()
    assert torch.equal(bits(cpu(strided, rest)), bits(cpu(args, rest)))


def test_automatic_choice_serves_what_cpu_cannot():
    args, rest = make(13, rows=1, height=2, width=2, head_width=4, memory=(2,))
    half = [x.half() if x.is_floating_point() else x for x in args]
    rest_half = {name: x.half() if name in ("bank_key", "bank_value") else x for name, x in rest.items()}
    assert entity_attention(*half, **rest_half).dtype == torch.float16
    with pytest.raises(RuntimeError, match=r"takes float32 and bfloat16, and the query is torch\.float16"):
        cpu(half, rest_half)
    args[0].requires_grad_()
    entity_attention(*args, **rest).sum().backward()
    assert args[0].grad is not None
    with pytest.raises(RuntimeError, match="no derivative"):
        cpu(args, rest)


def test_a_measured_route_goes_before_the_order_of_backends(monkeypatch):
    monkeypatch.delenv("RACCORD_BACKEND", raising=False)
    args, rest = make(16, height=6, width=7, head_width=8)
    by_sdpa = entity_attention(*args, **rest, backend="sdpa")
    assert not torch.equal(by_sdpa, entity_attention(*args, **rest))
    here = routes.architecture(torch.device("cpu"))
    monkeypatch.setattr(routes, "FASTEST", {(here, 8, 42, torch.float32): "sdpa"})
    assert torch.equal(entity_attention(*args, **rest), by_sdpa)
    # the key holds the dtype, and never the batch; a forced backend and one that cannot serve go their ways
    assert torch.equal(
        entity_attention(*[x[:1] for x in args], **rest | {"bank_segments": rest["bank_segments"][:1]}), by_sdpa[:1]
    )
    assert torch.equal(entity_attention(*args, **rest, backend="cpu"), cpu(args, rest))
    args[0].requires_grad_()
    assert entity_attention(*args, **rest).requires_grad


def operator_call(seed=14):
    args, rest = make(seed, height=3, width=3, head_width=8, memory=(3, 2))
    return (*args, rest["bank_key"], rest["bank_value"], rest["bank_segments"], 1.5, 0.3)


def test_the_registered_operator_passes_opcheck():
    torch.library.opcheck(torch.ops.raccord.entity_attention.default, operator_call())


def test_the_registered_operator_checks_what_would_be_read_out_of_bounds():
    call = list(operator_call())
    call[7] = torch.tensor([[[0, 3], [3, 9]]] * 2, dtype=torch.int32)
    with pytest.raises(ValueError, match="must lie in the bank of M = 5 tokens"):
        torch.ops.raccord.entity_attention(*call)


def test_a_compiled_graph_holds_the_operator():
    args, rest = make(15, height=3, width=3, head_width=8)
    compiled = torch.compile(lambda *x: entity_attention(*x, **rest) * 1.0, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(*args), entity_attention(*args, **rest))

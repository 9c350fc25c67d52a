"""Entity attention in Triton's interpreter: run by test_entity_attention_triton.py in one process of its own, since
TRITON_INTERPRET is read when a kernel is declared. Tiny, because the interpreter takes a second for a few programs.
"""

import pytest
import torch
from test_entity_attention_native import make, poisoned, wide

from raccord.kernels.entity_attention import entity_attention, triton

DTYPES = [torch.float32, torch.float16]


def small(seed, **changes):
    return make(
        seed, **{"rows": 1, "height": 4, "width": 5, "heads": 1, "head_width": 24, "memory": (3, 0, 9), **changes}
    )


def ours(args, rest, **more):
    return entity_attention(*args, **rest, backend="triton", **more)


def kernel(args, rest, bank_weight=1.5):
    bank = [rest[name] for name in ("bank_key", "bank_value", "bank_segments")]
    return triton.entity_attention(*args, *bank, bank_weight=bank_weight, scale=0.2)


@pytest.mark.parametrize(
    ("grid", "head_width", "memory", "dtype"),
    [
        ((1, 1), 32, (1,), torch.float32),
        ((1, 1), 8, (), torch.float32),
        ((5, 7), 40, (77, 0, 1), torch.float16),
        ((9, 16), 64, (80,), torch.float32),
        ((8, 17), 80, (), torch.float32),
        ((5, 3), 160, (33, 64), torch.float32),
        ((5, 3), 160, (7,), torch.float16),
        ((5, 3), 3, (2, 2, 2, 2, 2, 2, 2), torch.float32),
    ],
)
def test_errs_at_most_twice_as_much_as_plain_torch(grid, head_width, memory, dtype):
    args, rest = small(1, height=grid[0], width=grid[1], head_width=head_width, memory=memory, dtype=dtype)
    exact = entity_attention(*map(wide, args), **{name: wide(value) for name, value in rest.items()})
    plain = entity_attention(*args, **rest, backend="reference").double()
    error = (ours(args, rest).double() - exact).abs().max()
    # products of float16: a share p of a value v is rounded, so the result errs by sum of p |v| half units more
    most = max(float(x.abs().max()) for x in (args[2], rest["bank_value"]) if x.numel())
    assert error <= 2 * (plain - exact).abs().max() + torch.finfo(dtype).eps / 2 * most


def test_large_scores_do_not_overflow():
    args, rest = small(2)
    args[0] *= 300.0
    exact = entity_attention(*map(wide, args), **{name: wide(value) for name, value in rest.items()})
    plain = entity_attention(*args, **rest, backend="reference")
    found = ours(args, rest)
    assert torch.isfinite(found).all()
    assert (found - exact).abs().max() <= 2 * (plain - exact).abs().max() + 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_neither_batch_nor_order_of_rows_changes_a_bit(dtype):
    args, rest = small(3, rows=3, dtype=dtype)
    whole = ours(args, rest)
    for row in range(3):
        alone = [x[row : row + 1] for x in args], {**rest, "bank_segments": rest["bank_segments"][row : row + 1]}
        assert torch.equal(ours(*alone)[0], whole[row])
    order = [2, 0, 1]
    turned = [x[order] for x in args], {**rest, "bank_segments": rest["bank_segments"][order]}
    assert torch.equal(ours(*turned), whole[order])


def test_other_queries_change_no_bit():
    args, rest = small(4)
    clean = ours(args, rest)
    args[0][:, ::2] = torch.nan
    assert torch.equal(ours(args, rest)[:, 1::2], clean[:, 1::2])


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_not_seen_may_hold_anything(poison):
    args, rest = small(5)
    owner = args[3][0]
    clean = ours(args, rest)
    for kind in range(4):
        found = ours(*poisoned(args, rest, kind, poison))
        assert torch.equal(found[0, owner == kind], clean[0, owner == kind])


def test_what_is_not_a_number_stays_so_where_it_is_seen():
    args, rest = small(6, memory=())
    args[4][:] = True
    args[1][0, 7] = torch.nan
    assert ours(args, rest).isnan().all()


def test_skipped_groups_change_no_bit():
    """Entities that stand nowhere, with memory, beside those that do: more groups to skip, the same result."""
    args, rest = small(7, memory=(9, 20))
    clean = ours(args, rest)
    visible = torch.ones((1, 6, 6), dtype=torch.bool)
    visible[:, :3, :3] = args[4]
    absent = torch.tensor([[[0, 29], [3, 4], [0, 0]]], dtype=torch.int32)
    more = {**rest, "bank_segments": torch.cat([rest["bank_segments"], absent], 1)}
    assert torch.equal(ours([*args[:4], visible], more), clean)


def test_a_hidden_group_is_as_good_as_none():
    """Skipping on and off: the keys of a group that nobody sees, or no such keys at all."""
    args, rest = small(8, memory=())
    args[3][:] = torch.arange(20) % 2
    two = torch.tensor([[[True, False], [True, False]]])
    rest["bank_segments"] = torch.zeros((1, 1, 2), dtype=torch.int32)
    hidden = ours([*args[:4], two], rest)
    first = args[3][0] == 0
    alone = [x[:, first] for x in args[:4]]
    kept = ours([*alone, two], {**rest, "height": 2, "width": 5})
    assert torch.equal(hidden[:, first], kept)


def test_where_memory_lies_in_the_bank_changes_no_bit():
    args, rest = small(9, memory=(5, 30))
    clean = ours(args, rest)
    gap = torch.full((13, 1, 24), float("nan"))
    moved = {name: torch.cat([gap, rest[name][5:], gap, rest[name][:5], gap]) for name in ("bank_key", "bank_value")}
    spans = torch.tensor([[[56, 5], [13, 30]]], dtype=torch.int32)
    assert torch.equal(ours(args, {**rest, **moved, "bank_segments": spans}), clean)


def test_memory_of_weight_zero_is_no_memory():
    args, rest = small(10)
    none = {**rest, "bank_segments": torch.zeros_like(rest["bank_segments"])}
    poisoned = {**rest, "bank_key": torch.full_like(rest["bank_key"], float("nan")), "bank_weight": 0.0}
    assert torch.equal(ours(args, poisoned), ours(args, none))


def test_a_position_that_sees_nothing_gives_zero():
    args, rest = small(11, memory=(4,))
    args[4][:] = False
    found = ours(args, rest)
    lonely = args[3] == 0
    assert found[lonely].eq(0).all()
    assert found[~lonely].ne(0).any(-1).all()


def test_an_owner_without_a_row_in_visible_sees_nothing():
    """On a GPU nobody looks at the owners beforehand, and no memory may be read or left as it was."""
    args, rest = small(12)
    args[3][0, :3] = torch.tensor([4, 9, 255])
    found = kernel(args, rest)
    assert found[0, :3].eq(0).all()
    assert found[0, 3:].ne(0).any(-1).any()


def test_strided_tensors_are_welcome():
    args, rest = small(13)
    strided = [torch.stack([x, x], -1)[..., 0] if x.is_floating_point() else x for x in args]
    spread = [torch.cat([x, x], 1)[:, ::2].repeat_interleave(2, 1)[:, ::2] if i < 3 else x for i, x in enumerate(args)]
    assert not strided[0].is_contiguous()
    assert torch.equal(ours(strided, rest), ours(args, rest))
    assert torch.equal(ours(spread, rest), ours([x.contiguous() for x in spread], rest))


def test_a_rerun_gives_the_same_bits():
    args, rest = small(14, height=1, width=2, memory=(3,))
    first = ours(args, rest)
    assert all(torch.equal(ours(args, rest), first) for _ in range(20))


def test_it_has_no_derivative_and_says_so():
    args, rest = small(15, height=1, width=1)
    args[0].requires_grad_()
    with pytest.raises(RuntimeError, match="no derivative"):
        ours(args, rest)


def test_the_registered_operator_passes_opcheck():
    args, rest = small(16, height=1, width=2, memory=(3, 2))
    call = (*args, rest["bank_key"], rest["bank_value"], rest["bank_segments"], 1.5, 0.3, "triton")
    torch.library.opcheck(torch.ops.raccord.entity_attention.default, call)

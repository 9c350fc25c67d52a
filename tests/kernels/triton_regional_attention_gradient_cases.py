"""The query's gradient of regional attention in Triton's interpreter: run by test_regional_attention_triton.py in one
process of its own, since TRITON_INTERPRET is read when a kernel is declared. Tiny, because the interpreter is slow.
"""

from typing import Any

import pytest
import torch
from test_regional_attention_cpu import make

from raccord.kernels.regional_attention import regional_attention

COMBINE = pytest.mark.parametrize("combine", ["blend", "joint"])


def gradient(tensors, output_gradient, lse_gradient=None, *, combine, height, backend="triton"):
    """dQ for these gradients of the output and of the lse (None: not asked for)."""
    query, *others = tensors
    leaf = query.detach().clone().requires_grad_()
    options = {"height": height, "width": query.shape[1] // height, "combine": combine, "backend": backend}
    if lse_gradient is None:
        output, lse = regional_attention(leaf, *others, **options), None
    else:
        output, lse = regional_attention(leaf, *others, **options, return_lse=True)
        lse = torch.where(lse.isfinite(), lse, 0.0)
    pairs = [(output, output_gradient)] if lse is None else [(output, output_gradient), (lse, lse_gradient)]
    return torch.autograd.grad([x for x, _ in pairs], leaf, [g.to(x.dtype) for x, g in pairs])[0]


def exact(tensors, *given, **options):
    wide = [x.double() if x.is_floating_point() else x for x in tensors]
    return gradient(wide, *(None if x is None else x.double() for x in given), **options, backend="reference")


def case(seed, *, lse=True, **changes):
    """(tensors, the gradients of output and lse)."""
    tensors = make(seed, **{"rows": 1, "positions": 20, "heads": 1, "head_width": 24, "lengths": (5, 0, 7), **changes})
    generator = torch.Generator().manual_seed(seed + 1000)
    output_gradient = torch.randn(tensors[0].shape, generator=generator).to(tensors[0].dtype)
    lse_gradient: Any = torch.randn(tensors[4].shape, generator=generator) if lse else None
    return tensors, (output_gradient, lse_gradient)


@COMBINE
@pytest.mark.parametrize(
    ("positions", "height", "heads", "head_width", "lengths", "lse", "dtype"),
    [
        (1, 1, 1, 8, (1,), False, torch.float32),
        (99, 9, 2, 40, (77, 0, 5), True, torch.float32),
        (64, 8, 1, 64, (80, 33), False, torch.float32),
        (35, 5, 1, 80, (7, 9), True, torch.float16),
        (35, 5, 1, 160, (7, 40), True, torch.float32),
        (20, 4, 1, 40, (0, 0), True, torch.float32),
    ],
)
def test_errs_at_most_twice_as_much_as_plain_torch(positions, height, heads, head_width, lengths, lse, dtype, combine):
    tensors, given = case(
        1, positions=positions, heads=heads, head_width=head_width, lengths=lengths, lse=lse, dtype=dtype
    )
    tensors[4][:, -1, 3:] = 0.0
    expected = exact(tensors, *given, combine=combine, height=height)
    options = {"combine": combine, "height": height}
    found = gradient(tensors, *given, **options).double()
    plain = gradient(tensors, *given, **options, backend="reference").double()
    # float16: dS is rounded before it meets the keys, so the result errs by sum of |dS| |k| half units more; and
    # |dS| <= P (2 |dO| |v| + |g|), summed over a position's segments, whose P sum to 1 each
    unit = torch.finfo(dtype).eps / 2
    query, key, value = (x.double() for x in tensors[:3])
    most = 2 * float(given[0].double().norm(dim=-1).max()) * float(value.norm(dim=-1).max()) if len(value) else 0.0
    most += float(given[1].abs().sum(1).max()) if lse else 0.0
    bound = query.shape[3] ** -0.5 * most * float(key.abs().max()) if len(key) else 0.0
    allowed = 2 * (plain - expected).abs().max() + (
        unit * bound if dtype == torch.float16 else unit * expected.abs().max()
    )
    assert (found - expected).abs().max() <= allowed
    assert expected.ne(0).any() == (sum(lengths) > 1)


@COMBINE
def test_the_gradient_of_the_lse_alone(combine):
    tensors, (output_gradient, lse_gradient) = case(2)
    given = (torch.zeros_like(output_gradient), lse_gradient)
    expected = exact(tensors, *given, combine=combine, height=4)
    found = gradient(tensors, *given, combine=combine, height=4)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@COMBINE
def test_bits_do_not_depend_on_the_batch_or_on_neighbours(combine):
    tensors, given = case(3, rows=3)
    whole = gradient(tensors, *given, combine=combine, height=4)
    order = [2, 0, 1]
    query, key, value, segments, weight = tensors
    turned = (query[order], key, value, segments[order], weight[order])
    assert torch.equal(gradient(turned, *(x[order] for x in given), combine=combine, height=4), whole[order])
    alone = (query[1:2], key, value, segments[1:2], weight[1:2])
    assert torch.equal(gradient(alone, *(x[1:2] for x in given), combine=combine, height=4)[0], whole[1])
    query[:, ::2] *= -3.0
    assert torch.equal(gradient(tensors, *given, combine=combine, height=4)[:, 1::2], whole[:, 1::2])


@COMBINE
def test_bits_do_not_depend_on_unseen_segments_and_their_poison(combine):
    tensors, (output_gradient, _) = case(4, lse=False)
    query, key, value, segments, weight = tensors
    clean = gradient(tensors, output_gradient, combine=combine, height=4)
    gap = torch.full((3, 1, 24), float("nan"))
    more = torch.cat([segments, torch.tensor([[[12, 3]]], dtype=torch.int32)], 1)
    unheard = torch.cat([weight, torch.zeros(1, 1, 20)], 1)
    wider = (query, torch.cat([key, gap]), torch.cat([value, gap]), more, unheard)
    assert torch.equal(gradient(wider, output_gradient, combine=combine, height=4), clean)


@COMBINE
def test_a_rerun_gives_the_same_bits_and_all_of_them_are_written(combine):
    tensors, given = case(5, positions=35)
    torch.use_deterministic_algorithms(True)  # fills uninitialized memory with NaN
    try:
        first = gradient(tensors, *given, combine=combine, height=5)
        assert first.isfinite().all()
        assert all(torch.equal(gradient(tensors, *given, combine=combine, height=5), first) for _ in range(5))
    finally:
        torch.use_deterministic_algorithms(False)


def test_other_gradients_are_still_those_of_the_reference():
    tensors, _ = case(6)
    found = []
    for backend in ("triton", "reference"):
        leaves = [x.detach().clone().requires_grad_() if x.is_floating_point() else x for x in tensors]
        regional_attention(*leaves, height=4, width=5, backend=backend).square().sum().backward()
        found.append([leaf.grad for leaf in leaves if leaf.is_floating_point()])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@COMBINE
def test_the_operation_keeps_the_rules_of_torch_library(combine):
    query, *others = case(7, positions=2, lengths=(2, 1))[0]
    operands = (query.requires_grad_(), *others, None, None, 1, 2, 0.2, combine, True, "triton")
    torch.library.opcheck(torch.ops.raccord.regional_attention.default, operands)

"""Laws of the reference, which is the specification: each is checked against the formula in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from raccord.kernels.regional_attention import reference, regional_attention


def make(seed, *, rows=2, height=4, width=5, heads=2, head_width=8, lengths=(7, 3, 5), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    total, positions = sum(lengths), height * width
    query = torch.randn((rows, positions, heads, head_width), generator=generator, dtype=torch.float64)
    key = torch.randn((total, heads, head_width), generator=generator, dtype=torch.float64)
    value = torch.randn((total, heads, head_width), generator=generator, dtype=torch.float64)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    spans = torch.tensor([[[s, n] for s, n in zip(starts, lengths, strict=True)]] * rows, dtype=torch.int32)
    weight = torch.rand((rows, len(lengths), positions), generator=generator, dtype=torch.float64)
    weight[weight < 0.3] = 0.0
    return [query.to(dtype), key.to(dtype), value.to(dtype), spans, weight], {"height": height, "width": width}


def by_formula(query, key, value, spans, weight, combine):
    """The two formulas position by position, with no shared code."""
    out = torch.zeros_like(query)
    lse = torch.full(weight.shape, -torch.inf, dtype=query.dtype)
    rows, positions, heads, head_width = query.shape
    for b in range(rows):
        for p in range(positions):
            per_head = torch.zeros(heads, spans.shape[1], dtype=query.dtype)
            for h in range(heads):
                total, norm = torch.zeros(head_width, dtype=query.dtype), 0.0
                for s, (start, length) in enumerate(spans[b].tolist()):
                    if length == 0:
                        continue
                    scores = key[start : start + length, h] @ query[b, p, h] / head_width**0.5
                    exponentials = scores.exp()
                    per_head[h, s] = exponentials.sum().log()
                    w = float(weight[b, s, p])
                    inner = exponentials @ value[start : start + length, h]
                    if combine == "blend":
                        total, norm = total + w * inner / exponentials.sum(), norm + w
                    else:
                        total, norm = total + w * inner, norm + w * float(exponentials.sum())
                if norm > 0:
                    out[b, p, h] = total / norm
            for s in range(spans.shape[1]):
                if spans[b, s, 1] > 0:
                    lse[b, s, p] = per_head[:, s].mean()
    return out, lse


@pytest.mark.parametrize("combine", ["blend", "joint"])
@given(seed=st.integers(0, 2**20), lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(any))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_equals_the_formula(combine, seed, lengths):
    args, grid = make(seed, lengths=tuple(lengths), height=2, width=3)
    found, lse = regional_attention(*args, **grid, combine=combine, return_lse=True)
    expected, expected_lse = by_formula(*args, combine)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("combine", ["blend", "joint"])
def test_one_segment_of_weight_one_is_ordinary_attention(combine):
    (query, key, value, _, _), grid = make(1)
    rows, positions = query.shape[:2]
    spans = torch.tensor([[[0, key.shape[0]]]] * rows, dtype=torch.int32)
    found = regional_attention(query, key, value, spans, torch.ones((rows, 1, positions)), **grid, combine=combine)
    k, v = (x.transpose(0, 1)[None].expand(rows, -1, -1, -1) for x in (key, value))
    expected = scaled_dot_product_attention(query.transpose(1, 2), k, v).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("combine", ["blend", "joint"])
def test_unseen_and_absent_segments_leak_nothing(combine):
    (query, key, value, spans, weight), grid = make(2)
    weight[:, 1] = 0.0
    spans[:, 2, 1] = 0
    clean = regional_attention(query, key, value, spans, weight, **grid, combine=combine)
    key[7:], value[7:] = torch.nan, torch.nan
    assert torch.equal(regional_attention(query, key, value, spans, weight, **grid, combine=combine), clean)
    assert torch.isfinite(clean).all()


@pytest.mark.parametrize("combine", ["blend", "joint"])
def test_a_position_that_sees_nothing_gives_zero(combine):
    (query, key, value, spans, weight), grid = make(3)
    weight[:, :, 4] = 0.0
    found = regional_attention(query, key, value, spans, weight, **grid, combine=combine)
    assert found[:, 4].eq(0).all()
    assert found[:, 5].ne(0).any()


@pytest.mark.parametrize("combine", ["blend", "joint"])
def test_a_row_does_not_depend_on_its_neighbours(combine):
    (query, key, value, spans, weight), grid = make(4, rows=3, dtype=torch.float32)
    weight = weight.float()
    whole = regional_attention(query, key, value, spans, weight, **grid, combine=combine)
    for row in range(3):
        only = slice(row, row + 1)
        alone = regional_attention(query[only], key, value, spans[only], weight[only], **grid, combine=combine)
        assert torch.equal(alone[0], whole[row])


@pytest.mark.parametrize("combine", ["blend", "joint"])
def test_gradient_in_query(combine):
    """Of the output and of the lse, with a segment that one position does not hear, and an absent one."""
    (query, key, value, spans, weight), grid = make(5, rows=1, height=1, width=2, lengths=(2, 3, 0), head_width=3)
    weight = weight + 0.1
    weight[0, 1, 0] = 0.0

    def both(q):
        # the operation gives its lse in float32; the specification itself does not
        options = {"scale": 0.7, "combine": combine, "return_lse": True}
        output, lse = reference.regional_attention(q, key, value, spans, weight, **grid, **options)
        assert lse is not None
        return output, lse[:, :2]

    assert torch.autograd.gradcheck(both, (query.requires_grad_(),))
    through = regional_attention(query, key, value, spans, weight, **grid, scale=0.7, combine=combine)
    (found,) = torch.autograd.grad(through.square().sum(), query)
    (expected,) = torch.autograd.grad(both(query)[0].square().sum(), query)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_half_precision_errs_no_more_than_twice_the_rounding_of_its_output():
    (query, key, value, spans, weight), grid = make(6)
    half = [x.half() for x in (query, key, value)]
    exact = regional_attention(*(x.double() for x in half), spans, weight, **grid)
    found = regional_attention(*half, spans, weight, **grid)
    # float32 inside, one rounding to float16 at the end: half a unit in the last place, and float32's own noise
    assert ((found.double() - exact).abs() <= exact.abs() * 2**-11 * 1.01 + 2**-24).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 3}, "height"),
        ({"combine": "sum"}, "combine"),
    ],
)
def test_refuses_bad_arguments(change, message):
    args, grid = make(7)
    with pytest.raises(ValueError, match=message):
        regional_attention(*args, **{**grid, **change})


def test_refuses_segments_outside_the_pool():
    (query, key, value, spans, weight), grid = make(8)
    spans[0, 0, 1] = 100
    with pytest.raises(ValueError, match="inside the pool"):
        regional_attention(query, key, value, spans, weight, **grid)

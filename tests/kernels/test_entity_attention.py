"""Laws of the reference, which is the specification: each is checked against the formula in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from raccord.kernels.entity_attention import entity_attention


def make(seed, *, rows=2, height=3, width=4, heads=2, head_width=8, memory=(3, 0, 5), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    positions, kinds, total = height * width, len(memory) + 1, sum(memory)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    query, key, value = (normal(rows, positions, heads, head_width) for _ in range(3))
    owner = torch.randint(0, kinds, (rows, positions), generator=generator, dtype=torch.uint8)
    visible = torch.rand((rows, kinds, kinds), generator=generator) > 0.5
    starts = [sum(memory[:i]) for i in range(len(memory))]
    pairs = [[s, n] for s, n in zip(starts, memory, strict=True)]
    spans = torch.tensor([pairs] * rows, dtype=torch.int32).reshape(rows, len(memory), 2)
    bank = {"bank_key": normal(total, heads, head_width), "bank_value": normal(total, heads, head_width)}
    return [query, key, value, owner, visible], {**bank, "bank_segments": spans, "height": height, "width": width}


def by_formula(query, key, value, owner, visible, *, bank_key, bank_value, bank_segments, bank_weight, **_):
    out = torch.zeros_like(query)
    rows, positions, heads, head_width = query.shape
    for b in range(rows):
        for p in range(positions):
            mine = int(owner[b, p])
            own = [q for q in range(positions) if visible[b, mine, int(owner[b, q])]]
            start, length = bank_segments[b, mine - 1].tolist() if mine > 0 else (0, 0)
            for h in range(heads):
                pairs = [(1.0, key[b, q, h], value[b, q, h]) for q in own]
                pairs += [(bank_weight, bank_key[m, h], bank_value[m, h]) for m in range(start, start + length)]
                terms = [(w * math.exp(float(query[b, p, h] @ k) / head_width**0.5), v) for w, k, v in pairs]
                norm = sum(t for t, _ in terms)
                if norm > 0:
                    out[b, p, h] = sum(t * v for t, v in terms) / norm
    return out


@given(
    seed=st.integers(0, 2**20),
    memory=st.lists(st.integers(0, 4), max_size=3),
    bank_weight=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_equals_the_formula(seed, memory, bank_weight):
    args, rest = make(seed, memory=tuple(memory), height=2, width=3)
    found = entity_attention(*args, **rest, bank_weight=bank_weight)
    torch.testing.assert_close(found, by_formula(*args, **rest, bank_weight=bank_weight), rtol=1e-11, atol=1e-12)


def test_all_visible_and_no_memory_is_ordinary_attention():
    (query, key, value, owner, visible), rest = make(1, memory=())
    found = entity_attention(query, key, value, owner, torch.ones_like(visible), **rest)
    expected = scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value))).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)


def test_nobody_sees_the_memory_of_another():
    (query, key, value, owner, visible), rest = make(2)
    visible[:] = torch.eye(4, dtype=torch.bool)
    clean = entity_attention(query, key, value, owner, visible, **rest)
    rest["bank_key"][3:] *= -1.5
    rest["bank_value"][3:] += 2.0
    changed = entity_attention(query, key, value, owner, visible, **rest)
    assert torch.equal(changed[owner != 3], clean[owner != 3])
    assert not torch.equal(changed[owner == 3], clean[owner == 3])


def test_a_row_does_not_depend_on_its_neighbours():
    args, rest = make(3, rows=3, dtype=torch.float32)
    whole = entity_attention(*args, **rest)
    for row in range(3):
        alone = {**rest, "bank_segments": rest["bank_segments"][row : row + 1]}
        assert torch.equal(entity_attention(*(x[row : row + 1] for x in args), **alone)[0], whole[row])


def test_a_position_that_sees_nothing_gives_zero():
    (query, key, value, owner, visible), rest = make(4, memory=())
    found = entity_attention(query, key, value, owner, torch.zeros_like(visible), **rest)
    assert found.eq(0).all()


def test_gradient_in_query():
    (query, *others), rest = make(5, rows=1, height=1, width=3, memory=(2,), head_width=3)
    assert torch.autograd.gradcheck(lambda q: entity_attention(q, *others, **rest), (query.requires_grad_(),))


def test_refuses_an_owner_without_a_row_in_visible():
    (query, key, value, owner, visible), rest = make(6)
    owner[0, 0] = 9
    with pytest.raises(ValueError, match="owner names entity 9"):
        entity_attention(query, key, value, owner, visible, **rest)

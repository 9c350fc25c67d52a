"""The C++ backend of regional attention: its error beside the reference's, and its bitwise laws."""

import pytest
import torch
from attention_error import UNIT, errs_as_float32_may, errs_at_most_twice, rounded_products, score_error
from hypothesis import given, settings
from hypothesis import strategies as st

from raccord.kernels import _native
from raccord.kernels.regional_attention import native, pack, regional_attention

pytestmark = pytest.mark.skipif(bool(_native.reasons()), reason="; ".join(_native.reasons()))

COMBINE = pytest.mark.parametrize("combine", ["blend", "joint"])
# bfloat16 is multiplied as such where the CPU can, and converted to float32 elsewhere
DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
USABLE = [] if _native.reasons() else _native.levels()[1]
# for each of them its bits are its own, so laws must hold at each
PAIRED = [(torch.bfloat16, level) for level in USABLE if level in _native.BFLOAT16_LEVELS]
DTYPE_AND_LEVEL = pytest.mark.parametrize(("dtype", "level"), [(torch.float32, None), (torch.bfloat16, None), *PAIRED])
PAIRED_LEVEL = pytest.mark.parametrize("level", [level for _, level in PAIRED])


def make(seed, *, rows=2, positions=70, heads=2, head_width=40, lengths=(77, 5, 0, 33), dtype=torch.float32):
    """(query, key, value, segments, weight): weights of about a third of the cells are 0, the texts are shared."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    total = sum(lengths)
    spans = [[sum(lengths[:i]), length] for i, length in enumerate(lengths)]
    weight = torch.rand((rows, len(lengths), positions), generator=generator)
    weight[weight < 0.35] = 0.0
    pool = normal(total, heads, head_width), normal(total, heads, head_width)
    segments = torch.tensor([spans] * rows, dtype=torch.int32).reshape(rows, len(lengths), 2)
    return normal(rows, positions, heads, head_width), *pool, segments, weight


def call(tensors, backend="cpu", **options):
    return regional_attention(*tensors, height=1, width=tensors[0].shape[1], backend=backend, **options)


def call_at(level, tensors, combine, **options):
    """(output, lse), of the kernel itself; text is packed as a call without a level packs it."""
    query, key, value, segments, weight = tensors
    options = {"scale": query.shape[3] ** -0.5, "joint": combine == "joint", "return_lse": True} | options
    return native.attend(query, pack(key, value, segments), segments, weight, **options, level=level)


def exact(tensors, **options):
    query, key, value, segments, weight = tensors
    return call((query.double(), key.double(), value.double(), segments, weight), "reference", **options)


def worst_error(tensors, combine):
    """(output, lse): the most that float32 arithmetic in any order may err (attention_error.py), by element."""
    query, key, value, segments, weight = (x.double() for x in tensors)
    unit, scale = UNIT, query.shape[3] ** -0.5
    worst = torch.zeros_like(query)
    worst_lse = torch.zeros_like(weight)
    for row in range(len(query)):
        q, terms = query[row].transpose(0, 1), []
        for s, (start, length) in enumerate(segments[row].long().tolist()):
            if length == 0:
                continue
            k, v = key[start : start + length].transpose(0, 1), value[start : start + length].transpose(0, 1)
            scores, error = scale * q @ k.mT, score_error(q, k, scale)
            lse = scores.logsumexp(-1, keepdim=True)
            worst_lse[row, s] = (error + (length + 20) * unit + 2 * unit * lse.abs()).squeeze(-1).amax(0)
            share = weight[row, s][None, :, None].expand_as(lse)
            if combine == "joint":
                error = error + 2 * unit * (share.log().abs() + scores.abs().amax(-1, keepdim=True))
                share = share * (lse - 50).exp()
            terms.append((share, error.where(share > 0, 0.0), length, scores.softmax(-1) @ v.abs()))
        total = sum((share for share, *_ in terms), start=torch.zeros((), dtype=torch.float64))
        most = max((error.amax() for _, error, *_ in terms), default=0.0)
        for share, error, length, size in terms:
            relative = 2 * (error if combine == "blend" else most) + (2 * length + 20) * unit
            worst[row] += (relative * (share / total.where(total > 0, 1.0)) * size).transpose(0, 1)
    return worst, worst_lse


@COMBINE
@pytest.mark.parametrize("positions", [1, 63, 64, 256, 1024, 4096])
@pytest.mark.parametrize("head_width", [32, 40, 64, 80, 160])
def test_error_in_float32(head_width, positions, combine):
    tensors = make(head_width + positions, rows=1, positions=positions, head_width=head_width)
    found, lse = call(tensors, combine=combine, return_lse=True)
    reference, reference_lse = call(tensors, "reference", combine=combine, return_lse=True)
    expected, expected_lse = exact(tensors, combine=combine, return_lse=True)
    errs_at_most_twice(found, reference, expected)
    present = expected_lse.isfinite()
    assert torch.equal(present, lse.isfinite())
    errs_at_most_twice(lse[present], reference_lse[present], expected_lse[present])
    worst, worst_lse = worst_error(tensors, combine)
    errs_as_float32_may(found, expected, worst)
    errs_as_float32_may(lse[present], expected_lse[present], worst_lse[present])


@COMBINE
@given(
    seed=st.integers(0, 2**20),
    positions=st.integers(1, 40),
    head_width=st.integers(1, 50),
    lengths=st.lists(st.sampled_from([0, 1, 2, 3, 15, 16, 17, 31, 77, 80, 101]), min_size=1, max_size=7),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_error_at_odd_sizes(combine, seed, positions, head_width, lengths):
    tensors = make(seed, positions=positions, head_width=head_width, lengths=tuple(lengths))
    found = call(tensors, combine=combine)
    errs_as_float32_may(found, exact(tensors, combine=combine), worst_error(tensors, combine)[0])


@COMBINE
@pytest.mark.parametrize("head_width", [40, 64])
def test_error_in_bfloat16_converted_to_float32(head_width, combine):
    tensors = make(1, head_width=head_width, dtype=torch.bfloat16)
    _, key, value, segments, _ = tensors
    packed = pack(key, value, segments, paired=False)
    found = call(tensors, combine=combine, packed=packed)
    assert found.dtype == torch.bfloat16
    # float32 inside, one rounding at the end: half a unit in the last place, and float32's own noise
    expected = exact(tensors, combine=combine)
    assert ((found.double() - expected).abs() <= expected.abs() * 2**-8 * 1.001 + 2**-20).all()


@COMBINE
@PAIRED_LEVEL
@pytest.mark.parametrize("positions", [1, 15, 33, 70, 300])
@pytest.mark.parametrize("head_width", [3, 32, 40, 64, 80, 160])
def test_error_in_bfloat16_products(head_width, positions, level, combine):
    lengths = (77, 5, 0, 33, 1, 80, 200)
    tensors = make(head_width, positions=positions, head_width=head_width, lengths=lengths, dtype=torch.bfloat16)
    query, key, value, segments, weight = tensors
    found, lse = call_at(level, tensors, combine)
    expected, expected_lse = exact(tensors, combine=combine, return_lse=True)
    sizes = exact((query, key, value.abs(), segments, weight), combine=combine)
    worst, worst_lse = worst_error(tensors, combine)
    assert ((found.double() - expected).abs() <= rounded_products(worst, sizes, expected)).all()
    present = expected_lse.isfinite()
    assert torch.equal(present, lse.isfinite())
    # its exponential errs by 2.7e-6 where float32's errs by one unit
    assert ((lse.double() - expected_lse)[present].abs() <= 2 * worst_lse[present] + 2.7e-6).all()
    if positions >= 70:
        errs_at_most_twice(found, call(tensors, "reference", combine=combine), expected)


@COMBINE
@DTYPE_AND_LEVEL
def test_numbers_too_small_to_be_normal_may_count_as_zero(combine, dtype, level):
    """Products of bfloat16 take numbers below 2^-126 for 0, and give 0 where the sum would be such a number."""
    query, key, value, segments, weight = make(24, dtype=dtype)
    # scores of 0: exponentials of 1, shares of 1 / L
    query *= 2.0**-130
    value *= torch.where(torch.arange(len(value)) % 2 == 0, 2.0**-120, 2.0**-127)[:, None, None].to(dtype)
    tensors = (query, key, value, segments, weight)
    found, _ = call_at(level, tensors, combine)
    expected = exact(tensors, combine=combine)
    sizes = exact((query, key, value.abs(), segments, weight), combine=combine)
    # a share's value, a sum of L of them divided by L, the sum over segments and the result itself: four times at most
    tiny = 4 * 2.0**-126
    bound = rounded_products(worst_error(tensors, combine)[0], sizes, expected) + tiny
    assert ((found.double() - expected).abs() <= bound).all()


@COMBINE
@DTYPE
@pytest.mark.parametrize(("size", "offset"), [(100.0, 0.0), (1.0, 900.0), (1.0, -900.0), (30.0, 300.0)])
def test_scores_far_from_zero_do_not_overflow(combine, dtype, size, offset):
    tensors = make(18, head_width=16, dtype=dtype)
    query, key, *_ = tensors
    query *= size
    # one column of the products is the same for all keys
    query[..., 0], key[..., 0] = offset, 1.0
    found, lse = call(tensors, combine=combine, return_lse=True)
    expected, expected_lse = exact(tensors, combine=combine, return_lse=True)
    reference, reference_lse = call(tensors, "reference", combine=combine, return_lse=True)
    present = expected_lse.isfinite()
    assert torch.equal(present, lse.isfinite())
    errs_at_most_twice(lse[present], reference_lse[present], expected_lse[present])
    assert (found - expected).norm() <= 2 * (reference - expected).norm() + torch.finfo(dtype).eps * expected.norm()


@COMBINE
def test_error_where_all_segments_overlap_fully(combine):
    *tensors, weight = make(2, positions=256)
    tensors = (*tensors, torch.ones_like(weight))
    found, expected = call(tensors, combine=combine), exact(tensors, combine=combine)
    errs_at_most_twice(found, call(tensors, "reference", combine=combine), expected)
    errs_as_float32_may(found, expected, worst_error(tensors, combine)[0])


@COMBINE
def test_error_where_scores_and_weights_are_extreme(combine):
    query, key, value, segments, weight = make(3)
    weight = weight * torch.tensor([1e-30, 1.0, 1.0, 1e30])[None, :, None]
    tensors = (30 * query, key, value, segments, weight)
    found = call(tensors, combine=combine)
    assert found.isfinite().all()
    errs_as_float32_may(found, exact(tensors, combine=combine), worst_error(tensors, combine)[0])


@COMBINE
@DTYPE
def test_without_a_segment_or_a_voice_the_result_is_zero(combine, dtype):
    none = make(4, lengths=(), dtype=dtype)
    assert call(none, combine=combine, return_lse=True)[0].eq(0).all()
    query, key, value, segments, weight = make(4, dtype=dtype)
    weight[:, :, 3] = 0.0
    weight[1] = 0.0
    found = call((query, key, value, segments, weight), combine=combine)
    assert found[0, 3].eq(0).all()
    assert found[1].eq(0).all()
    assert found[0, 4].ne(0).all()


@COMBINE
@DTYPE
def test_poison_outside_what_is_seen_leaks_nowhere(combine, monkeypatch, dtype):
    query, key, value, segments, weight = make(5, lengths=(77, 5, 9, 33), dtype=dtype)
    # row 0 loses its second segment, row 1 sees it nowhere; the third is in the pool and in no row
    segments[0, 1, 1] = 0
    weight[1, 1] = 0.0
    segments[:, 2] = 0
    clean = call((query, key, value, segments, weight), combine=combine)
    key[77:91], value[77:91] = torch.nan, torch.nan
    found = call((query, key, value, segments, weight), combine=combine)
    assert torch.equal(found, clean)
    # memory that nobody wrote to: NaN in what torch hands out, and in what the C++ code gets again after this call
    call((torch.full_like(query, torch.nan), key, value, segments, weight), combine=combine)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **options: empty(*size, **options).fill_(torch.nan))
    assert torch.equal(call((query, key, value, segments, weight), combine=combine), clean)
    lse = call((query, key, value, segments, weight), combine=combine, return_lse=True)[1]
    # it is there in row 1, seen or not
    assert lse[1, 1].isnan().all()
    lse[1, 1] = 0.0
    assert not lse.isnan().any()


@COMBINE
@DTYPE
def test_what_is_not_a_number_stays_so_where_it_is_seen(combine, dtype):
    query, key, value, segments, weight = make(6, dtype=dtype)
    query[0, 2, 0, 7] = torch.nan
    weight[:, 0] = 1.0
    found = call((query, key, value, segments, weight), combine=combine)
    assert found[0, 2, 0].isnan().all()
    found[0, 2, 0] = 0.0
    assert found.isfinite().all()


@COMBINE
@DTYPE_AND_LEVEL
def test_bits_of_a_row_do_not_depend_on_the_batch(combine, dtype, level):
    query, key, value, segments, weight = make(7, rows=3, dtype=dtype)
    whole, _ = call_at(level, (query, key, value, segments, weight), combine)
    assert level is not None or torch.equal(call((query, key, value, segments, weight), combine=combine), whole)
    for row in range(3):
        only = slice(row, row + 1)
        found, _ = call_at(level, (query[only], key, value, segments[only], weight[only]), combine)
        assert torch.equal(found, whole[only])


@COMBINE
@DTYPE
def test_bits_do_not_depend_on_the_order_of_rows(combine, dtype):
    query, key, value, segments, weight = make(8, rows=4, dtype=dtype)
    order = torch.tensor([2, 0, 3, 1])
    whole = call((query, key, value, segments, weight), combine=combine)
    assert torch.equal(call((query[order], key, value, segments[order], weight[order]), combine=combine), whole[order])


@COMBINE
@DTYPE_AND_LEVEL
def test_bits_of_a_position_do_not_depend_on_its_neighbours(combine, dtype, level):
    query, key, value, segments, weight = make(9, positions=300, dtype=dtype)
    # with the lse, all positions meet all keys; without, those that see them
    for lse in (False, True):
        whole, _ = call_at(level, (query, key, value, segments, weight), combine, return_lse=lse)
        for chosen in ([0, 5, 6, 7, 131, 299], [299], list(range(100, 141))):
            few = (query[:, chosen], key, value, segments, weight[:, :, chosen])
            assert torch.equal(call_at(level, few, combine, return_lse=lse)[0], whole[:, chosen])
    chosen = torch.tensor([0, 5, 6, 7, 131, 299])
    others = torch.ones(300, dtype=torch.bool)
    others[chosen] = False
    query[:, others], weight[:, :, others] = torch.nan, 1.0
    found, _ = call_at(level, (query, key, value, segments, weight), combine)
    assert torch.equal(found[:, chosen], whole[:, chosen])


@COMBINE
@DTYPE
def test_bits_do_not_depend_on_unseen_segments(combine, dtype):
    query, key, value, segments, weight = make(10, dtype=dtype)
    weight[:, 1] = 0.0
    unseen = call((query, key, value, segments, weight), combine=combine)
    absent = segments.clone()
    absent[:, 1] = 0
    assert torch.equal(call((query, key, value, absent, weight), combine=combine), unseen)
    without = [0, 2, 3]
    assert torch.equal(call((query, key, value, segments[:, without], weight[:, without]), combine=combine), unseen)


@COMBINE
@DTYPE
def test_bits_do_not_depend_on_whether_the_lse_is_asked_for(combine, dtype):
    tensors = make(11, dtype=dtype)
    output, lse = call(tensors, combine=combine, return_lse=True)
    assert torch.equal(call(tensors, combine=combine), output)
    blind = (*tensors[:4], torch.zeros_like(tensors[4]))
    assert torch.equal(call(blind, combine=combine, return_lse=True)[1], lse)


@COMBINE
@DTYPE
def test_a_hundred_runs_give_the_same_bits(combine, dtype):
    tensors = make(12, positions=200, dtype=dtype)
    first = call(tensors, combine=combine, return_lse=True)
    for _ in range(100):
        again = call(tensors, combine=combine, return_lse=True)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@COMBINE
@DTYPE_AND_LEVEL
def test_bits_do_not_depend_on_threads(combine, dtype, level):
    # 2 x 2 x 600 x 3 x 40 x 144 multiply-adds are work enough for nine threads (kLeastWork)
    tensors = make(13, positions=600, heads=3, dtype=dtype)
    alone = call_at(level, tensors, combine, threads=1)
    for threads in (2, 3, 5, 1000):
        found = call_at(level, tensors, combine, threads=threads)
        assert all(torch.equal(a, b) for a, b in zip(alone, found, strict=True))


@COMBINE
@DTYPE
@pytest.mark.parametrize("head_width", [7, 40])
def test_every_level_gives_the_same_bits(combine, dtype, head_width):
    query, key, value, segments, weight = make(14, head_width=head_width, dtype=dtype)
    packed = pack(key, value, segments, paired=False)
    options = {"scale": 0.2, "joint": combine == "joint", "return_lse": True}
    first, *others = (native.attend(query, packed, segments, weight, **options, level=level) for level in USABLE)
    for found in others:
        assert all(torch.equal(a, b) for a, b in zip(first, found, strict=True))


@COMBINE
@DTYPE
def test_packing_ahead_changes_no_bit(combine, dtype):
    query, key, value, segments, weight = make(15, dtype=dtype)
    found = call((query, key, value, segments, weight), combine=combine)
    # more spans than the call needs, and two that share tokens
    more = torch.tensor([[0, 3], [1, 70], [90, 4]], dtype=torch.int32)
    packed = pack(key, value, torch.cat([more, segments.reshape(-1, 2)]))
    assert torch.equal(call((query, key, value, segments, weight), combine=combine, packed=packed), found)


@DTYPE
def test_a_query_of_any_strides_gives_the_same_bits(dtype):
    query, key, value, segments, weight = make(16, dtype=dtype)
    found = call((query, key, value, segments, weight))
    shapes = [query.transpose(1, 2).contiguous().transpose(1, 2), query.transpose(2, 3).contiguous().transpose(2, 3)]
    for strided in shapes:
        assert not strided.is_contiguous()
        assert torch.equal(call((strided, key, value, segments, weight)), found)


def test_packed_text_that_lacks_a_segment_is_refused():
    query, key, value, segments, weight = make(17)
    packed = pack(key, value, segments[:, :1])
    with pytest.raises(ValueError, match="pack them too"):
        call((query, key, value, segments, weight), packed=packed)


def test_packed_text_of_another_shape_is_refused():
    query, key, value, segments, weight = make(17)
    packed = pack(key[:, :1], value[:, :1], segments)
    with pytest.raises(ValueError, match="heads"):
        call((query, key, value, segments, weight), packed=packed)


@pytest.mark.skipif(not PAIRED, reason="this CPU multiplies no bfloat16, or what would is not compiled in")
def test_text_packed_in_pairs_is_refused_by_another_level_and_for_another_dtype():
    query, key, value, segments, weight = make(17, dtype=torch.bfloat16)
    options = {"scale": 0.2, "joint": False, "return_lse": False}
    packed = pack(key, value, segments)
    with pytest.raises(ValueError, match="level avx2: pack it with paired=False"):
        native.attend(query, packed, segments, weight, **options, level="avx2")
    with pytest.raises(ValueError, match=r"this query is torch\.float32"):
        native.attend(query.float(), packed, segments, weight, **options)


@COMBINE
@DTYPE
def test_where_a_text_lies_in_the_pool_changes_no_bit(combine, dtype):
    query, key, value, segments, weight = make(23, dtype=dtype)
    found = call((query, key, value, segments, weight), combine=combine)
    gap = torch.full((9, *key.shape[1:]), torch.nan, dtype=dtype)
    # 77 tokens, 5 and 33 lie one after the other; here the last stand first, with gaps
    turned = [torch.cat([gap, x[82:], gap, x[77:82], x[:77]]) for x in (key, value)]
    moved = torch.tensor([[56, 77], [51, 5], [0, 0], [9, 33]], dtype=torch.int32).expand(2, 4, 2)
    assert torch.equal(call((query, *turned, moved, weight), combine=combine), found)


def test_packing_refuses_a_segment_outside_the_pool():
    _, key, value, _, _ = make(18)
    with pytest.raises(ValueError, match=r"start 110, length 6.* pool of 115"):
        pack(key, value, torch.tensor([[110, 6]], dtype=torch.int32))


def test_it_is_chosen_for_float32_and_bfloat16_on_the_cpu_and_nothing_else(monkeypatch):
    monkeypatch.delenv("RACCORD_BACKEND", raising=False)
    tensors = make(19)
    assert torch.equal(call(tensors, None), call(tensors, "cpu"))
    double = tuple(x.double() if x.is_floating_point() else x for x in tensors)
    assert torch.equal(call(double, None), call(double, "reference"))
    with pytest.raises(RuntimeError, match=r"takes float32 and bfloat16, and the query is torch\.float64"):
        call(double, "cpu")


@COMBINE
def test_gradients_are_those_of_the_reference(combine):
    tensors = make(20, positions=9, lengths=(4, 0, 3))
    found = []
    for backend in ("cpu", "reference"):
        leaves = [x.clone().requires_grad_() if x.is_floating_point() else x for x in tensors]
        output, lse = call(leaves, backend, combine=combine, return_lse=True)
        weights = torch.linspace(0, 1, output.numel()).reshape(output.shape)
        (output * weights).sum().add(lse[:, [0, 2]].sin().sum()).backward()
        # joint's log w has no gradient at w = 0
        found.append([leaf.grad for leaf in leaves[:3]])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@COMBINE
def test_gradient_of_a_single_output(combine):
    query, key, value, segments, weight = make(21, positions=5, lengths=(4, 3))
    found = []
    for backend in ("cpu", "reference"):
        leaf = query.clone().requires_grad_()
        lse = call((leaf, key, value, segments, weight), backend, combine=combine, return_lse=True)[1]
        found.append(torch.autograd.grad(lse[0, 1].sum(), leaf)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)
    assert found[0][0].ne(0).all()
    assert found[0][1].eq(0).all()


def test_the_operation_keeps_the_rules_of_torch_library():
    query, key, value, segments, weight = make(21, positions=6, lengths=(4, 3))
    query.requires_grad_()
    operands = (query, key, value, segments, weight, None, None, 2, 3, 0.2, "blend", True, "cpu")
    torch.library.opcheck(torch.ops.raccord.regional_attention.default, operands)


def test_it_compiles_without_a_graph_break():
    query, *others = make(22)

    def attend(query):
        output, lse = call((2 * query, *others), None, return_lse=True)
        return output + 1, lse

    compiled = torch.compile(attend, backend="aot_eager", fullgraph=True)
    for found, expected in zip(compiled(query), attend(query), strict=True):
        assert torch.equal(found, expected)

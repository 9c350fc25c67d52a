"""Entity attention's error beside float64 over sizes, for every backend that computes fast here; what must not leak."""

import pytest
import torch
from attention_error import UNIT, errs_as_float32_may, errs_at_most_twice, rounded_products, score_error
from test_entity_attention_native import bits, make, wide

from raccord.kernels.entity_attention import OPERATION, entity_attention

DTYPE = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
# the others have their own tests, or compute for minutes here
BACKENDS = [name for name in OPERATION.backends if name not in ("reference", "triton")]
BACKEND = pytest.mark.parametrize("backend", BACKENDS)
GRIDS = [(1, 1), (7, 9), (8, 8), (16, 16), (32, 32)]
#: Tokens of memory: more than a block of keys, none, one, a text's worth, a multiple of sixteen, an odd number.
MEMORY = (193, 0, 1, 77, 80, 33)


def call(args, rest, backend):
    if reasons := OPERATION.backends[backend].available():
        pytest.skip("; ".join(reasons))
    return entity_attention(*args, **rest, backend=backend)


def exact(args, rest, **changes):
    wider = {name: wide(value) for name, value in (rest | changes).items()}
    return entity_attention(*map(wide, args), **wider, backend="reference")


def worst_error(args, rest):
    """The most that float32 arithmetic in any order may err (attention_error.py), by element; and sum of p |v|."""
    query, key, value, owner, visible = map(wide, args)
    scale, worst, sizes = query.shape[-1] ** -0.5, torch.zeros_like(query), torch.zeros_like(query)
    log_weight = torch.tensor(rest["bank_weight"], dtype=torch.float64).log()
    for row, spans in enumerate(rest["bank_segments"].tolist()):
        for kind in owner[row].unique().tolist():
            mine, seen = owner[row] == kind, visible[row, kind][owner[row].long()]
            start, length = spans[kind - 1] if kind else (0, 0)
            stretch = slice(start, start + length)
            keys = torch.cat([key[row, seen], rest["bank_key"][stretch].double()]).transpose(0, 1)
            values = torch.cat([value[row, seen], rest["bank_value"][stretch].double()]).transpose(0, 1)
            count = keys.shape[1]
            if count == 0:
                continue
            q = query[row, mine].transpose(0, 1)
            scores = scale * q @ keys.mT
            scores[..., count - length :] += log_weight
            error = score_error(q, keys, scale) + 2 * UNIT * (log_weight.abs() + scores.abs().amax(-1, keepdim=True))
            size = scores.softmax(-1) @ values.abs()
            worst[row, mine] = ((2 * error + (2 * count + 20) * UNIT) * size).transpose(0, 1)
            sizes[row, mine] = size.transpose(0, 1)
    return worst, sizes


def errs_little(found, args, rest):
    expected, (worst, sizes) = exact(args, rest), worst_error(args, rest)
    if found.dtype == torch.float32:
        errs_as_float32_may(found, expected, worst)
    else:
        errs_as_float32_may(found, expected, rounded_products(worst, sizes, expected))
    # of a single position's roundings to bfloat16 there are too few for luck to even out
    if found.dtype == torch.float32 or found.shape[1] > 1:
        errs_at_most_twice(found, entity_attention(*args, **rest, backend="reference"), expected)


@DTYPE
@pytest.mark.parametrize(
    ("backend", "grid"), [("cpu", (64, 64)), *((name, grid) for name in BACKENDS for grid in GRIDS)]
)
@pytest.mark.parametrize("head_width", [32, 40, 64, 80, 160])
def test_error_over_sizes(head_width, grid, dtype, backend):
    many = grid == (64, 64)
    args, rest = make(
        head_width + grid[0],
        rows=1,
        height=grid[0],
        width=grid[1],
        heads=1 if many else 2,
        head_width=head_width,
        memory=MEMORY,
        dtype=dtype,
    )
    # entity 2 has no memory: it sees nothing
    args[4][:, 2] = False
    found = call(args, rest, backend)
    errs_little(found, args, rest)
    assert found[args[3] == 2].eq(0).all()


@BACKEND
@DTYPE
def test_error_where_everybody_sees_all_and_shares_a_memory(backend, dtype):
    args, rest = make(1, height=16, width=16, memory=(0, 0, 0, 200), dtype=dtype)
    args[4][:] = True
    rest["bank_segments"][:] = torch.tensor([[0, 200], [0, 200], [50, 150], [199, 1]], dtype=torch.int32)
    errs_little(call(args, rest, backend), args, rest)


@BACKEND
@DTYPE
@pytest.mark.parametrize("weight", [1e-30, 1.0, 1e30])
def test_error_under_extreme_weights_of_the_memory(backend, dtype, weight):
    args, rest = make(2, height=9, width=9, memory=(40, 0, 7), dtype=dtype)
    rest["bank_weight"] = weight
    found = call(args, rest, backend)
    assert found.isfinite().all()
    errs_little(found, args, rest)


@BACKEND
@DTYPE
def test_poison_outside_what_is_seen_and_unwritten_memory_leak_nowhere(backend, dtype, monkeypatch):
    args, rest = make(3, height=13, width=13, memory=(21, 4, 30, 77), dtype=dtype)
    query, key, value, owner, visible = args
    # nobody sees entity 3, the last memory is in no row, and padding lies around the others
    visible[:, :, 3] = False
    rest["bank_segments"][:, 3] = 0
    clean = call(args, rest, backend)
    hidden = owner == 3
    key[hidden], value[hidden] = torch.nan, torch.nan
    gap = torch.full((5, *key.shape[2:]), torch.nan, dtype=dtype)
    for name in ("bank_key", "bank_value"):
        rest[name][55:] = torch.nan
        rest[name] = torch.cat([gap, rest[name], gap])
    rest["bank_segments"][:, :3, 0] += 5
    assert torch.equal(bits(call(args, rest, backend)), bits(clean))
    # NaN in what the backend gets again after this call, and in what torch hands out
    call([torch.full_like(query, torch.nan), *args[1:]], rest, backend)
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **options: empty(*size, **options).fill_(torch.nan))
    assert torch.equal(bits(call(args, rest, backend)), bits(clean))


@BACKEND
@DTYPE
def test_what_is_not_a_number_stays_so_where_it_is_seen(backend, dtype):
    args, rest = make(4, rows=1, height=6, width=9, memory=(20, 8), dtype=dtype)
    args[4][:] = torch.eye(3, dtype=torch.bool)
    args[1][0, (args[3][0] == 1).nonzero()[0]] = torch.nan
    rest["bank_value"][23] = torch.nan
    found, owner = call(args, rest, backend)[0], args[3][0]
    assert found[owner > 0].isnan().all()
    assert found[owner == 0].isfinite().all()


@BACKEND
@DTYPE
def test_numbers_too_small_to_be_normal_may_count_as_zero(backend, dtype):
    """Products of bfloat16 take numbers below 2^-126 for 0, and give 0 where the sum would be such a number."""
    args, rest = make(5, height=16, width=16, memory=(21, 4, 30), dtype=dtype)
    # scores of 0, so shares of 1 / L, or of the memory's weight times that
    args[0] *= 2.0**-130
    for value in (args[2], rest["bank_value"]):
        value *= 2.0**-120
        value[..., ::2] *= 2.0**-7
    worst, sizes = worst_error(args, rest)
    expected = exact(args, rest)
    # a share's value, a sum of L of them divided by L, and the result itself: three times at most, and the weight
    tiny = 3 * rest["bank_weight"] * 2.0**-126
    assert (
        (call(args, rest, backend).double() - expected).abs() <= rounded_products(worst, sizes, expected) + tiny
    ).all()

"""The guided step: its bits on every backend that runs here, and its laws."""

from time import perf_counter

import numpy as np
import pytest
import torch

from raccord.kernels import _native
from raccord.kernels.guided_step import COEFFICIENTS, KeyedNoise, guided_step, native, reference
from raccord.kernels.noise import gaussian
from raccord.kernels.noise import native as noise_native

needs_native = pytest.mark.skipif(bool(_native.reasons()), reason="; ".join(_native.reasons()))
BACKENDS = ["reference", pytest.param("cpu", marks=needs_native)]

# Every rank, sizes of 1, primes, lengths around a vector (8, 16) and beyond the elements held at a time (1024).
SHAPES = [
    (1, 4, 16, 16),
    (3, 2, 5, 7),
    (2, 3, 37),
    (2, 5),
    (1, 1, 1, 1),
    (2, 1, 3, 33),
    (1, 1, 2, 2051),
    (1, 2, 60, 20),
]
INFINITY = float("inf")


def make(shape, seed=0, *, limited=True, noisy=True, dtype=torch.float32):
    """sample, uncond, cond, coefficients with every column in use, or without limit or noise."""
    generator = torch.Generator().manual_seed(seed)
    sample, uncond, cond = torch.randn((3, *shape), generator=generator).unbind(0)
    rows = torch.rand((shape[0], 7), generator=generator, dtype=torch.float64) * 2 - 1
    rows[:, 6] = 0.5
    if not limited:
        rows[:, 2], rows[:, 6] = 0.0, INFINITY
    if not noisy:
        rows[:, 3] = 0.0
    return sample, uncond.to(dtype), cond.to(dtype), rows


def bits(tensor):
    return tensor.contiguous().view(torch.int32)


def model(sample, uncond, cond, guidance, coefficients, noise):
    """The module's formula once more, in numpy, one element at a time."""
    out = np.empty(sample.shape, dtype=np.float32)
    for index in np.ndindex(*sample.shape):
        ws, wo, wx, wz, xs, xo, bound = coefficients[index[0]]
        e = np.float64(uncond[index] + guidance[index] * (cond[index] - uncond[index]))
        x = np.float64(sample[index])
        original = min(max(xs * x + xo * e, -bound), bound)
        out[index] = np.float32(((ws * x + wo * e) + wx * original) + wz * np.float64(noise[index]))
    return out


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (2, 3, 37), (2, 5)])
def test_has_the_bits_of_the_formula(backend, shape):
    sample, uncond, cond, rows = make(shape)
    scales = torch.linspace(0.5, 8.0, shape[0])
    noise = gaussian(7, "step", list(range(shape[0])), [40] * shape[0], shape[1:])
    found = guided_step(sample, uncond, cond, scales, rows, noise=(7, list(range(shape[0])), 40), backend=backend)
    spread = scales.view(-1, *[1] * (len(shape) - 1)).expand(shape)
    expected = model(*(tensor.numpy() for tensor in (sample, uncond, cond, spread, rows, noise)))
    assert torch.equal(bits(found), bits(torch.from_numpy(expected)))


@needs_native
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("source", ["none", "keyed", "given"])
@pytest.mark.parametrize("guidance", ["number", "rows", "map"])
def test_cpu_has_the_bits_of_the_reference(shape, limited, source, guidance):
    if guidance == "map" and len(shape) != 4:
        pytest.skip("a map needs rows and columns")
    sample, uncond, cond, rows = make(shape, limited=limited, dtype=torch.bfloat16)
    scale = {
        "number": 7.5,
        "rows": torch.linspace(1.0, 9.0, shape[0]),
        "map": torch.rand((shape[0], 1, *shape[2:]), generator=torch.Generator().manual_seed(1)),
    }[guidance]
    noise = {"none": None, "keyed": KeyedNoise(3, list(range(shape[0])), -1), "given": torch.randn_like(sample)}[source]
    expected = guided_step(sample, uncond, cond, scale, rows, noise=noise, backend="reference")
    found = guided_step(sample, uncond, cond, scale, rows, noise=noise, backend="cpu")
    assert torch.equal(bits(found), bits(expected))
    assert found.is_contiguous()


@needs_native
@pytest.mark.parametrize("level", _native.levels()[1] if not _native.reasons() else [])
@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (1, 2, 3, 1100)])
def test_every_instruction_set_has_the_same_bits(level, shape):
    sample, uncond, cond, rows = make(shape)
    keys = torch.randint(0, 2**32, (shape[0], 5), generator=torch.Generator().manual_seed(4))
    keys[:, 2:] %= 1000
    operands = (sample, uncond, cond, torch.tensor([3.0]), rows, keys, None)
    expected = reference.guided_step(*operands, out=None)
    found = native.guided_step(*operands, out=torch.empty_like(sample), level=level)
    assert torch.equal(bits(found), bits(expected))


@needs_native
@pytest.mark.parametrize("operation", ["noise", "step"])
def test_no_instruction_set_is_left_to_slower_code(operation):
    # All levels give the same bits, so only time tells which code ran: that of the level below, or faster. Left to
    # scalar code, a level took 3 to 6 times the time of the one below on a Zen 5.
    sample, uncond, cond, rows = make((1, 4, 128, 128), limited=False)
    keys = torch.tensor([[1, 2, 3, 0, 0]])

    def seconds(level):
        start = perf_counter()
        if operation == "noise":
            noise_native.gaussian(keys, (4, 128, 128), sample.device, level=level)
        else:
            operands = (sample, uncond, cond, torch.tensor([3.0]), rows, keys, None)
            native.guided_step(*operands, out=torch.empty_like(sample), level=level)
        return perf_counter() - start

    levels = _native.levels()[1]
    # the least of rounds that take turns: what else runs on the machine can only add
    least = [min(times) for times in zip(*[[seconds(level) for level in levels] for _ in range(40)], strict=True)]
    for index in range(1, len(levels)):
        assert least[index] < 2 * least[index - 1], dict(zip(levels, least, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_keyed_noise_is_the_noise_of_gaussian(backend):
    sample, uncond, cond, rows = make((2, 4, 8, 9))
    noise = gaussian(5, "step frame", ["a", "b"], [120, 120], (4, 8, 9))
    keyed = KeyedNoise(5, ["a", "b"], 120, "step frame")
    found, expected = (guided_step(sample, uncond, cond, 2.0, rows, noise=z, backend=backend) for z in (keyed, noise))
    assert torch.equal(bits(found), bits(expected))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_does_not_depend_on_its_neighbours(backend):
    sample, uncond, cond, rows = make((4, 3, 6, 5))
    streams = ["a", "b", "c", "d"]
    whole = guided_step(sample, uncond, cond, 4.0, rows, noise=(1, streams, 9), backend=backend)
    for r in range(4):
        part = slice(r, r + 1)
        alone = guided_step(
            sample[part], uncond[part], cond[part], 4.0, rows[part], noise=(1, streams[part], 9), backend=backend
        )
        assert torch.equal(bits(alone), bits(whole[part]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_in_place_and_strided_tensors_give_the_same_bits(backend):
    sample, uncond, cond, rows = make((2, 4, 6, 10))
    expected = guided_step(sample, uncond, cond, 4.0, rows, noise=(1, [0, 1], 9), backend=backend)
    for layout in (torch.contiguous_format, torch.channels_last):
        state = sample.contiguous(memory_format=layout).clone()
        result = guided_step(
            state,
            uncond.contiguous(memory_format=layout),
            cond.contiguous(memory_format=layout),
            4.0,
            rows,
            noise=(1, [0, 1], 9),
            inplace=True,
            backend=backend,
        )
        assert result is state
        assert torch.equal(bits(state), bits(expected))
    inside = torch.full((2, 4, 6, 12), 9.0)
    inside[..., 1:11] = sample
    guided_step(inside[..., 1:11], uncond, cond, 4.0, rows, noise=(1, [0, 1], 9), inplace=True, backend=backend)
    assert torch.equal(inside[..., 1:11], expected)
    assert inside[..., 0].eq(9).all()
    assert inside[..., 11].eq(9).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("operand", "columns"), [("sample", [0, 4]), ("output", [1, 5]), ("noise", [3])])
def test_an_infinity_in_a_term_of_weight_zero_changes_nothing(backend, operand, columns):
    sample, uncond, _, rows = make((1, 2, 3, 20))
    rows[:, columns] = 0.0
    clean = {"sample": sample, "output": uncond, "noise": torch.randn_like(sample)}
    results = []
    for given in (clean, clean | {operand: torch.full_like(sample, INFINITY)}):
        results.append(
            guided_step(
                given["sample"], given["output"], given["output"], 1.0, rows, noise=given["noise"], backend=backend
            )
        )
    assert torch.isfinite(results[0]).all()
    assert torch.equal(bits(results[0]), bits(results[1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_but_a_term_that_is_left_out_gives_minus_zero(backend):
    """-0.0 is what adds nothing to anything; it shows where all weights are 0, as after a weight of 0 alone."""
    sample, uncond, cond, _ = make((1, 2, 3, 20))
    rows = torch.zeros((1, 7), dtype=torch.float64)
    found = guided_step(sample, uncond, cond, 1.0, rows, backend=backend)
    assert torch.equal(bits(found), bits(torch.full_like(sample, -0.0)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_stays_nan_through_the_limit(backend):
    sample, uncond, cond, rows = make((1, 1, 2, 19))
    sample[0, 0, 1, 3] = float("nan")
    rows[:, 0] = 0.0
    found = guided_step(sample, uncond, cond, 1.0, rows, backend=backend)
    assert torch.equal(found.isnan(), sample.isnan())


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_empty_batch_gives_an_empty_result(backend):
    sample, uncond, cond, rows = make((0, 4, 2, 2))
    assert guided_step(sample, uncond, cond, 1.0, rows, backend=backend).shape == (0, 4, 2, 2)


def test_gradient_is_that_of_the_formula():
    sample, uncond, cond, rows = make((2, 1, 3, 4))
    inputs = [tensor.clone().requires_grad_() for tensor in (sample, uncond, cond)]
    guided_step(*inputs, 3.0, rows).sum().backward()
    ws, wo, wx, _, xs, xo, bound = (column.view(-1, 1, 1, 1) for column in rows.unbind(1))
    e = uncond.double() + 3.0 * (cond.double() - uncond.double())
    free = ((xs * sample.double() + xo * e).abs() < bound) * wx
    by_output = wo + free * xo
    for tensor, expected in zip(inputs, (ws + free * xs, (1 - 3.0) * by_output, 3.0 * by_output), strict=True):
        assert tensor.grad is not None
        torch.testing.assert_close(tensor.grad.double(), expected.expand(sample.shape), rtol=1e-6, atol=1e-6)


@needs_native
def test_a_forced_backend_without_a_derivative_says_so():
    sample, uncond, cond, rows = make((1, 2, 3, 4))
    with pytest.raises(RuntimeError, match=r"no derivative: call it under torch\.no_grad"):
        guided_step(sample.requires_grad_(), uncond, cond, 3.0, rows, backend="cpu")
    with torch.no_grad():
        guided_step(sample, uncond, cond, 3.0, rows, backend="cpu")


def operands(shape=(2, 4, 3, 5)):
    sample, uncond, cond, rows = make(shape)
    keys = torch.arange(5 * shape[0]).view(-1, 5)
    return [
        (sample, uncond, cond, torch.tensor([2.0]), rows),
        (sample, uncond, cond, torch.tensor([2.0]), rows, keys),
        (sample, uncond.half(), cond.half(), torch.rand((1, 1, *shape[2:])), rows[:1], None, torch.randn(shape)),
    ]


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("name", ["guided_step", "guided_step_"])
def test_the_registered_operators_pass_opcheck(name, case):
    # opcheck compares results by closeness, and a NaN would pass nowhere: the operands are finite
    torch.library.opcheck(getattr(torch.ops.raccord, name).default, operands()[case])


def test_a_compiled_graph_reads_the_coefficients_of_each_call():
    sample, uncond, cond, rows = make((2, 4, 3, 5))
    compiled = torch.compile(
        lambda state, weights: guided_step(state, uncond, cond, 3.0, weights) * 1.0, backend="aot_eager", fullgraph=True
    )
    for factor in (1.0, 0.5):
        weights = rows * factor
        assert torch.equal(bits(compiled(sample, weights)), bits(guided_step(sample, uncond, cond, 3.0, weights)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": torch.zeros(2, 3, dtype=torch.float64)}, "sample must be float32 .* keep the state in float32"),
        ({"sample": torch.zeros(2)}, r"sample must be float32 \[R, C, H, W\]"),
        ({"uncond": torch.zeros(2, 4)}, r"output_uncond must be .* \[2, 3\] .* got torch.float32 \[2, 4\]"),
        ({"cond": torch.zeros(2, 3, dtype=torch.int64)}, "output_cond must be .* got torch.int64"),
        ({"rows": torch.zeros(2, 6, dtype=torch.float64)}, r"coefficients must be torch.float64 \[2, 7\] or \[7\]"),
        ({"rows": torch.zeros(2, 7)}, "coefficients must be torch.float64 .* got torch.float32"),
        ({"guidance": torch.zeros(3)}, r"guidance must be a number or float32 of shape \[\], \[2\]"),
        ({"guidance": torch.zeros(2, 1, 3, 3)}, "guidance must be"),
        ({"noise": torch.zeros(2, 4)}, r"noise must be float32 \[2, 3\]"),
        ({"noise": (1, ["a"], 0)}, "one stream for every row: the sample has 2, streams 1"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    sample, uncond, cond, rows = make((2, 3))
    given = {"sample": sample, "uncond": uncond, "cond": cond, "guidance": 1.0, "rows": rows, "noise": None, **change}
    noise = given.pop("noise")
    with pytest.raises(ValueError, match=message):
        guided_step(*given.values(), noise=noise)


def test_columns_are_named_once():
    assert COEFFICIENTS == ("sample", "output", "original", "noise", "original_sample", "original_output", "bound")

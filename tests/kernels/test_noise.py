"""Normal noise: its bits, on every backend that runs here, and the laws that make it useful."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from raccord.kernels import _native
from raccord.kernels.noise import NOISE_VERSION, gaussian, native, reference, table

needs_native = pytest.mark.skipif(bool(_native.reasons()), reason="; ".join(_native.reasons()))
CPU_BACKENDS = ["reference", pytest.param("cpu", marks=needs_native)]

WORD = np.uint64(0xFFFFFFFF)

# Random123, tests/kat_vectors: philox4x32 10.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]

# Sizes of 1, primes, the widths around one counter (4) and one vector group (32), rows and origins of every alignment.
CASES = [
    ((1, 1, 1), (0, 0)),
    ((1, 1, 3), (0, 2)),
    ((2, 3, 5), (-1, -7)),
    ((3, 2, 31), (5, 1)),
    ((1, 2, 32), (0, 0)),
    ((2, 1, 37), (-2, 3)),
    ((4, 5, 67), (11, -66)),
    ((1, 1, 129), (0, -3)),
    ((1, 3, 9), (2**31 - 3, 2**31 - 9)),
    ((1, 3, 43), (-(2**31), -(2**31))),
]


# The model: a second implementation, in numpy, written from the docstring of `raccord.kernels.noise` alone.


def model_coefficients() -> np.ndarray:
    """float32[497, 4]."""
    return np.frombuffer(bytes.fromhex(table.HEXADECIMAL), dtype=">f4").astype(np.float32).reshape(-1, 4)


def model_key(seed: int, purpose: str, stream: str | int) -> int:
    name = purpose.encode()
    tagged = b"s" + stream.encode() if isinstance(stream, str) else b"i" + str(stream).encode()
    message = seed.to_bytes(8, "little") + len(name).to_bytes(4, "little") + name + tagged
    return int.from_bytes(hashlib.blake2b(message, digest_size=8, person=b"raccord.noise.1").digest(), "little")


def model_philox(counter, key_words) -> list[np.ndarray]:
    c = [np.asarray(word, dtype=np.uint64) for word in counter]
    k = [np.uint64(word) for word in key_words]
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [second >> np.uint64(32) ^ c[1] ^ k[0], second & WORD, first >> np.uint64(32) ^ c[3] ^ k[1], first & WORD]
        k = [k[0] + np.uint64(0x9E3779B9) & WORD, k[1] + np.uint64(0xBB67AE85) & WORD]
    return c


def model_normal(words: np.ndarray) -> np.ndarray:
    words = words.astype(np.uint32)
    bits = (words >> np.uint32(1) | np.uint32(1)).astype(np.float32).view(np.uint32)
    t = (bits & np.uint32(2**19 - 1)).astype(np.float32) / np.float32(2**19)
    c0, c1, c2, c3 = np.moveaxis(model_coefficients()[(bits >> np.uint32(19)) - np.uint32(127 * 16)], -1, 0)
    z = ((c3 * t + c2) * t + c1) * t + c0
    return np.where(words & np.uint32(1), -z, z)


def model_field(seed, purpose, stream, step, shape, origin=(0, 0)) -> np.ndarray:
    """float32[C, H, W], every element computed on its own from its absolute position."""
    c, y, x = np.meshgrid(*(np.arange(size, dtype=np.int64) for size in shape), indexing="ij")
    y, x = y + origin[0], x + origin[1]
    number = model_key(seed, purpose, stream)
    counter = [np.asarray(word % 2**32) for word in (x // 4, y, c, np.full_like(c, step))]
    words = model_philox(counter, (number % 2**32, number >> 32))
    return model_normal(np.choose(x % 4, words))


def words(text):
    return [int(word, 16) for word in text.split()]


def same_bits(actual, expected):
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype == np.float32
    different = actual.view(np.uint32) != expected.view(np.uint32)
    if different.any():
        at = tuple(int(index[0]) for index in np.nonzero(different))
        pytest.fail(f"{different.sum()} of {different.size} differ, first at {at}: {actual[at]!r} != {expected[at]!r}")


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers_of_random123(counter, key, answer):
    torch_words = [torch.tensor(word) for word in words(counter)], [torch.tensor(word) for word in words(key)]
    assert [int(word) for word in reference.philox4x32(tuple(torch_words[0]), tuple(torch_words[1]))] == words(answer)
    assert [int(word) for word in model_philox(words(counter), tuple(words(key)))] == words(answer)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize(("shape", "origin"), CASES)
def test_every_backend_gives_the_bits_of_the_numpy_model(shape, origin, backend):
    streams, steps = ["fox", 7, "émile"], [999, 0, -1]
    result = gaussian(2**63 - 1, "initial", streams, steps, shape, origin=[origin] * 3, backend=backend)
    for row, stream, step in zip(result, streams, steps, strict=True):
        same_bits(row, model_field(2**63 - 1, "initial", stream, step, shape, origin))


@needs_native
@pytest.mark.parametrize("level", [] if _native.reasons() else _native.levels()[1])
def test_every_instruction_set_gives_the_same_bits(level):
    sizes = [*((2, width) for width in [*range(1, 70), 1000]), (41, 4), (33, 12), (9, 20), (64, 64)]
    for height, width in sizes:
        rows = torch.tensor([[2**32 - 1, width, -5, 3, -width], [0, 0, 2**31 - 1, -1, width]])
        same_bits(
            native.gaussian(rows, (2, height, width), torch.device("cpu"), level=level),
            reference.gaussian(rows, (2, height, width), torch.device("cpu")),
        )


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize(
    ("arguments", "digest"),
    [
        (
            (0, "initial", ["frame-1"], [1000], (4, 64, 64)),
            "6dc2abf5f7b2c7cc71dea87b21eeeaeb2d6b37a4255c9bb1219c48e65b116c6d",
        ),
        (
            (2**63 - 1, "step", ["fox", "owl", 12], [980, 960, -1], (3, 17, 29)),
            "a02bddbbf21042a961861cb75d57e4b4118164c1c5c62de291ab507d5e7b7051",
        ),
        ((31337, "audio", [0], [0], (2, 44100)), "8711b1c88c50730538e88d1b1ef5d0c4a15e1985a9a1cc98ac975f2b283642d8"),
        ((5, "", [""], [-(2**31)], (101,)), "928a1a919064150d8d2b174f9385619b45b1206a45f26f182f0c3c3c8362c14d"),
    ],
)
def test_the_bits_of_noise_version_1_are_frozen(arguments, digest, backend):
    assert NOISE_VERSION == 1
    result = gaussian(*arguments, backend=backend)
    assert hashlib.sha256(result.numpy().astype("<f4").tobytes()).hexdigest() == digest


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_crop_of_a_field_is_that_field(backend):
    whole = gaussian(3, "p", ["a"], [5], (3, 24, 40), origin=[(-11, -18)], backend=backend)
    for y, x, height, width in [(0, 0, 24, 40), (1, 3, 7, 11), (10, 17, 14, 23), (23, 39, 1, 1), (5, 2, 1, 38)]:
        crop = gaussian(3, "p", ["a"], [5], (2, height, width), origin=[(y - 11, x - 18)], backend=backend)
        same_bits(crop, whole[:, :2, y : y + height, x : x + width])


@pytest.mark.parametrize("backend", CPU_BACKENDS)
def test_a_stream_does_not_see_its_neighbours_in_the_batch(backend):
    streams, steps = ["a", "b", "c", 4], [9, 8, 7, 6]
    origin = [(0, 0), (1, 2), (-3, 5), (8, 8)]
    batch = gaussian(1, "p", streams, steps, (2, 9, 13), origin=origin, backend=backend)
    for order in ([3, 1, 0, 2], [2], [1, 1]):
        ids, times = [streams[index] for index in order], [steps[index] for index in order]
        corners = [origin[index] for index in order]
        same_bits(gaussian(1, "p", ids, times, (2, 9, 13), origin=corners, backend=backend), batch[order])


def test_every_part_of_the_key_and_the_counter_matters():
    draws = [
        gaussian(seed, purpose, [stream], [step], (1, 1, 64), origin=[corner])
        for seed, purpose, stream, step, corner in [
            (0, "p", "a", 0, (0, 0)),
            (1, "p", "a", 0, (0, 0)),
            (0, "q", "a", 0, (0, 0)),
            (0, "pa", "", 0, (0, 0)),
            (0, "p", "b", 0, (0, 0)),
            (0, "p", "7", 0, (0, 0)),
            (0, "p", 7, 0, (0, 0)),
            (0, "p", "a", 1, (0, 0)),
            (0, "p", "a", 0, (1, 0)),
            (0, "p", "a", 0, (0, 64)),
        ]
    ]
    draws.append(gaussian(0, "p", ["a"], [0], (2, 1, 64))[:, 1:])
    # Two independent float32 rows of 64 agree in one place or more with a probability below 64 * 2^-23.
    for first in range(len(draws)):
        for second in range(first):
            assert not (draws[first] == draws[second]).any()


def test_one_dimensional_shapes_are_three_dimensional_ones_without_the_sizes_of_one():
    full = gaussian(1, "p", ["a", "b"], [1, 2], (3, 1, 50), origin=[(2, -5), (0, 9)])
    same_bits(gaussian(1, "p", ["a", "b"], [1, 2], (3, 50), origin=[(2, -5), (0, 9)]), full[:, :, 0])
    same_bits(gaussian(1, "p", ["a", "b"], [1, 2], (3,), origin=[(2, -5), (0, 9)]), full[:, :, 0, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_one_rounding_of_float32(dtype):
    master = gaussian(1, "p", ["a"], [0], (2, 64, 65))
    assert torch.equal(gaussian(1, "p", ["a"], [0], (2, 64, 65), dtype=dtype), master.to(dtype))


def test_empty_requests_give_empty_tensors():
    assert gaussian(0, "p", [], [], (4, 8, 8)).shape == (0, 4, 8, 8)
    assert gaussian(0, "p", ["a"], [0], (4, 0, 8)).shape == (1, 4, 0, 8)


def test_the_table_is_the_one_its_script_derives():
    from raccord.kernels.noise import make_table

    packed = bytes.fromhex(table.HEXADECIMAL)
    assert hashlib.sha256(packed).hexdigest() == table.SHA256
    derived = torch.tensor(make_table.table())
    assert torch.equal(derived, table.coefficients(torch.device("cpu")))


def test_the_value_is_the_quantile_of_its_tail_probability():
    from scipy.special import ndtri

    tail = np.arange(1, 2**17, 2, dtype=np.int64)
    anywhere = np.random.default_rng(0).integers(0, 2**30, 200_000) * 2 + 1
    magnitude = np.concatenate([tail, anywhere, [2**30 - 1, 2**31 - 1]])
    positive = reference.normal(torch.from_numpy(2 * magnitude)).numpy()
    negative = reference.normal(torch.from_numpy(2 * magnitude + 1)).numpy()
    assert (positive == -negative).all()
    exact = -ndtri(magnitude / 2**32)
    # The cubic is off by at most 2.5e-8 (next test). Rounding the magnitude to float32 moves it by 2^-25 of itself, and
    # the quantile by at most Mills' ratio (<= 1.2534) times that. Last come the roundings: of c0 and of the last sum,
    # 2^-24 |z| each, and of the inner terms, all below 0.12, three times at most.
    bound = 2.5e-8 + 1.2534 * 2**-25 + 2**-23 * exact + 3 * 0.12 * 2**-24
    excess = np.abs(positive - exact) - bound
    assert excess.max() < 0, f"magnitude {magnitude[excess.argmax()]} is off by {excess.max():.2e} more than the bound"


def test_the_cubics_are_near_the_quantile_and_meet_at_their_ends():
    from scipy.special import ndtri

    c0, c1, c2, c3 = model_coefficients().astype(np.float64)[: 31 * 16].T[:, :, None]
    t = np.linspace(0, 1, 33)
    octave, segment = np.divmod(np.arange(31 * 16)[:, None], 16)
    exact = -ndtri(2.0 ** (octave - 32) * (1 + (segment + t) / 16))
    value = c0 + t * (c1 + t * (c2 + t * c3))
    # Coefficients are float32: c0 is off by up to 2^-24 |z|, the others, below 0.12 together, by 2^-24 of theirs.
    assert (np.abs(value - exact) < 2.5e-8 + 2**-24 * np.abs(exact) + 0.12 * 2**-24).all()
    assert (np.abs(value[:-1, -1] - value[1:, 0]) < 2**-23 * exact[1:, 0] + 0.12 * 2**-24).all()


def test_the_reference_needs_no_triton():
    script = (
        "import sys; sys.modules['triton'] = None; sys.modules['triton.language'] = None\n"
        "from raccord.kernels.noise import gaussian\n"
        "print(gaussian(0, 'p', ['a'], [0], (1, 1, 4), backend='reference').tolist())"
    )
    printed = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == str(gaussian(0, "p", ["a"], [0], (1, 1, 4)).tolist())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"seed": -1}, ValueError, r"seed must be in 0 \.\. 9223372036854775807, got -1"),
        ({"seed": 2**63}, ValueError, "seed must be in"),
        ({"seed": 0.5}, TypeError, "seed must be an integer, got float 0.5"),
        ({"seed": True}, TypeError, "seed must be an integer, got bool"),
        ({"purpose": b"p"}, TypeError, "purpose must be a string"),
        ({"streams": "ab"}, TypeError, "streams must be a sequence"),
        ({"streams": ["a", 1.5]}, TypeError, r"streams\[1\] must be an integer or a string"),
        ({"streams": ["a", "\ud800"]}, ValueError, r"streams\[1\] must be text that UTF-8 can hold"),
        ({"steps": [1]}, ValueError, "lengths are 2, 1 and 2"),
        ({"steps": [1, 2**31]}, ValueError, r"steps\[1\] must be in -2147483648 \.\. 2147483647"),
        ({"shape": (4, 8, 8, 8)}, ValueError, "got 4 sizes"),
        ({"shape": (4, -8, 8)}, ValueError, r"shape\[1\] must be in 0"),
        ({"origin": [(0, 0)]}, ValueError, "lengths are 2, 2 and 1"),
        ({"origin": [(0, 0), (1,)]}, ValueError, r"origin\[1\] must be a pair"),
        ({"origin": [(0, 0), (0, 2**31 - 4)]}, ValueError, r"origin\[1\]\[1\] must be in .* 2147483640"),
        ({"dtype": torch.int32}, ValueError, "dtype must be one of"),
        ({"backend": "cuda"}, ValueError, "gaussian has no backend 'cuda'"),
    ],
)
def test_bad_arguments_are_refused_with_the_rule_and_the_value(changes, error, message):
    good = {"seed": 0, "purpose": "p", "streams": ["a", "b"], "steps": [0, 1], "shape": (4, 8, 8)}
    arguments = good | changes
    positional = [arguments.pop(name) for name in good]
    with pytest.raises(error, match=message):
        gaussian(*positional, **arguments)


def test_integers_of_numpy_and_torch_are_integers():
    expected = gaussian(3, "p", [4], [5], (2, 2, 2))
    assert torch.equal(
        gaussian(np.int64(3), "p", [np.int32(4)], list(torch.tensor([5])), torch.Size([2, 2, 2])), expected
    )

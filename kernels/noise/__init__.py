"""Normal noise as a function of position: no generator, no state, the same bits on every machine.

Element (c, y, x) of a stream is a function of (seed, purpose, stream, step, c, y, x) alone. Neither the shape asked for
nor the batch, the order of the streams, the device or the backend enters, so a crop of a field is that field, a frame
drawn alone is that frame, and a resumed run continues the same noise. Layout of noise version 1:

* **Key**, 64 bits: `BLAKE2b(message, digest_size=8, person=b"raccord.noise.1")` read as a little-endian integer; its
  low word is Philox's first key word. The message is the seed (8 bytes, little-endian), the length of the purpose in
  UTF-8 bytes (4 bytes, little-endian), the purpose, then one letter and the stream: `s` and its UTF-8 bytes for a
  string, `i` and its decimal digits for an integer. Thus 7 and "7" are different streams.
* **Counter**, four 32-bit words: (floor(x / 4), y, c, step), signed values in two's complement. One counter serves
  four neighbours of a row: word x mod 4 of its output belongs to x. `x` and `y` are absolute: origin plus index.
* **Philox4x32-10** (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) gives the
  word u.
* **Normal value** by inverse distribution, with integer operations, float32 multiplications and additions and nothing
  else (no libm, no fused multiply-add): the sign is bit 0 of u (set = negative); the magnitude m = (u >> 1) | 1 is an
  odd number below 2^31, and m / 2^32 the tail probability. m is rounded to float32 (to nearest); the bits of that
  float, less its lowest 19, pick a row (c0, c1, c2, c3) of `table.py`, the lowest 19 are t in [0, 1), and
  |z| = ((c3 t + c2) t + c1) t + c0, each operation rounded to float32.

|z| ends at 6.24, z and -z are equally likely exactly, and the float32 value is the master: other dtypes are one
rounding of it. A change of any bit of this is a new `NOISE_VERSION`.
"""

import functools
import hashlib
import math
import operator
from array import array
from collections.abc import Sequence
from typing import SupportsIndex

import torch
from torch import Tensor

from raccord.kernels import _native
from raccord.kernels._dispatch import Backend, Operation, interpreted, triton_reasons

__all__ = ["NOISE_VERSION", "OPERATION", "gaussian", "stream_rows"]

NOISE_VERSION = 1

_PERSON = b"raccord.noise.%d" % NOISE_VERSION
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_WORD = range(-(2**31), 2**31)


def _cpu_accepts(*, device: torch.device) -> list[str]:
    return [] if device.type == "cpu" else [f"it computes on the CPU and the device asked for is {device}"]


def _triton_accepts(*, device: torch.device) -> list[str]:
    if interpreted():
        return [] if device.type == "cpu" else [f"TRITON_INTERPRET=1 computes on the CPU, the device is {device}"]
    return [] if device.type == "cuda" else [f"it computes on CUDA devices and the device asked for is {device}"]


OPERATION = Operation(
    "gaussian",
    {
        "cpu": Backend("raccord.kernels.noise.native", lambda: list(_native.reasons()), _cpu_accepts),
        "triton": Backend("raccord.kernels.noise.triton", triton_reasons, _triton_accepts),
        "reference": Backend("raccord.kernels.noise.reference"),
    },
)


def gaussian(
    seed: SupportsIndex,
    purpose: str,
    streams: Sequence[str | SupportsIndex],
    steps: Sequence[SupportsIndex],
    shape: Sequence[SupportsIndex],
    *,
    origin: Sequence[tuple[SupportsIndex, SupportsIndex]] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    backend: str | None = None,
) -> Tensor:
    """Independent standard normals, element (c, y, x) of stream r a function of its key and position alone.

    Equivalent, for every r: `field(seed, purpose, streams[r], steps[r])[:, y0:y0+H, x0:x0+W]` with (y0, x0) = origin[r]
    of one infinite field. The module's docstring defines the bits.

    Args:
        seed: 0 .. 2^63 - 1.
        purpose: what the noise is for, such as "initial"; two purposes share nothing.
        streams: R ids, strings or integers: frames, entities.
        steps: R integers, -2^31 .. 2^31 - 1: the destination timestep, or any number that tells draws of one id apart.
        shape: (C, H, W), or (C, L), which is (C, 1, L), or (C,), which is (C, 1, 1), without the sizes of 1.
        origin: R pairs (y, x), in elements, possibly negative: where in its field a stream's result begins; (0, 0)
            if None. Every coordinate must fit 32 bits with its sign.
        device: where the result is wanted.
        dtype: float32, or float16, bfloat16, float64: the float32 value rounded once.
        backend: "cpu", "triton" or "reference" to force one, all giving the same bits; None for the first that can.

    Returns:
        `[R, *shape]`, contiguous, in [-6.24, 6.24].

    Raises:
        TypeError, ValueError: an argument breaks a rule above.
        RuntimeError: the forced backend cannot serve the call.
    """
    device = _indexed(torch.device(device))
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, _DTYPES))}, got {dtype}")
    sizes = [_integer(f"shape[{axis}]", size, range(2**31)) for axis, size in enumerate(_listed("shape", shape))]
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"shape must be (C,), (C, L) or (C, H, W), got {len(sizes)} sizes: {tuple(sizes)}")
    channels, height, width = sizes[0], sizes[1] if len(sizes) == 3 else 1, sizes[-1] if len(sizes) > 1 else 1
    rows = stream_rows(seed, purpose, streams, steps, origin=origin, height=height, width=width)
    implementation = OPERATION.choose(backend, device=device)
    if math.prod(sizes) * len(rows) == 0:
        return torch.empty((len(rows), *sizes), dtype=dtype, device=device)
    field = implementation(rows, (channels, height, width), device)
    return field.view(len(rows), *sizes).to(dtype)


def _indexed(device: torch.device) -> torch.device:
    """`device` with its number: "cuda" alone means the current one, which can be another at the next call."""
    return device if device.type == "cpu" or device.index is not None else torch.empty(0, device=device).device


def stream_rows(
    seed: SupportsIndex,
    purpose: str,
    streams: Sequence[str | SupportsIndex],
    steps: Sequence[SupportsIndex],
    *,
    origin: Sequence[tuple[SupportsIndex, SupportsIndex]] | None = None,
    height: int,
    width: int,
) -> Tensor:
    """What a backend needs of each stream, int64 [R, 5] on the CPU: low and high word of the key, step, first y and x.

    Arguments and errors as `gaussian`; `height` and `width` are those of the noise wanted.
    """
    seed = _integer("seed", seed, range(2**63))
    if not isinstance(purpose, str):
        raise TypeError(f"purpose must be a string, got {type(purpose).__name__} {purpose!r}")
    streams, steps = _listed("streams", streams), _listed("steps", steps)
    corners = None if origin is None else _corners(_listed("origin", origin), height, width)
    if not len(streams) == len(steps) == len(steps if corners is None else corners):
        raise ValueError(
            f"streams, steps and origin go together, one each for every stream; their lengths are {len(streams)}, "
            f"{len(steps)} and {len(streams if corners is None else corners)}"
        )
    if not streams:
        return torch.empty((0, 5), dtype=torch.int64)
    rows = array("q")
    for index, (stream, step) in enumerate(zip(streams, steps, strict=True)):
        where = f"streams[{index}]"
        key = _key(seed, purpose, stream if isinstance(stream, str) else _integer(where, stream, None), where)
        y, x = (0, 0) if corners is None else corners[index]
        rows.extend((key & 0xFFFFFFFF, key >> 32, _integer(f"steps[{index}]", step, _WORD), y, x))
    # a third of the time that torch takes to read a list of lists
    return torch.frombuffer(rows, dtype=torch.int64).view(-1, 5)


def _corners(origin: list, height: int, width: int) -> list[tuple[int, int]]:
    allowed = [range(_WORD.start, _WORD.stop - max(size - 1, 0)) for size in (height, width)]
    found = []
    for index, corner in enumerate(origin):
        corner = _listed(f"origin[{index}]", corner)
        if len(corner) != 2:
            raise ValueError(f"origin[{index}] must be a pair (y, x) of integers, got {corner!r}")
        y, x = (_integer(f"origin[{index}][{axis}]", corner[axis], allowed[axis]) for axis in (0, 1))
        found.append((y, x))
    return found


@functools.lru_cache(1024, typed=True)
def _key(seed: int, purpose: str, stream: str | int, where: str) -> int:
    tagged = b"s" + _utf8(where, stream) if isinstance(stream, str) else b"i%d" % stream
    encoded = _utf8("purpose", purpose)
    message = seed.to_bytes(8, "little") + len(encoded).to_bytes(4, "little") + encoded + tagged
    return int.from_bytes(hashlib.blake2b(message, digest_size=8, person=_PERSON).digest(), "little")


def _utf8(where: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where} must be text that UTF-8 can hold (no lone surrogates), got {text!r}") from error


def _listed(where: str, values: Sequence) -> list:
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise TypeError(f"{where} must be a sequence (a list, a tuple), got {values!r}; for a single one write [value]")
    return list(values)


def _integer(where: str, value: SupportsIndex | str, allowed: range | None) -> int:
    """`value` as an int, if it is one and in the range. Tensors of one integer, such as a timestep, are welcome."""
    try:
        number = value if type(value) is int else operator.index(value)  # pyright: ignore[reportArgumentType]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        expected = "an integer or a string" if allowed is None else "an integer"
        raise TypeError(f"{where} must be {expected}, got {type(value).__name__} {value!r}")
    if allowed is not None and number not in allowed:
        raise ValueError(f"{where} must be in {allowed.start} .. {allowed.stop - 1}, got {number}")
    return number

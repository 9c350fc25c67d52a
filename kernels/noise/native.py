"""Normal noise in C++ (csrc/gaussian.cpp): the binding. The struct repeats RaccordGaussian of csrc/raccord.h."""

import ctypes

import torch
from torch import Tensor

from raccord.kernels import _native
from raccord.kernels.noise.table import coefficients


class _Params(ctypes.Structure):
    _fields_ = (
        ("out", ctypes.c_void_p),
        ("stream_rows", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("streams", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("stride_stream", ctypes.c_int64),
        ("stride_channel", ctypes.c_int64),
        ("stride_row", ctypes.c_int64),
    )


def gaussian(streams: Tensor, shape: tuple[int, int, int], device: torch.device, *, level: str | None = None) -> Tensor:
    """float32[R, C, H, W] on the CPU; arguments as in `reference.gaussian`.

    Args:
        level: the instruction set to use, one of `_native.levels()[1]`; None for the highest. All give the same bits.
    """
    out = torch.empty((len(streams), *shape), dtype=torch.float32, device=device)
    params = _Params(
        out.data_ptr(),
        streams.data_ptr(),
        coefficients(device).data_ptr(),
        *out.shape,
        *out.stride()[:3],
    )
    number = -1 if level is None else _native.LEVELS.index(level)
    status = _native.library().raccord_gaussian(ctypes.byref(params), number)
    if status != 0:
        raise ValueError(f"level {level!r} cannot run here; these can: {', '.join(_native.levels()[1])}")
    return out

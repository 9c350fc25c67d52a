"""The guided step in C++ (csrc/guided_step.cpp): the binding. Its struct repeats the one of csrc/raccord.h."""

import ctypes

from torch import Tensor

from raccord.kernels import _native
from raccord.kernels.noise.table import coefficients as noise_table


class _Params(ctypes.Structure):
    _fields_ = (
        ("out", ctypes.c_void_p),
        ("sample", ctypes.c_void_p),
        ("uncond", ctypes.c_void_p),
        ("cond", ctypes.c_void_p),
        ("guidance", ctypes.c_void_p),
        ("coefficients", ctypes.c_void_p),
        ("stream_rows", ctypes.c_void_p),
        ("table", ctypes.c_void_p),
        ("noise", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        ("height", ctypes.c_int64),
        ("width", ctypes.c_int64),
        ("guidance_stride", ctypes.c_int64),
        ("coefficients_stride", ctypes.c_int64),
        ("guidance_is_map", ctypes.c_int64),
    )


def guided_step(
    sample: Tensor,
    output_uncond: Tensor,
    output_cond: Tensor,
    guidance: Tensor,
    coefficients: Tensor,
    stream_rows: Tensor | None,
    noise: Tensor | None,
    *,
    out: Tensor,
    level: str | None = None,
) -> Tensor:
    """Arguments as `reference.guided_step`, all on the CPU.

    Args:
        level: the instruction set to use, one of `_native.levels()[1]`; None for the highest. All give the same bits.
    """
    # Whatever is converted here must outlive the call, so each has a name.
    x, u, c = sample.contiguous(), output_uncond.float().contiguous(), output_cond.float().contiguous()
    scale, weights = guidance.contiguous(), coefficients.contiguous()
    keys = None if stream_rows is None else stream_rows.contiguous()
    table = None if keys is None else noise_table(sample.device)
    z = None if noise is None else noise.contiguous()
    params = _Params(
        out.data_ptr(),
        x.data_ptr(),
        u.data_ptr(),
        c.data_ptr(),
        scale.data_ptr(),
        weights.data_ptr(),
        None if keys is None else keys.data_ptr(),
        None if table is None else table.data_ptr(),
        None if z is None else z.data_ptr(),
        *out.shape,
        scale.stride(0) if scale.shape[0] > 1 else 0,
        7 if weights.shape[0] > 1 else 0,
        scale.ndim == 4,
    )
    number = -1 if level is None else _native.LEVELS.index(level)
    status = _native.library().raccord_guided_step(ctypes.byref(params), number)
    if status != 0:
        raise ValueError(f"level {level!r} cannot run here; these can: {', '.join(_native.levels()[1])}")
    return out

"""Entity attention in C++ (csrc/entity_attention_tile.h): the binding. The struct repeats the one of csrc/raccord.h."""

import ctypes
import math

import torch
from torch import Tensor

from raccord.kernels import _native

_NO_MEMORY = 2


class _Params(ctypes.Structure):
    _fields_ = (
        ("out", ctypes.c_void_p),
        ("query", ctypes.c_void_p),
        ("key", ctypes.c_void_p),
        ("value", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("visible", ctypes.c_void_p),
        ("bank_key", ctypes.c_void_p),
        ("bank_value", ctypes.c_void_p),
        ("bank_segments", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("positions", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("head_width", ctypes.c_int64),
        ("kinds", ctypes.c_int64),
        ("bfloat16", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("scale", ctypes.c_float),
        ("bank_bias", ctypes.c_float),
    )


def entity_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    owner: Tensor,
    visible: Tensor,
    bank_key: Tensor,
    bank_value: Tensor,
    bank_segments: Tensor,
    *,
    bank_weight: float,
    scale: float,
    threads: int | None = None,
    level: str | None = None,
) -> Tensor:
    """As `reference.entity_attention`, without its gradient; float32 or bfloat16 on the CPU.

    Args:
        threads: most threads to use, as many as torch's if None. No bit depends on it.
        level: the instruction set to use, one of `_native.levels()[1]`; None for the highest. All give the same bits,
            except that those of `_native.BFLOAT16_LEVELS` multiply bfloat16 as such, each with its own bits.

    Raises:
        ValueError: the level cannot run here.
        MemoryError: no memory for one head's keys and values.
    """
    tensors = [x.contiguous() for x in (query, key, value, owner, visible, bank_key, bank_value, bank_segments)]
    out = torch.empty(query.shape, dtype=query.dtype)
    if out.numel() == 0:
        return out
    params = _Params(
        out.data_ptr(),
        *(tensor.data_ptr() for tensor in tensors),
        *query.shape,
        visible.shape[-1],
        query.dtype == torch.bfloat16,
        threads or torch.get_num_threads(),
        scale,
        math.log(bank_weight) if bank_weight > 0 else -math.inf,
    )
    number = -1 if level is None else _native.LEVELS.index(level)
    status = _native.library().raccord_entity_attention(ctypes.byref(params), number)
    if status == _NO_MEMORY:
        raise MemoryError("no memory for the keys and values of entity attention: use fewer threads")
    if status != 0:
        raise ValueError(f"level {level!r} cannot run here; these can: {', '.join(_native.levels()[1])}")
    return out

"""Regional cross-attention in C++ (csrc/regional_attention_tile.h): the binding. The struct repeats
RaccordRegionalAttention of csrc/raccord.h.
"""

import ctypes

import torch
from torch import Tensor

from raccord.kernels import _native
from raccord.kernels.regional_attention.pack import PackedText, pack, panel_elements

_NO_MEMORY = 2


class _Params(ctypes.Structure):
    _fields_ = (
        ("out", ctypes.c_void_p),
        ("query", ctypes.c_void_p),
        ("panels", ctypes.c_void_p),
        ("spans", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("lse_heads", ctypes.c_void_p),
        ("lse", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("positions", ctypes.c_int64),
        ("heads", ctypes.c_int64),
        ("head_width", ctypes.c_int64),
        ("segments", ctypes.c_int64),
        ("stride_row", ctypes.c_int64),
        ("stride_position", ctypes.c_int64),
        ("stride_head", ctypes.c_int64),
        ("joint", ctypes.c_int64),
        ("bfloat16", ctypes.c_int64),
        ("paired", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("scale", ctypes.c_float),
    )


def regional_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    *,
    height: int,
    width: int,
    scale: float,
    combine: str,
    return_lse: bool,
    packed: PackedText | None = None,
) -> tuple[Tensor, Tensor | None]:
    """As `reference.regional_attention`, without its gradient; `packed` saves packing key and value."""
    if packed is None:
        packed = pack(key, value, segments)
    joint = combine == "joint"
    output, lse = attend(query, packed, segments, weight, scale=scale, joint=joint, return_lse=return_lse)
    return output, lse if return_lse else None


def attend(
    query: Tensor,
    packed: PackedText,
    segments: Tensor,
    weight: Tensor,
    *,
    scale: float,
    joint: bool,
    return_lse: bool,
    threads: int | None = None,
    level: str | None = None,
) -> tuple[Tensor, Tensor]:
    """The kernel itself.

    Args:
        threads: most threads to use, as many as torch's if None. No bit depends on it.
        level: the instruction set to use, one of `_native.levels()[1]`; None for the highest. All give the same bits,
            except that bfloat16 that is packed in pairs is multiplied as bfloat16, only at `_native.BFLOAT16_LEVELS`,
            and by each with its own bits.

    Raises:
        ValueError: `packed` lacks a segment or is for another dtype, or the level cannot run here.
        MemoryError: no memory for the scores of a tile.
    """
    if query.shape[3] > 1 and query.stride(3) != 1:
        query = query.contiguous()
    rows, positions, heads, head_width = query.shape
    paired = packed.panels.dtype == torch.bfloat16
    if paired and (query.dtype != torch.bfloat16 or level not in (None, *_native.BFLOAT16_LEVELS)):
        raise ValueError(
            f"the text is packed in pairs of bfloat16, for a query of that dtype at level "
            f"{' or '.join(_native.BFLOAT16_LEVELS)}; this query is {query.dtype} and the level {level}: "
            f"pack it with paired=False"
        )
    weight = weight.to(torch.float32).contiguous()
    bias = weight.log() if joint else None
    table = _table(packed, segments, heads, head_width)
    out = torch.empty(query.shape, dtype=query.dtype)
    count = segments.shape[1]
    lse = torch.empty(weight.shape if return_lse else 0, dtype=torch.float32)
    lse_heads = torch.empty((rows, heads, count, positions), dtype=torch.float32) if return_lse else None
    params = _Params(
        out.data_ptr(),
        query.data_ptr(),
        packed.panels.data_ptr(),
        table.data_ptr(),
        weight.data_ptr(),
        None if bias is None else bias.data_ptr(),
        None if lse_heads is None else lse_heads.data_ptr(),
        lse.data_ptr(),
        rows,
        positions,
        heads,
        head_width,
        count,
        *query.stride()[:3],
        joint,
        query.dtype == torch.bfloat16,
        paired,
        threads or torch.get_num_threads(),
        scale,
    )
    number = -1 if level is None else _native.LEVELS.index(level)
    status = _native.library().raccord_regional_attention(ctypes.byref(params), number)
    if status == _NO_MEMORY:
        raise MemoryError("no memory for the scores of regional attention: use fewer threads or shorter texts")
    if status != 0:
        raise ValueError(f"level {level!r} cannot run here; these can: {', '.join(_native.levels()[1])}")
    return out, lse


def _table(packed: PackedText, segments: Tensor, heads: int, head_width: int) -> Tensor:
    """int64 [B, S, 3]: tokens, offset of the keys, offset of the values."""
    known = {(start, length): (length, keys, values) for start, length, keys, values in packed.spans.tolist()}
    paired = packed.panels.dtype == torch.bfloat16
    needed = sum(panel_elements(length, heads, head_width, paired=paired) for length, _, _ in known.values())
    if packed.panels.numel() != needed:
        raise ValueError(
            f"the packed text has {packed.panels.numel()} elements and its spans need {needed} at H = {heads} heads of "
            f"D = {head_width}: pack the key and value of this call"
        )
    rows = [
        known.get((start, length)) if length > 0 else (0, 0, 0) for start, length in segments.reshape(-1, 2).tolist()
    ]
    if None in rows:
        raise ValueError(
            f"the packed text holds the spans {list(known)}, not all of {segments.tolist()}: pack them too"
        )
    return torch.tensor(rows, dtype=torch.int64)

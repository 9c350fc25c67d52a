"""Regional cross-attention in Triton: one program a head and a two-dimensional tile of positions.

Regions are compact in two dimensions, so a square tile sees fewer of them than a run of positions does; a segment that
no position of the tile sees is skipped. Sums over tokens run in ascending blocks, one program owns each result, and no
size depends on the batch.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Positions of a tile (rows, columns) and tokens of a block.
_TILE = (8, 8)
_TOKENS = 32

_LOG2_E = tl.constexpr(1.4426950408889634)
_LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _attend(
    out_ptr,
    query_ptr,
    key_ptr,
    value_ptr,
    segments_ptr,
    weight_ptr,
    lse_ptr,
    heads,
    height,
    width,
    segments,
    stride_row,
    stride_position,
    stride_head,
    stride_key,
    stride_key_head,
    stride_value,
    stride_value_head,
    scale,
    D: tl.constexpr,
    DEPTH: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TOKENS: tl.constexpr,
    JOINT: tl.constexpr,
    LSE: tl.constexpr,
):
    row = tl.program_id(2).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    across = tl.cdiv(width, COLUMNS)
    offs_m = tl.arange(0, ROWS * COLUMNS)
    y = tl.program_id(0) // across * ROWS + offs_m // COLUMNS
    x = tl.program_id(0) % across * COLUMNS + offs_m % COLUMNS
    inside = (y < height) & (x < width)
    position = (y * width + x).to(tl.int64)

    offs_d = tl.arange(0, DEPTH)
    offs_n = tl.arange(0, TOKENS)
    # 64 bits for where a tile begins, 32 inside it: addresses of 64 bits for every element would fill the registers
    query_base = query_ptr + row * stride_row + head * stride_head
    inner = position.to(tl.int32)[:, None] * stride_position + offs_d[None, :]
    q = tl.load(query_base + inner, mask=inside[:, None] & (offs_d < D)[None, :], other=0.0)

    total = tl.zeros([ROWS * COLUMNS, DEPTH], tl.float32)
    norm = tl.zeros([ROWS * COLUMNS], tl.float32)
    peak = tl.full([ROWS * COLUMNS], float("-inf"), tl.float32)
    for segment in range(segments):
        start = tl.load(segments_ptr + (row * segments + segment) * 2).to(tl.int64)
        length = tl.load(segments_ptr + (row * segments + segment) * 2 + 1)
        w = tl.load(weight_ptr + (row * segments + segment) * height * width + position, mask=inside, other=0.0)
        seen = tl.max(w, 0) > 0
        if (length > 0) & (seen | LSE):
            bias = tl.log2(tl.where(w > 0, w, 1.0))
            mine = tl.zeros([ROWS * COLUMNS, DEPTH], tl.float32)
            mass = tl.zeros([ROWS * COLUMNS], tl.float32)
            most = tl.full([ROWS * COLUMNS], float("-inf"), tl.float32)
            key_base = key_ptr + start * stride_key + head * stride_key_head
            value_base = value_ptr + start * stride_value + head * stride_value_head
            for first in range(0, length, TOKENS):
                token = first + offs_n
                there = token < length
                key_offs = token[None, :] * stride_key + offs_d[:, None]
                k = tl.load(key_base + key_offs, mask=there[None, :] & (offs_d < D)[:, None], other=0.0)
                value_offs = token[:, None] * stride_value + offs_d[None, :]
                v = tl.load(value_base + value_offs, mask=there[:, None] & (offs_d < D)[None, :], other=0.0)
                s = tl.dot(q, k, input_precision="ieee") * (scale * _LOG2_E)
                s = tl.where(there[None, :], s, float("-inf"))
                higher = tl.maximum(most, tl.max(s, 1))
                shrink = tl.exp2(most - higher)
                p = tl.exp2(s - higher[:, None])
                mass = mass * shrink + tl.sum(p, 1)
                if seen:
                    mine = mine * shrink[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
                most = higher
            if LSE:
                lse = (most + tl.log2(mass)) * _LN_2
                lse_offs = ((row * heads + head) * segments + segment) * height * width + position
                tl.store(lse_ptr + lse_offs, lse, mask=inside)
            if seen:
                hears = w > 0
                if JOINT:
                    biased = tl.where(hears, most + bias, float("-inf"))
                    higher = tl.maximum(peak, biased)
                    # a position that has heard nothing yet has no peak to measure from
                    level = tl.where(higher > float("-inf"), higher, 0.0)
                    shrink = tl.exp2(peak - level)
                    share = tl.exp2(biased - level)
                    total = tl.where(hears[:, None], total * shrink[:, None] + share[:, None] * mine, total)
                    norm = tl.where(hears, norm * shrink + share * mass, norm)
                    peak = higher
                else:
                    total = tl.where(hears[:, None], total + (w / mass)[:, None] * mine, total)
                    norm += w
    found = tl.where((norm > 0)[:, None], total / tl.where(norm > 0, norm, 1.0)[:, None], 0.0)
    out_base = out_ptr + (row * height * width * heads + head) * D
    out_offs = position.to(tl.int32)[:, None] * (heads * D) + offs_d[None, :]
    mask = inside[:, None] & (offs_d < D)[None, :]
    tl.store(out_base + out_offs, found.to(out_ptr.dtype.element_ty), mask=mask)


def constants(head_width: int, *, joint: bool, lse: bool) -> dict[str, Any]:
    """What a variant of the kernel is compiled for."""
    depth = max(16, triton.next_power_of_2(head_width))
    sizes = {"D": head_width, "DEPTH": depth, "ROWS": _TILE[0], "COLUMNS": _TILE[1], "TOKENS": _TOKENS}
    return {**sizes, "JOINT": joint, "LSE": lse}


def options(head_width: int) -> dict[str, Any]:
    """How it is compiled. Sums of a wide head do not fit the registers of four warps."""
    return {"num_warps": 4 if head_width <= 64 else 8, "num_stages": 2, "enable_fp_fusion": True}


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
    packed: object = None,
) -> tuple[Tensor, Tensor | None]:
    """As `reference.regional_attention`, float32 inside (float16 and bfloat16 products), without its gradient."""
    query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
    rows, positions, heads, head_width = query.shape
    count = segments.shape[1]
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    lse = torch.full(
        (rows, heads, count, positions) if return_lse else (0,), -torch.inf, dtype=torch.float32, device=query.device
    )
    if out.numel() == 0:
        return out, lse.mean(1) if return_lse else None
    tiles = triton.cdiv(height, _TILE[0]) * triton.cdiv(width, _TILE[1])
    # Triton launches on the current device, which need not be the one asked for.
    with torch.cuda.device_of(out):
        launch: Any = _attend[(tiles, heads, rows)]
        launch(
            out,
            query,
            key,
            value,
            segments.contiguous(),
            weight.to(torch.float32).contiguous(),
            lse,
            heads,
            height,
            width,
            count,
            *query.stride()[:3],
            *key.stride()[:2],
            *value.stride()[:2],
            scale,
            **constants(head_width, joint=combine == "joint", lse=return_lse),
            **options(head_width),
        )
    return out, lse.mean(1) if return_lse else None

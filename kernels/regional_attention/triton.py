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

from raccord.kernels._tile.triton import products, rows, split, store_rows

#: Positions of a tile: rows, columns.
TILE = (8, 8)

_LOG2_E = tl.constexpr(1.4426950408889634)
_LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def tile_positions(height, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """(the tile's positions, which of them are inside the grid)."""
    across = tl.cdiv(width, COLUMNS)
    offs_m = tl.arange(0, ROWS * COLUMNS)
    y = tl.program_id(0) // across * ROWS + offs_m // COLUMNS
    x = tl.program_id(0) % across * COLUMNS + offs_m % COLUMNS
    return y * width + x, (y < height) & (x < width)


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
    MAIN: tl.constexpr,
    REST: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    TOKENS: tl.constexpr,
    JOINT: tl.constexpr,
    LSE: tl.constexpr,
):
    row = tl.program_id(2).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    # 64 bits for where a tile begins, 32 inside it: addresses of 64 bits for every element would fill the registers
    position, inside = tile_positions(height, width, ROWS, COLUMNS)  # pyright: ignore[reportGeneralTypeIssues]
    query_ptr += row * stride_row + head * stride_head
    q = rows(query_ptr, position, stride_position, inside, D, 0, MAIN)
    q_rest = rows(query_ptr, position, stride_position, inside, D, MAIN, REST) if REST > 0 else q

    total = tl.zeros([ROWS * COLUMNS, MAIN], tl.float32)
    total_rest = tl.zeros([ROWS * COLUMNS, REST if REST > 0 else 16], tl.float32)
    norm = tl.zeros([ROWS * COLUMNS], tl.float32)
    peak = tl.full([ROWS * COLUMNS], float("-inf"), tl.float32)
    for segment in range(segments):
        start = tl.load(segments_ptr + (row * segments + segment) * 2).to(tl.int64)
        length = tl.load(segments_ptr + (row * segments + segment) * 2 + 1)
        w = tl.load(weight_ptr + (row * segments + segment) * height * width + position, mask=inside, other=0.0)
        seen = tl.max(w, 0) > 0
        if (length > 0) & (seen | LSE):
            mine = tl.zeros([ROWS * COLUMNS, MAIN], tl.float32)
            mine_rest = tl.zeros([ROWS * COLUMNS, REST if REST > 0 else 16], tl.float32)
            mass = tl.zeros([ROWS * COLUMNS], tl.float32)
            most = tl.full([ROWS * COLUMNS], float("-inf"), tl.float32)
            key_base = key_ptr + start * stride_key + head * stride_key_head
            value_base = value_ptr + start * stride_value + head * stride_value_head
            for first in range(0, length, TOKENS):
                token = first + tl.arange(0, TOKENS)
                there = token < length
                k = rows(key_base, token, stride_key, there, D, 0, MAIN)
                k_rest = rows(key_base, token, stride_key, there, D, MAIN, REST) if REST > 0 else k
                v = rows(value_base, token, stride_value, there, D, 0, MAIN)
                s = products(q, q_rest, k, k_rest, REST) * (scale * _LOG2_E)
                s = tl.where(there[None, :], s, float("-inf"))
                higher = tl.maximum(most, tl.max(s, 1))
                shrink = tl.exp2(most - higher)
                p = tl.exp2(s - higher[:, None])
                mass = mass * shrink + tl.sum(p, 1)
                if seen:
                    mine = tl.dot(p.to(v.dtype), v, mine * shrink[:, None], input_precision="ieee")
                    if REST > 0:
                        v_rest = rows(value_base, token, stride_value, there, D, MAIN, REST)
                        mine_rest = tl.dot(p.to(v.dtype), v_rest, mine_rest * shrink[:, None], input_precision="ieee")
                most = higher
            if LSE:
                lse = (most + tl.log2(mass)) * _LN_2
                lse_offs = ((row * heads + head) * segments + segment) * height * width + position
                tl.store(lse_ptr + lse_offs, lse, mask=inside)
            if seen:
                hears = w > 0
                if JOINT:
                    biased = tl.where(hears, most + tl.log2(tl.where(hears, w, 1.0)), float("-inf"))
                    higher = tl.maximum(peak, biased)
                    # a position that has heard nothing yet has no peak to measure from
                    level = tl.where(higher > float("-inf"), higher, 0.0)
                    shrink = tl.exp2(peak - level)
                    share = tl.exp2(biased - level)
                    norm = tl.where(hears, norm * shrink + share * mass, norm)
                    peak = higher
                else:
                    shrink = tl.full([ROWS * COLUMNS], 1.0, tl.float32)
                    share = w / mass
                    norm += w
                total = tl.where(hears[:, None], total * shrink[:, None] + share[:, None] * mine, total)
                if REST > 0:
                    more = total_rest * shrink[:, None] + share[:, None] * mine_rest
                    total_rest = tl.where(hears[:, None], more, total_rest)
    # whoever hears nothing has 0 in total
    norm = tl.where(norm == 0.0, 1.0, norm)[:, None]
    out_ptr += (row * height * width * heads + head) * D
    store_rows(out_ptr, position, heads * D, inside, total / norm, D, 0, MAIN)
    if REST > 0:
        store_rows(out_ptr, position, heads * D, inside, total_rest / norm, D, MAIN, REST)


def constants(head_width: int, *, joint: bool, lse: bool) -> dict[str, Any]:
    """What a variant of the kernel is compiled for: as many tokens at a time as the registers hold."""
    sizes = {"ROWS": TILE[0], "COLUMNS": TILE[1], "TOKENS": 32 if head_width <= 128 else 16}
    return {**split(head_width), **sizes, "JOINT": joint, "LSE": lse}


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
    batch, positions, heads, head_width = query.shape
    count = segments.shape[1]
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    lse = torch.full(
        (batch, heads, count, positions) if return_lse else (0,), -torch.inf, dtype=torch.float32, device=query.device
    )
    if out.numel() == 0:
        return out, lse.mean(1) if return_lse else None
    tiles = triton.cdiv(height, TILE[0]) * triton.cdiv(width, TILE[1])
    # Triton launches on the current device, which need not be the one asked for.
    with torch.cuda.device_of(out):
        launch: Any = _attend[(tiles, heads, batch)]
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

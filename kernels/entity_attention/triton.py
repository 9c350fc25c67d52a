"""Entity attention in Triton: one program a head and a tile of positions of one owner.

Positions are sorted by owner, so what a query sees is whole groups of keys: its own frame's, by owner, then its memory.
A group that its owner does not see is skipped without a look, and no key of it can leak. A block never holds keys of
two groups, blocks are met in one order, and no size depends on the batch or on the other queries.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from raccord.kernels._tile.triton import products, rows, split, store_rows

_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _attend(
    out_ptr,
    query_ptr,
    key_ptr,
    value_ptr,
    order_ptr,
    start_ptr,
    visible_ptr,
    bank_key_ptr,
    bank_value_ptr,
    bank_segments_ptr,
    heads,
    positions,
    kinds,
    stride_query,
    stride_query_head,
    stride_key,
    stride_key_head,
    stride_value,
    stride_value_head,
    stride_bank_key,
    stride_bank_key_head,
    stride_bank_value,
    stride_bank_value_head,
    stride_query_row,
    stride_key_row,
    stride_value_row,
    scale,
    bank_bias,
    D: tl.constexpr,
    MAIN: tl.constexpr,
    REST: tl.constexpr,
    POSITIONS: tl.constexpr,
    TOKENS: tl.constexpr,
):
    row = tl.program_id(2).to(tl.int64)
    head = tl.program_id(1).to(tl.int64)
    order_ptr += row * positions
    start_ptr += row * (kinds + 2)

    # Tiles go owner after owner. Kind `kinds` is whoever has no row in visible: they see nothing.
    owner, first, last, begun = -1, 0, 0, 0
    for kind in range(kinds + 1):
        begin = tl.load(start_ptr + kind)
        end = tl.load(start_ptr + kind + 1)
        ahead = tl.program_id(0) - begun
        begun += tl.cdiv(end - begin, POSITIONS)
        if (ahead >= 0) & (tl.program_id(0) < begun):
            owner = kind
            first = begin + ahead * POSITIONS
            last = end
    if owner < 0:
        return

    offs_m = first + tl.arange(0, POSITIONS)
    inside = offs_m < last
    mine = tl.load(order_ptr + offs_m, mask=inside, other=0)
    query_ptr += row * stride_query_row + head * stride_query_head
    q = rows(query_ptr, mine, stride_query, inside, D, 0, MAIN)
    q_rest = rows(query_ptr, mine, stride_query, inside, D, MAIN, REST) if REST > 0 else q
    key_ptr += row * stride_key_row + head * stride_key_head
    value_ptr += row * stride_value_row + head * stride_value_head
    total = tl.zeros([POSITIONS, MAIN], tl.float32)
    total_rest = tl.zeros([POSITIONS, REST if REST > 0 else 16], tl.float32)
    norm = tl.zeros([POSITIONS], tl.float32)
    peak = tl.full([POSITIONS], float("-inf"), tl.float32)

    known = owner < kinds
    visible_ptr += (row * kinds + owner) * kinds
    for kind in range(kinds):
        if tl.load(visible_ptr + kind, mask=known, other=0) != 0:
            begin = tl.load(start_ptr + kind)
            end = tl.load(start_ptr + kind + 1)
            for token in range(begin, end, TOKENS):
                offs_n = token + tl.arange(0, TOKENS)
                there = offs_n < end
                index = tl.load(order_ptr + offs_n, mask=there, other=0)
                total, total_rest, norm, peak = _meet(
                    total, total_rest, norm, peak, q, q_rest, key_ptr, value_ptr, index, stride_key, stride_value,
                    there, scale, 0.0, D, MAIN, REST,
                )  # fmt: skip

    # weight 0: its tokens are not even read
    if (owner > 0) & known & (bank_bias > float("-inf")):
        segment = bank_segments_ptr + (row * (kinds - 1) + owner - 1) * 2
        begin = tl.load(segment).to(tl.int64)
        length = tl.load(segment + 1)
        bank_key_ptr += begin * stride_bank_key + head * stride_bank_key_head
        bank_value_ptr += begin * stride_bank_value + head * stride_bank_value_head
        for token in range(0, length, TOKENS):
            index = token + tl.arange(0, TOKENS)
            there = index < length
            total, total_rest, norm, peak = _meet(
                total, total_rest, norm, peak, q, q_rest, bank_key_ptr, bank_value_ptr, index, stride_bank_key,
                stride_bank_value, there, scale, bank_bias, D, MAIN, REST,
            )  # fmt: skip

    # a block that was met adds at least 1 to the norm of all; whoever met none has 0 in total
    norm = tl.where(norm == 0.0, 1.0, norm)[:, None]
    out_ptr += (row * positions * heads + head) * D
    store_rows(out_ptr, mine, heads * D, inside, total / norm, D, 0, MAIN)
    if REST > 0:
        store_rows(out_ptr, mine, heads * D, inside, total_rest / norm, D, MAIN, REST)


@triton.jit
def _meet(
    total,
    total_rest,
    norm,
    peak,
    q,
    q_rest,
    key_ptr,
    value_ptr,
    index,
    stride_key,
    stride_value,
    there,
    scale,
    bias,
    D: tl.constexpr,
    MAIN: tl.constexpr,
    REST: tl.constexpr,
):
    """One block of keys and values more in the running softmax."""
    k = rows(key_ptr, index, stride_key, there, D, 0, MAIN)
    k_rest = rows(key_ptr, index, stride_key, there, D, MAIN, REST) if REST > 0 else k
    s = products(q, q_rest, k, k_rest, REST) * (scale * _LOG2_E) + bias
    s = tl.where(there[None, :], s, float("-inf"))
    higher = tl.maximum(peak, tl.max(s, 1))
    shrink = tl.exp2(peak - higher)
    p = tl.exp2(s - higher[:, None])
    norm = norm * shrink + tl.sum(p, 1)
    v = rows(value_ptr, index, stride_value, there, D, 0, MAIN)
    total = tl.dot(p.to(v.dtype), v, total * shrink[:, None], input_precision="ieee")
    if REST > 0:
        v_rest = rows(value_ptr, index, stride_value, there, D, MAIN, REST)
        total_rest = tl.dot(p.to(v.dtype), v_rest, total_rest * shrink[:, None], input_precision="ieee")
    return total, total_rest, norm, higher


def constants(head_width: int) -> dict[str, Any]:
    """What a variant of the kernel is compiled for: as many positions and keys as the registers hold."""
    return {**split(head_width), "POSITIONS": 128 if head_width <= 64 else 64, "TOKENS": 64 if head_width <= 64 else 32}


#: How it is compiled.
OPTIONS = {"num_warps": 8, "num_stages": 2, "enable_fp_fusion": True}


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
) -> Tensor:
    """As `reference.entity_attention`, float32 inside (float16 and bfloat16 products), without its gradient."""
    tensors = (query, key, value, bank_key, bank_value)
    query, key, value, bank_key, bank_value = (x if x.stride(-1) == 1 else x.contiguous() for x in tensors)
    batch, positions, heads, head_width = query.shape
    kinds = visible.shape[-1]
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    if out.numel() == 0:
        return out
    owners, order = owner.sort(dim=1, stable=True)
    # kinds + 2 places, the last behind every owner a byte can name
    edges = torch.arange(kinds + 2, device=owner.device, dtype=torch.int32)
    edges[-1] = 256
    start = torch.searchsorted(owners.to(torch.int32), edges.expand(batch, -1).contiguous(), out_int32=True)
    fixed = constants(head_width)
    tiles = triton.cdiv(positions, fixed["POSITIONS"]) + kinds
    # Triton launches on the current device, which need not be the one asked for.
    with torch.cuda.device_of(out):
        launch: Any = _attend[(tiles, heads, batch)]
        launch(
            out,
            query,
            key,
            value,
            order.to(torch.int32),
            start,
            visible.contiguous().view(torch.uint8),
            bank_key,
            bank_value,
            bank_segments.contiguous(),
            heads,
            positions,
            kinds,
            *query.stride()[1:3],
            *key.stride()[1:3],
            *value.stride()[1:3],
            *bank_key.stride()[:2],
            *bank_value.stride()[:2],
            query.stride(0),
            key.stride(0),
            value.stride(0),
            scale,
            math.log2(bank_weight) if bank_weight > 0 else -math.inf,
            **fixed,
            **OPTIONS,
        )
    return out

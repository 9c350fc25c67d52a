"""The gradient of regional attention in its query, in Triton: what guidance needs, since texts and regions stand still.

With P the softmax of a segment's scores (log-sum-exp L), dP = dO V^T, g the gradient in the segment's L of this head,
and a segment's share a of a position's attention, from the centre c,

    dS = P (a (dP - c) + g)         dQ = scale dS K
    blend   a = w / sum w           c = sum P dP over the segment
    joint   a = w e^L / sum w e^L   c = sum a P dP over all segments

(Dao, arXiv 2307.08691, section 3.1.2, for one segment.) A program owns the gradients of its tile: it finds each
segment's L and sum of P dP in one walk over the tokens and P again from L in a second one. Nothing is added up across
programs, so there are no atomics, and no bit depends on the batch.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from raccord.kernels._tile.triton import products, rows, split, store_rows
from raccord.kernels.regional_attention.triton import TILE, tile_positions

_LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _differentiate(
    out_ptr,
    query_ptr,
    key_ptr,
    value_ptr,
    segments_ptr,
    weight_ptr,
    gradient_ptr,
    lse_gradient_ptr,
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
    position, inside = tile_positions(height, width, ROWS, COLUMNS)  # pyright: ignore[reportGeneralTypeIssues]
    query_ptr += row * stride_row + head * stride_head
    key_ptr += head * stride_key_head
    value_ptr += head * stride_value_head
    base = (row * height * width * heads + head) * D
    q = rows(query_ptr, position, stride_position, inside, D, 0, MAIN)
    q_rest = rows(query_ptr, position, stride_position, inside, D, MAIN, REST) if REST > 0 else q
    g = rows(gradient_ptr + base, position, heads * D, inside, D, 0, MAIN)
    g_rest = rows(gradient_ptr + base, position, heads * D, inside, D, MAIN, REST) if REST > 0 else g
    segments_ptr += row * segments * 2
    weight_ptr += row * segments * height * width
    lse_gradient_ptr += row * segments * height * width
    scale_2 = scale * _LOG2_E

    # what all segments together give: the sum of weights, or of exponentials (above 2^peak) with their centre
    norm = tl.zeros([ROWS * COLUMNS], tl.float32)
    centre = tl.zeros([ROWS * COLUMNS], tl.float32)
    peak = tl.full([ROWS * COLUMNS], float("-inf"), tl.float32)
    for segment in range(segments):
        start = tl.load(segments_ptr + segment * 2).to(tl.int64)
        length = tl.load(segments_ptr + segment * 2 + 1)
        w = tl.load(weight_ptr + segment * height * width + position, mask=inside, other=0.0)
        if (length > 0) & (tl.max(w, 0) > 0):
            if JOINT:
                lse, along = _survey(
                    q, q_rest, g, g_rest, key_ptr + start * stride_key, value_ptr + start * stride_value, stride_key,
                    stride_value, length, scale_2, D, MAIN, REST, ROWS * COLUMNS, TOKENS,
                )  # fmt: skip
                hears = w > 0
                biased = tl.where(hears, lse + tl.log2(tl.where(hears, w, 1.0)), float("-inf"))
                higher = tl.maximum(peak, biased)
                level = tl.where(higher > float("-inf"), higher, 0.0)
                shrink = tl.exp2(peak - level)
                share = tl.exp2(biased - level)
                centre = tl.where(hears, centre * shrink + share * along, centre)
                norm = tl.where(hears, norm * shrink + share, norm)
                peak = higher
            else:
                norm += w
    norm = tl.where(norm == 0.0, 1.0, norm)
    centre = centre / norm
    peak = tl.where(peak > float("-inf"), peak, 0.0) + tl.log2(norm)

    found = tl.zeros([ROWS * COLUMNS, MAIN], tl.float32)
    found_rest = tl.zeros([ROWS * COLUMNS, REST if REST > 0 else 16], tl.float32)
    for segment in range(segments):
        start = tl.load(segments_ptr + segment * 2).to(tl.int64)
        length = tl.load(segments_ptr + segment * 2 + 1)
        w = tl.load(weight_ptr + segment * height * width + position, mask=inside, other=0.0)
        if (length > 0) & ((tl.max(w, 0) > 0) | LSE):
            key_base = key_ptr + start * stride_key
            value_base = value_ptr + start * stride_value
            lse, along = _survey(
                q, q_rest, g, g_rest, key_base, value_base, stride_key, stride_value, length, scale_2, D, MAIN, REST,
                ROWS * COLUMNS, TOKENS,
            )  # fmt: skip
            hears = w > 0
            if JOINT:
                share = tl.where(hears, tl.exp2(lse + tl.log2(tl.where(hears, w, 1.0)) - peak), 0.0)
            else:
                share = w / norm
                centre = along
            if LSE:
                own = tl.load(lse_gradient_ptr + segment * height * width + position, mask=inside, other=0.0) / heads
            else:
                own = tl.zeros([ROWS * COLUMNS], tl.float32)
            for first in range(0, length, TOKENS):
                token = first + tl.arange(0, TOKENS)
                there = token < length
                k = rows(key_base, token, stride_key, there, D, 0, MAIN)
                k_rest = rows(key_base, token, stride_key, there, D, MAIN, REST) if REST > 0 else k
                v = rows(value_base, token, stride_value, there, D, 0, MAIN)
                v_rest = rows(value_base, token, stride_value, there, D, MAIN, REST) if REST > 0 else v
                s = products(q, q_rest, k, k_rest, REST) * scale_2
                p = tl.where(there[None, :], tl.exp2(s - lse[:, None]), 0.0)
                turned = share[:, None] * (products(g, g_rest, v, v_rest, REST) - centre[:, None])
                # what a position does not hear is nothing to it, even if it is no number
                ds = (p * (tl.where(hears[:, None], turned, 0.0) + own[:, None])).to(k.dtype)
                found = tl.dot(ds, k, found, input_precision="ieee")
                if REST > 0:
                    found_rest = tl.dot(ds, k_rest, found_rest, input_precision="ieee")
    store_rows(out_ptr + base, position, heads * D, inside, found * scale, D, 0, MAIN)
    if REST > 0:
        store_rows(out_ptr + base, position, heads * D, inside, found_rest * scale, D, MAIN, REST)


@triton.jit
def _survey(
    q,
    q_rest,
    g,
    g_rest,
    key_base,
    value_base,
    stride_key,
    stride_value,
    length,
    scale_2,
    D: tl.constexpr,
    MAIN: tl.constexpr,
    REST: tl.constexpr,
    POSITIONS: tl.constexpr,
    TOKENS: tl.constexpr,
):
    """Of one segment: (log2 of the sum of exponentials, sum of P dP)."""
    mass = tl.zeros([POSITIONS], tl.float32)
    along = tl.zeros([POSITIONS], tl.float32)
    most = tl.full([POSITIONS], float("-inf"), tl.float32)
    for first in range(0, length, TOKENS):
        token = first + tl.arange(0, TOKENS)
        there = token < length
        k = rows(key_base, token, stride_key, there, D, 0, MAIN)
        k_rest = rows(key_base, token, stride_key, there, D, MAIN, REST) if REST > 0 else k
        v = rows(value_base, token, stride_value, there, D, 0, MAIN)
        v_rest = rows(value_base, token, stride_value, there, D, MAIN, REST) if REST > 0 else v
        s = tl.where(there[None, :], products(q, q_rest, k, k_rest, REST) * scale_2, float("-inf"))
        higher = tl.maximum(most, tl.max(s, 1))
        shrink = tl.exp2(most - higher)
        p = tl.exp2(s - higher[:, None])
        mass = mass * shrink + tl.sum(p, 1)
        along = along * shrink + tl.sum(p * products(g, g_rest, v, v_rest, REST), 1)
        most = higher
    return most + tl.log2(mass), along / mass


def constants(head_width: int, *, joint: bool, lse: bool) -> dict[str, Any]:
    """What a variant of the kernel is compiled for: few tokens at a time, since four products share the registers."""
    sizes = {"ROWS": TILE[0], "COLUMNS": TILE[1], "TOKENS": 32 if head_width <= 64 else 16}
    return {**split(head_width), **sizes, "JOINT": joint, "LSE": lse}


def options(head_width: int) -> dict[str, Any]:
    """How it is compiled: what keeps everything in registers on four architectures. There is no room to fetch ahead."""
    fixed = {"num_warps": 8 if head_width <= 64 else 4, "num_stages": 1, "enable_fp_fusion": True}
    # NVIDIA's assembler would rather spill some bytes than use as many as there are; AMD's has no such option
    return fixed if torch.version.hip else {**fixed, "maxnreg": 255}


def query_gradient(
    output_gradient: Tensor,
    lse_gradient: Tensor,
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
) -> Tensor:
    """As the first of `reference.gradients`, float32 inside (float16 and bfloat16 products).

    Args:
        output_gradient: [B, N, H, D], in the query's dtype.
        lse_gradient: float32 [B, S, N] with `return_lse`, not read without.
    """
    query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    if out.numel() == 0:
        return out
    batch, _, heads, head_width = query.shape
    tiles = triton.cdiv(height, TILE[0]) * triton.cdiv(width, TILE[1])
    # Triton launches on the current device, which need not be the one asked for.
    with torch.cuda.device_of(out):
        launch: Any = _differentiate[(tiles, heads, batch)]
        launch(
            out,
            query,
            key,
            value,
            segments.contiguous(),
            weight.to(torch.float32).contiguous(),
            output_gradient.to(query.dtype).contiguous(),
            lse_gradient.to(torch.float32).contiguous(),
            heads,
            height,
            width,
            segments.shape[1],
            *query.stride()[:3],
            *key.stride()[:2],
            *value.stride()[:2],
            scale,
            **constants(head_width, joint=combine == "joint", lse=return_lse),
            **options(head_width),
        )
    return out

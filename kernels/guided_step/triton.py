"""The guided step in Triton. The same bits as the reference, so long as no multiply-add is fused."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from raccord.kernels.noise.table import coefficients as noise_table
from raccord.kernels.noise.triton import normal_blocks

_BLOCKS = 256


@triton.jit
def _term(weight, value):
    # Where the weight is 0: -0.0, which changes nothing that it is added to. As a literal it would lose its sign.
    used = weight != 0.0
    return tl.where(used, weight, 0.0) * tl.where(used, value, -1.0)


@triton.jit
def _guided_step_kernel(
    out_ptr,
    sample_ptr,
    uncond_ptr,
    cond_ptr,
    guidance_ptr,
    coefficients_ptr,
    streams_ptr,
    table_ptr,
    noise_ptr,
    channels,
    height,
    width,
    row_blocks,
    tiles,
    guidance_stride,
    coefficients_stride,
    MAP: tl.constexpr,
    KEYED: tl.constexpr,
    GIVEN: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    # int64 throughout: a large batch of large fields passes 2^31 elements.
    program = tl.program_id(0).to(tl.int64)
    r = program // tiles
    tile = program % tiles

    x_first = tl.zeros([], tl.int64)
    if KEYED:
        x_first = tl.load(streams_ptr + r * 5 + 4)
    offs_b = tile * BLOCKS + tl.arange(0, BLOCKS)
    block = (x_first >> 2) + offs_b % row_blocks
    row = offs_b // row_blocks
    y = row % height
    c = row // height
    column = (block * 4 - x_first)[:, None] + tl.arange(0, 4)[None, :]
    offs = (r * channels * height + row)[:, None] * width + column
    mask = (c < channels)[:, None] & (column >= 0) & (column < width)

    weights_ptr = coefficients_ptr + r * coefficients_stride
    from_original = tl.load(weights_ptr + 2)
    from_noise = tl.load(weights_ptr + 3)
    bound = tl.load(weights_ptr + 6)

    uncond = tl.load(uncond_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    cond = tl.load(cond_ptr + offs, mask=mask, other=0.0).to(tl.float32)
    if MAP:
        scale_ptr = guidance_ptr + r * guidance_stride + y[:, None] * width + column
        guided = uncond + tl.load(scale_ptr, mask=mask, other=0.0) * (cond - uncond)
    else:
        guided = uncond + tl.load(guidance_ptr + r * guidance_stride) * (cond - uncond)
    x = tl.load(sample_ptr + offs, mask=mask, other=0.0).to(tl.float64)
    output = guided.to(tl.float64)

    original = _term(tl.load(weights_ptr + 4), x) + _term(tl.load(weights_ptr + 5), output)
    original = tl.where(original < -bound, -bound, original)
    original = tl.where(original > bound, bound, original)
    total = _term(tl.load(weights_ptr), x) + _term(tl.load(weights_ptr + 1), output)
    total = total + _term(from_original, original)
    if KEYED:
        key = tl.load(streams_ptr + r * 5) | (tl.load(streams_ptr + r * 5 + 1) << 32)
        step = tl.load(streams_ptr + r * 5 + 2).to(tl.int32)
        z = normal_blocks(table_ptr, key, block, tl.load(streams_ptr + r * 5 + 3) + y, c, step, BLOCKS)
        total = total + _term(from_noise, z.to(tl.float64))
    if GIVEN:
        z = tl.load(noise_ptr + offs, mask=mask, other=0.0)
        total = total + _term(from_noise, z.to(tl.float64))
    tl.store(out_ptr + offs, total.to(tl.float32), mask=mask)


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
) -> Tensor:
    """Arguments as `reference.guided_step`, all on one device."""
    rows, channels, height, width = out.shape
    # Enough whole counters to cover `width` columns whatever the alignment of the first one.
    row_blocks = (width + 6) // 4
    tiles = triton.cdiv(channels * height * row_blocks, _BLOCKS)
    sample, weights, scale = sample.contiguous(), coefficients.contiguous(), guidance.contiguous()
    # Triton launches on the current device, which need not be the tensors'.
    with torch.cuda.device_of(out):
        _guided_step_kernel[(rows * tiles,)](
            out_ptr=out,
            sample_ptr=sample,
            uncond_ptr=output_uncond.contiguous(),
            cond_ptr=output_cond.contiguous(),
            guidance_ptr=scale,
            coefficients_ptr=weights,
            # a pointer that is not read, where there is no noise of that kind
            streams_ptr=sample if stream_rows is None else stream_rows.contiguous(),
            table_ptr=sample if stream_rows is None else noise_table(sample.device),
            noise_ptr=sample if noise is None else noise.contiguous(),
            channels=channels,
            height=height,
            width=width,
            row_blocks=row_blocks,
            tiles=tiles,
            guidance_stride=scale.stride(0) if scale.shape[0] > 1 else 0,
            coefficients_stride=7 if weights.shape[0] > 1 else 0,
            MAP=scale.ndim == 4,
            KEYED=stream_rows is not None,
            GIVEN=noise is not None,
            BLOCKS=_BLOCKS,
            enable_fp_fusion=False,  # pyright: ignore[reportCallIssue]
        )
    return out

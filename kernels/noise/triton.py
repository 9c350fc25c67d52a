"""Normal noise in Triton. The same bits as the reference, so long as no multiply-add is fused."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from raccord.kernels.noise.table import coefficients

_BLOCKS = 256


@triton.jit
def normal_blocks(table_ptr, key, block, y, c, step, BLOCKS: tl.constexpr):
    """The normal values of BLOCKS counters, float32 [BLOCKS, 4]: a part of kernels, without a fused multiply-add."""
    zero = tl.zeros([BLOCKS], tl.int32)
    w0, w1, w2, w3 = tl.philox(key, block.to(tl.int32), y.to(tl.int32), c.to(tl.int32), zero + step)
    words = tl.reshape(tl.join(tl.join(w0, w2), tl.join(w1, w3)), [BLOCKS, 4])

    bits = ((words >> 1) | 1).to(tl.int32).to(tl.float32).to(tl.int32, bitcast=True)
    coefficient_ptr = table_ptr + ((bits >> 19) - (127 << 4)) * 4
    t = (bits & 0x7FFFF).to(tl.float32) * (1.0 / 524288.0)
    z = tl.load(coefficient_ptr + 3) * t + tl.load(coefficient_ptr + 2)
    z = z * t + tl.load(coefficient_ptr + 1)
    z = z * t + tl.load(coefficient_ptr)
    # The sign goes in as a bit: 0 - z would lose the minus of a zero.
    return (z.to(tl.int32, bitcast=True) ^ (words << 31).to(tl.int32, bitcast=True)).to(tl.float32, bitcast=True)


@triton.jit
def _gaussian_kernel(
    out_ptr,
    streams_ptr,
    table_ptr,
    channels,
    height,
    width,
    row_blocks,
    tiles,
    BLOCKS: tl.constexpr,
):
    # int64 throughout: a large batch of large fields passes 2^31 elements.
    program = tl.program_id(0).to(tl.int64)
    r = program // tiles
    tile = program % tiles

    stream_ptr = streams_ptr + r * 5
    key = tl.load(stream_ptr) | (tl.load(stream_ptr + 1) << 32)
    step = tl.load(stream_ptr + 2).to(tl.int32)
    y_first = tl.load(stream_ptr + 3)
    x_first = tl.load(stream_ptr + 4)

    offs_b = tile * BLOCKS + tl.arange(0, BLOCKS)
    block = (x_first >> 2) + offs_b % row_blocks
    row = offs_b // row_blocks
    y = row % height
    c = row // height

    z = normal_blocks(table_ptr, key, block, y_first + y, c, step, BLOCKS)

    column = (block * 4 - x_first)[:, None] + tl.arange(0, 4)[None, :]
    offs_out = (r * channels * height + row)[:, None] * width + column
    mask = (c < channels)[:, None] & (column >= 0) & (column < width)
    tl.store(out_ptr + offs_out, z, mask=mask)


def gaussian(streams: Tensor, shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """float32[R, C, H, W] on `device`; arguments as in `reference.gaussian`."""
    channels, height, width = shape
    out = torch.empty((len(streams), *shape), dtype=torch.float32, device=device)
    # Enough whole counters to cover `width` columns whatever the alignment of the first one.
    row_blocks = (width + 6) // 4
    tiles = triton.cdiv(channels * height * row_blocks, _BLOCKS)
    # Triton launches on the current device, which need not be the one asked for.
    with torch.cuda.device_of(out):
        _gaussian_kernel[(len(streams) * tiles,)](
            out_ptr=out,
            streams_ptr=streams.to(device),
            table_ptr=coefficients(device),
            channels=channels,
            height=height,
            width=width,
            row_blocks=row_blocks,
            tiles=tiles,
            BLOCKS=_BLOCKS,
            enable_fp_fusion=False,  # pyright: ignore[reportCallIssue]
        )
    return out

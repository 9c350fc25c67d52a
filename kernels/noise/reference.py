"""Normal noise in plain torch: the specification. Runs on every device torch runs on; int64 holds the 32-bit words."""

import torch
from torch import Tensor

from raccord.kernels.noise.table import coefficients

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
# The row of magnitude 1: float32's exponent bias, in sixteenths of an octave.
_FIRST_ROW = 127 << 4


def gaussian(streams: Tensor, shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """float32[R, C, H, W] on `device`.

    Args:
        streams: int64[R, 5] on the CPU: low and high word of the key, step, first y, first x.
        shape: (C, H, W), none of them 0.
    """
    channels, height, width = shape
    key_low, key_high, step, y_first, x_first = (column.view(-1, 1, 1, 1) for column in streams.to(device).unbind(1))
    # Enough whole counters to cover `width` columns whatever the alignment of the first one.
    block = (x_first >> 2) + torch.arange((width + 6) // 4, device=device)
    y = y_first + torch.arange(height, device=device).view(-1, 1)
    c = torch.arange(channels, device=device).view(-1, 1, 1)
    words = philox4x32((block & _WORD, y & _WORD, c, step & _WORD), (key_low, key_high))
    words = torch.stack(torch.broadcast_tensors(*words), dim=-1).flatten(-2)
    column = (x_first & 3) + torch.arange(width, device=device)
    return normal(words.gather(-1, column.expand(-1, channels, height, -1)))


def philox4x32(counter: tuple[Tensor, ...], key: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Philox4x32-10 (Salmon et al., SC 2011, section 3.3): four words, int64 in 0 .. 2^32 - 1, broadcast together."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64, so after the mask both halves are those of the unsigned product.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32 & _WORD) ^ c1 ^ k0, p1 & _WORD, (p0 >> 32 & _WORD) ^ c3 ^ k1, p0 & _WORD
        k0, k1 = k0 + _WEYL[0] & _WORD, k1 + _WEYL[1] & _WORD
    return c0, c1, c2, c3


def normal(words: Tensor) -> Tensor:
    """float32 normal values of int64 words 0 .. 2^32 - 1, by inverse distribution."""
    bits = (words >> 1 | 1).to(torch.float32).view(torch.int32)
    row = (bits >> 19) - _FIRST_ROW
    t = (bits & 0x7FFFF).to(torch.float32) * 2.0**-19
    c0, c1, c2, c3 = coefficients(words.device)[row].unbind(-1)
    magnitude = ((c3 * t + c2) * t + c1) * t + c0
    return torch.where(words & 1 == 1, -magnitude, magnitude)

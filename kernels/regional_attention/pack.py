"""Text keys and values in the layout the CPU kernel reads: made once a story, read at every step."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad as padded

from raccord.kernels import _native

# Rows of scores and of values are padded to a multiple of this: kLanes of csrc/vector.h.
LANES = 16
# Depth of a block of bfloat16: kTileDepth of csrc/bfloat16.h.
DEPTH = 32


class PackedText(NamedTuple):
    """Panels of some spans of a text pool; valid as long as the pool's keys and values are what they were.

    panels: float32 or, paired, bfloat16 [...], for every span its keys and its values (RaccordSpan of csrc/raccord.h).
    spans: int64 [U, 4], (start, length, offset of the keys, offset of the values) of each span.
    """

    panels: Tensor
    spans: Tensor


def panel_elements(length: int, heads: int, head_width: int, *, paired: bool) -> int:
    """Elements that the keys and values of a span of `length` tokens take."""
    wide = head_width + -head_width % LANES
    if paired:
        return heads * (_up(head_width) * (length + -length % LANES) + _up(length) * wide)
    return heads * (head_width * (length + -length % LANES) + length * wide)


def pack(key: Tensor, value: Tensor, segments: Tensor, *, paired: bool | None = None) -> PackedText:
    """The panels of all segments that are present.

    Args:
        key: [T, H, D] on the CPU.
        value: [T, H, D] on the CPU.
        segments: int32 [..., 2], (start, length) into the pool.
        paired: whether to pack in pairs of bfloat16; None = if the tensors are bfloat16 and this CPU multiplies it
            (`_native.BFLOAT16_LEVELS`).

    Raises:
        ValueError: a segment is not inside the pool.
    """
    if paired is None:
        usable = _native.levels()[1] if key.dtype == torch.bfloat16 and not _native.reasons() else []
        paired = any(level in usable for level in _native.BFLOAT16_LEVELS)
    spans = sorted({(start, length) for start, length in segments.reshape(-1, 2).tolist() if length > 0})
    parts, table, offset = [], [], 0
    for start, length in spans:
        end = start + length
        if start < 0 or end > key.shape[0]:
            raise ValueError(
                f"segment (start {start}, length {length}) is not inside the pool of {key.shape[0]} tokens"
            )
        both = (_paired if paired else _single)(key[start:end], value[start:end])
        table.append((start, length, offset, offset + both[0].numel()))
        offset += sum(panel.numel() for panel in both)
        parts += [panel.reshape(-1) for panel in both]
    panels = torch.cat(parts) if parts else key.new_zeros(0, dtype=torch.bfloat16 if paired else torch.float32)
    return PackedText(panels, torch.tensor(table, dtype=torch.int64).reshape(-1, 4))


def _single(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """keys [H, D, tokens padded to 16], values [H, tokens, D padded to 16]."""
    length, _, head_width = key.shape
    keys = padded(key.permute(1, 2, 0).float(), (0, -length % LANES))
    return keys, padded(value.transpose(0, 1).float(), (0, -head_width % LANES))


def _paired(key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """keys [H, tokens / 16, D / 32, 16, 16, 2] and values [H, D / 16, tokens / 32, 16, 16, 2], sizes rounded up."""
    length, heads, head_width = key.shape
    keys = padded(key.bfloat16(), (0, -head_width % DEPTH, 0, 0, 0, -length % LANES))
    keys = keys.view(-1, LANES, heads, _up(head_width) // DEPTH, DEPTH // 2, 2).permute(2, 0, 3, 4, 1, 5)
    values = padded(value.bfloat16(), (0, -head_width % LANES, 0, 0, 0, -length % DEPTH))
    values = values.view(-1, DEPTH // 2, 2, heads, values.shape[2] // LANES, LANES).permute(3, 4, 0, 1, 5, 2)
    return keys, values


def _up(count: int) -> int:
    return count + -count % DEPTH

"""Text keys and values in the layout the CPU kernel reads: made once a story, read at every step."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

# Rows of scores and of values are padded to a multiple of this: kLanes of csrc/vector.h.
LANES = 16


class PackedText(NamedTuple):
    """Panels of some spans of a text pool; valid as long as the pool's keys and values are what they were.

    panels: float32 [...], for every span its keys [H, D, tokens padded to 16] and its values [H, tokens, D padded].
    spans: int64 [U, 4], (start, length, offset of the keys, offset of the values) of each span.
    """

    panels: Tensor
    spans: Tensor


def panel_floats(length: int, heads: int, head_width: int) -> int:
    """Floats that the keys and values of a span of `length` tokens take."""
    return heads * (head_width * (length + -length % LANES) + length * (head_width + -head_width % LANES))


def pack(key: Tensor, value: Tensor, segments: Tensor) -> PackedText:
    """The panels of all segments that are present.

    Args:
        key: [T, H, D] on the CPU.
        value: [T, H, D] on the CPU.
        segments: int32 [..., 2], (start, length) into the pool.

    Raises:
        ValueError: a segment is not inside the pool.
    """
    spans = sorted({(start, length) for start, length in segments.reshape(-1, 2).tolist() if length > 0})
    parts, table, offset = [], [], 0
    for start, length in spans:
        end = start + length
        if start < 0 or end > key.shape[0]:
            raise ValueError(
                f"segment (start {start}, length {length}) is not inside the pool of {key.shape[0]} tokens"
            )
        keys = pad(key[start:end].permute(1, 2, 0).float(), (0, -length % LANES))
        values = pad(value[start:end].transpose(0, 1).float(), (0, -key.shape[2] % LANES))
        table.append((start, length, offset, offset + keys.numel()))
        offset += keys.numel() + values.numel()
        parts += [keys.reshape(-1), values.reshape(-1)]
    panels = torch.cat(parts) if parts else key.new_zeros(0, dtype=torch.float32)
    return PackedText(panels, torch.tensor(table, dtype=torch.int64).reshape(-1, 4))

"""Memories in training: a scene's item sees hidden states of another picture of the same entity.

Much as raccord's entity bank shows a frame (`sampler/bank.py`): there, in self-attention of the up blocks, the cells of
an entity also see the most salient tokens of its casting picture at the same timestep. A denoiser that never met
foreign tokens draws worse with them; one that met them takes from them what its caption leaves open.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Sight(NamedTuple):
    """Who sees a memory: the cells of the item, and the cells of the other picture that show it; bool [B, h, w], and
    bool [B, h', w'].
    """

    item: Tensor
    shown: Tensor


class Memories:
    """Keeps hidden states of one call of a denoiser and shows them to the next.

    Args:
        unet: gets processors in the self-attention of its up blocks.
    """

    def __init__(self, unet: Any):
        self.sight: Sight | None = None
        processors = unet.attn_processors
        for name in processors:
            if name.startswith("up_blocks") and "attn1" in name:
                processors[name] = _Remembering(self, processors[name])
        unet.set_attn_processor(processors)
        self.keep = False

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """What is called in here is kept."""
        self.keep = True
        try:
            yield
        finally:
            self.keep = False

    def bias(self, positions: int, kept: int, like: Tensor) -> Tensor:
        """Bias on a level's scores, [B, positions, positions + kept]: 0 where a position sees, else minus infinity."""
        if self.sight is None:
            raise RuntimeError("memories: nobody has been given sight of them")
        item, shown = (
            functional.adaptive_avg_pool2d(mask[:, None].float(), _level(mask, count)).flatten(1) > 0.5
            for mask, count in zip(self.sight, (positions, kept), strict=True)
        )
        bias = like.new_zeros(len(item), positions, positions + kept)
        bias[:, :, positions:].masked_fill_(~(item[:, :, None] & shown[:, None]), -torch.inf)
        return bias


def _level(mask: Tensor, positions: int) -> tuple[int, int]:
    height, width = mask.shape[1:]
    halvings = 0
    while (height >> halvings) * (width >> halvings) > positions:
        halvings += 1
    return height >> halvings, width >> halvings


class _Remembering:
    """A processor that keeps its input, or adds what was kept to the keys and values of the processor it wraps."""

    def __init__(self, memories: Memories, plain: Any):
        self._memories = memories
        self._plain = plain
        self._kept: Tensor | None = None

    def __call__(self, attn: Any, hidden_states: Tensor, **given: Any) -> Tensor:
        if self._memories.keep:
            self._kept = hidden_states.detach()
        if self._memories.sight is None or self._kept is None:
            return self._plain(attn, hidden_states, **given)
        bias = self._memories.bias(hidden_states.shape[1], self._kept.shape[1], hidden_states)
        seen = torch.cat([hidden_states, self._kept], 1)
        return self._plain(attn, hidden_states, encoder_hidden_states=seen, attention_mask=bias)

"""The text pool: every text of a story is encoded once, and its keys and values per layer are computed once.

K and V of text depend on (layer, text) only, not on step or frame. Each text is projected alone, in one fixed shape,
so that its bits do not depend on which other texts the story holds.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class PooledText(NamedTuple):
    """Keys and values [T, H, D] of some texts one after the other, and (start, length) of each."""

    key: Tensor
    value: Tensor
    spans: tuple[tuple[int, int], ...]


class TextPool:
    """Encodings and per-layer keys and values of texts.

    Args:
        encode: text -> hidden states [L, C] of the text encoder, on the UNet's device and dtype.
    """

    def __init__(self, encode: Callable[[str], Tensor]) -> None:
        self._encode = encode
        self._hidden: dict[str, Tensor] = {}
        self._projected: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        self._weights_state: Hashable = None

    def hidden(self, text: str) -> Tensor:
        """Hidden states [L, C] of a text."""
        if text not in self._hidden:
            self._hidden[text] = self._encode(text)
        return self._hidden[text]

    def gather(self, layer: str, attention: Any, texts: Sequence[str]) -> PooledText:
        """Keys and values of `texts` in one cross-attention layer.

        Args:
            layer: the layer's name in the UNet.
            attention: diffusers' `Attention`; `to_k` and `to_v` are called as modules so that LoRA counts.
            texts: the segments, in order; a text may stand twice.
        """
        pairs = [self._project(layer, attention, text) for text in texts]
        spans, start = [], 0
        for key, _ in pairs:
            spans.append((start, key.shape[0]))
            start += key.shape[0]
        return PooledText(torch.cat([k for k, _ in pairs]), torch.cat([v for _, v in pairs]), tuple(spans))

    def refresh(self, weights_state: Hashable) -> None:
        """Drop all keys and values when the projections' weights or adapters are no longer what they were."""
        if weights_state != self._weights_state:
            self._projected.clear()
            self._weights_state = weights_state

    @property
    def nbytes(self) -> int:
        """Bytes held by keys and values."""
        return sum(x.nbytes for pair in self._projected.values() for x in pair)

    def _project(self, layer: str, attention: Any, text: str) -> tuple[Tensor, Tensor]:
        if torch.is_grad_enabled():
            # guidance differentiates with respect to the sample only; the text side stays a constant
            with torch.no_grad():
                return self._project(layer, attention, text)
        if (layer, text) not in self._projected:
            hidden = self.hidden(text)[None]
            if attention.norm_cross:
                hidden = attention.norm_encoder_hidden_states(hidden)
            key, value = attention.to_k(hidden)[0], attention.to_v(hidden)[0]
            heads = attention.heads
            self._projected[layer, text] = (
                key.view(key.shape[0], heads, -1),
                value.view(value.shape[0], heads, -1),
            )
        return self._projected[layer, text]


def projection_state(attentions: Sequence[Any]) -> Hashable:
    """What the keys and values of these layers depend on: weights (by identity and version) and adapters' settings."""
    state: list[Hashable] = []
    for attention in attentions:
        for projection in (attention.to_k, attention.to_v):
            state.extend((id(p), p._version) for p in projection.parameters())
            if hasattr(projection, "active_adapters"):
                state.append(
                    (
                        tuple(projection.active_adapters),
                        tuple(sorted(projection.scaling.items())),
                        projection.disable_adapters,
                        tuple(projection.merged_adapters),
                    )
                )
    return tuple(state)

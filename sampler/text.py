"""The text pool: every text is encoded once, and its keys and values per layer are computed once, while it is in use.

K and V of text depend on (layer, text) only, not on step or frame. Each text is projected alone, in one fixed shape,
so that its bits do not depend on which other texts the story holds.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from raccord.kernels.regional_attention import PackedText, pack


class PooledText(NamedTuple):
    """Keys and values [T, H, D] of some texts one after the other, (start, length) of each, and both packed.

    packed: None on devices other than the CPU, whose backend alone reads it.
    """

    key: Tensor
    value: Tensor
    spans: tuple[tuple[int, int], ...]
    packed: PackedText | None


class TextPool:
    """Encodings and per-layer keys and values of texts.

    Args:
        encode: text -> hidden states [L, C] of the text encoder, on the UNet's device and dtype.
    """

    def __init__(self, encode: Callable[[str], Tensor]) -> None:
        self._encode = encode
        self._hidden: dict[str, Tensor] = {}
        self._projected: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        # the latest of each layer: a frame asks for the same texts at every step
        self._gathered: dict[str, tuple[tuple[str, ...], PooledText]] = {}
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
        held, pooled = self._gathered.get(layer, (None, None))
        if pooled is None or held != tuple(texts):
            with torch.no_grad():
                pooled = self._gather(layer, attention, texts)
            self._gathered[layer] = tuple(texts), pooled
        return pooled

    def retain(self, texts: Iterable[str]) -> None:
        """Drop everything about other texts: a story of any length then needs the memory of one frame."""
        wanted = set(texts)
        self._hidden = {text: hidden for text, hidden in self._hidden.items() if text in wanted}
        self._projected = {key: pair for key, pair in self._projected.items() if key[1] in wanted}
        self._gathered = {layer: held for layer, held in self._gathered.items() if wanted.issuperset(held[0])}

    def refresh(self, weights_state: Hashable) -> None:
        """Drop all keys and values when the projections' weights or adapters are no longer what they were."""
        if weights_state != self._weights_state:
            self._projected.clear()
            self._gathered.clear()
            self._weights_state = weights_state

    @property
    def nbytes(self) -> int:
        """Bytes held by keys and values, packed ones included."""
        held = [x for pair in self._projected.values() for x in pair]
        for _, pooled in self._gathered.values():
            held += [pooled.key, pooled.value, *(pooled.packed or ())]
        return sum(x.nbytes for x in held)

    def _gather(self, layer: str, attention: Any, texts: Sequence[str]) -> PooledText:
        pairs = [self._project(layer, attention, text) for text in texts]
        spans, start = [], 0
        for key, _ in pairs:
            spans.append((start, key.shape[0]))
            start += key.shape[0]
        key, value = torch.cat([k for k, _ in pairs]), torch.cat([v for _, v in pairs])
        packed = pack(key, value, torch.tensor(spans, dtype=torch.int32)) if key.device.type == "cpu" else None
        return PooledText(key, value, tuple(spans), packed)

    def _project(self, layer: str, attention: Any, text: str) -> tuple[Tensor, Tensor]:
        # without gradients: guidance differentiates with respect to the sample only, and the text side is a constant
        if (layer, text) not in self._projected:
            hidden = self.hidden(text)[None]
            if attention.norm_cross:
                hidden = attention.norm_encoder_hidden_states(hidden)
            key, value = attention.to_k(hidden)[0], attention.to_v(hidden)[0]
            heads = attention.heads
            key = key.view(key.shape[0], heads, -1)
            self._projected[layer, text] = (
                key if attention.norm_k is None else attention.norm_k(key),
                value.view(value.shape[0], heads, -1),
            )
        return self._projected[layer, text]


def projection_state(attentions: Sequence[Any]) -> Hashable:
    """What the keys and values of these layers depend on: weights (by identity and version) and adapters' settings."""
    state: list[Hashable] = []
    for attention in attentions:
        if attention.norm_k is not None:
            state.extend((id(p), p._version) for p in attention.norm_k.parameters())
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

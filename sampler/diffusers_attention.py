"""Attention processors for diffusers' UNet2DConditionModel, and the controller that feeds them.

Processors hold no state of their own: a `Controller` per UNet knows which frame each row of the batch belongs to and
keeps maps, text pool and memories. It is installed with `set_attn_processor` and leaves what was there behind when it
is removed. Rows that belong to no frame go through the processors found at installation, unchanged.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0
from torch import Tensor

from raccord.kernels.entity_attention import entity_attention
from raccord.kernels.regional_attention import regional_attention
from raccord.sampler import diffusers_compile
from raccord.sampler.bank import EntityMemory
from raccord.sampler.conditioning import FrameConditioning
from raccord.sampler.presence import AttentionRecord
from raccord.sampler.text import TextPool, projection_state

# Pairs that interact see each other after this share of the steps.
_INTERACTION_START = 0.4
# Memory is read in the up blocks only, where looks are decided and layout no longer is.
_MEMORY_BLOCKS = "up_blocks"


@dataclass(frozen=True)
class Row:
    """What one row of the UNet's batch draws.

    conditioning: the frame's texts and maps.
    conditional: True for the conditional branch of guidance, False for the unconditional one.
    memories: entity id -> memory the entity may see; empty in the unconditional branch.
    """

    conditioning: FrameConditioning
    conditional: bool
    memories: Mapping[str, EntityMemory]


@dataclass
class Capture:
    """Asks for hidden states of some positions of row `row` in the memory layers; filled during a UNet call."""

    row: int
    cells: Mapping[int, Tensor]
    tokens: dict[str, Tensor]


class Controller:
    """Binds rows of a UNet's batch to frames and serves its attention processors.

    Args:
        unet: diffusers' `UNet2DConditionModel`.
        pool: the story's text pool.
        bank_weight: factor on the memory keys (bias log bank_weight), >= 0.
        backend: kernel backend to force, None = the first that can serve a call.
    """

    def __init__(self, unet: Any, pool: TextPool, *, bank_weight: float = 1.0, backend: str | None = None) -> None:
        # torch.compile wraps a module; hooks, names and processors are those of the module inside
        self.unet = getattr(unet, "_orig_mod", unet)
        self.pool = pool
        self.bank_weight = bank_weight
        self.backend = backend
        self.rows: Sequence[Row | None] | None = None
        self.match: Callable[[Tensor], Sequence[Row | None]] | None = None
        self.record: AttentionRecord | None = None
        self.record_row = 0
        self.capture: Capture | None = None
        self.timestep = 0
        self.progress = 0.0
        self._sample_size = (1, 1)
        self._attentions = [(name, m) for name, m in self.unet.named_modules() if hasattr(m, "set_processor")]
        self._number = -1
        self._found: dict[str, Any] | None = None
        self._hook: Any = None

    def __enter__(self) -> Controller:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def install(self) -> None:
        """Install the processors, wrapping whatever is there; a second call wraps what replaced ours since."""
        found = self.unet.attn_processors
        ours: dict[str, Any] = {}
        for name, processor in found.items():
            if getattr(processor, "controller", None) is not None and processor.controller is not self:
                raise ValueError(
                    "this UNet already has a raccord controller; remove() it (or leave its `with` block) before "
                    "installing another"
                )
            if getattr(processor, "controller", None) is self:
                ours[name] = processor
                continue
            layer = name.removesuffix(".processor")
            kind = RegionalAttnProcessor if layer.endswith("attn2") else EntityAttnProcessor
            ours[name] = kind().attach(self, layer, processor, self.unet.get_submodule(layer))
        self._number = diffusers_compile.serve(self.unet, self)
        self._found = {name: processor.original for name, processor in ours.items()}
        self.unet.set_attn_processor(ours)
        if self._hook is None:
            self._hook = self.unet.register_forward_pre_hook(self._before_forward, with_kwargs=True)

    def remove(self) -> None:
        """Put back the processors that were found; does nothing when not installed."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
        if self._found is not None:
            self.unet.set_attn_processor(dict(self._found))
            self._found = None

    def grid(self, positions: int) -> tuple[int, int]:
        """(height, width) of the attention grid with that many positions."""
        height, width = self._sample_size
        while height * width > positions and height * width > 1:
            height, width = (height + 1) // 2, (width + 1) // 2
        if height * width != positions:
            raise ValueError(
                f"no level of a {self._sample_size[0]} x {self._sample_size[1]} latent has {positions} positions; "
                "raccord supports UNets that halve height and width from level to level"
            )
        return height, width

    def memory_layers(self) -> dict[str, int]:
        """Name -> width C of the self-attention layers that read memories."""
        return {
            name: module.query_dim
            for name, module in self._attentions
            if name.startswith(_MEMORY_BLOCKS) and not name.endswith("attn2")
        }

    def bound(self) -> list[int]:
        """Indices of the batch rows that belong to a frame with items; all others are stock attention's."""
        return [index for index, row in enumerate(self.rows or ()) if row is not None and row.conditioning.entities]

    def rows_of(self, indices: Sequence[int]) -> list[Row]:
        """The rows with these indices, all of them bound."""
        return [row for index in indices if self.rows is not None and (row := self.rows[index]) is not None]

    def _before_forward(self, unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = ("sample", "timestep", "encoder_hidden_states")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if torch.compiler.is_compiling():
            sample, timestep, text = (given[name] for name in names)
            sample = diffusers_compile.begin_call(sample, timestep, text, self._number)
            return ((sample, *args[1:]), kwargs) if args else (args, {**kwargs, "sample": sample})
        if any(getattr(module.processor, "controller", None) is not self for _, module in self._attentions):
            self.install()
        self.before_forward(*(given[name] for name in names))
        return None

    def before_forward(self, sample: Tensor, timestep: Any, text: Any) -> None:
        """Take note of a UNet call that begins: its sample [B, C, height, width], timestep and text [B, L, C]."""
        if any(getattr(module.processor, "controller", None) is not self for _, module in self._attentions):
            raise RuntimeError(
                "attention processors were replaced on a compiled UNet that follows a plan; call install() of the "
                "controller again"
            )
        self._sample_size = tuple(sample.shape[-2:])
        self.timestep = int(timestep.flatten()[0] if torch.is_tensor(timestep) else timestep)
        steps = getattr(self.unet.config, "num_train_timesteps", None) or 1000
        self.progress = 1.0 - (self.timestep + 1) / steps
        if self.match is not None:
            self.rows = self.match(text)
        if self.rows is not None and len(self.rows) != sample.shape[0]:
            raise ValueError(
                f"{len(self.rows)} rows are bound to frames but the UNet was called with a batch of {sample.shape[0]}"
            )
        self.pool.refresh(projection_state([module for name, module in self._attentions if name.endswith("attn2")]))


class _Processor:
    """What both processors share: attachment, and the parts of diffusers' `Attention` around the attention itself."""

    def __init__(self) -> None:
        self.controller: Controller | None = None
        self.layer = ""
        self.original: Any = AttnProcessor2_0()
        self._attention: Any = None
        self._number = -1

    def attach(self, controller: Controller, layer: str, original: Any, attention: Any) -> _Processor:
        self.controller, self.layer, self.original = controller, layer, original
        # the attention owns its processor: a strong reference back would be a cycle
        self._attention = weakref.ref(attention)
        self._number = diffusers_compile.serve(attention, self)
        return self

    def attend(self, hidden_states: Tensor, text: Any, mask: Tensor | None, temb: Tensor | None) -> Tensor:
        """The processor's call on the attention it is attached to, which a compiled graph cannot hold."""
        call: Any = self
        return call(self._attention(), hidden_states, text, mask, temb)

    def _stock(self, attn: Any, hidden_states: Tensor, text: Any, mask: Any, **extra: Any) -> Tensor:
        # not every processor knows every extra argument, and diffusers passes only those that are there
        given = {name: value for name, value in extra.items() if value is not None}
        return self.original(attn, hidden_states, encoder_hidden_states=text, attention_mask=mask, **given)

    def _around(self, attn: Any, hidden_states: Tensor, temb: Any, core: Callable[[Tensor], Tensor]) -> Tensor:
        """norms -> core(hidden [B, N, C] -> [B, N, inner]) -> output projection, residual, rescale."""
        residual = hidden_states
        if attn.spatial_norm is not None:
            hidden_states = attn.spatial_norm(hidden_states, temb)
        shape = hidden_states.shape
        if len(shape) == 4:
            hidden_states = hidden_states.flatten(2).transpose(1, 2)
        if attn.group_norm is not None:
            hidden_states = attn.group_norm(hidden_states.transpose(1, 2)).transpose(1, 2)
        hidden_states = attn.to_out[1](attn.to_out[0](core(hidden_states).to(hidden_states.dtype)))
        if len(shape) == 4:
            hidden_states = hidden_states.transpose(-1, -2).reshape(shape)
        if attn.residual_connection:
            hidden_states = hidden_states + residual
        return hidden_states / attn.rescale_output_factor

    @staticmethod
    def _heads(attn: Any, projected: Tensor, norm: Any = None) -> Tensor:
        split = projected.unflatten(-1, (attn.heads, -1))
        return split if norm is None else norm(split)

    @staticmethod
    def _scale(width: int) -> float:
        # AttnProcessor2_0 leaves the scale to SDPA, which uses 1 / sqrt(D)
        return width**-0.5


class RegionalAttnProcessor(_Processor):
    """Cross-attention (attn2) in which every position listens to the prompts of its own region."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Any = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        ip_adapter_masks: Any = None,
    ) -> Tensor:
        if torch.compiler.is_compiling() and ip_adapter_masks is None:
            return diffusers_compile.attend(hidden_states, encoder_hidden_states, attention_mask, temb, self._number)
        control = self.controller
        bound = control.bound() if control is not None else []
        if control is None or not bound:
            return self._stock(
                attn, hidden_states, encoder_hidden_states, attention_mask, temb=temb, ip_adapter_masks=ip_adapter_masks
            )
        if attention_mask is not None:
            raise ValueError("rows bound to a plan take no encoder_attention_mask: their texts come from the plan")
        rows = control.rows_of(bound)
        regional = self._around(
            attn, hidden_states[bound], temb, lambda hidden: self._core(attn, hidden, control, rows, bound)
        )
        plain = isinstance(self.original, (AttnProcessor, AttnProcessor2_0))
        if len(bound) == hidden_states.shape[0] and plain:
            return regional
        stock = self._stock(
            attn, hidden_states, encoder_hidden_states, None, temb=temb, ip_adapter_masks=ip_adapter_masks
        ).clone()
        if not plain:
            # what an IP-Adapter or another foreign processor adds to plain attention is added to ours
            text = encoder_hidden_states[0] if isinstance(encoder_hidden_states, tuple) else encoder_hidden_states
            regional = regional + (stock - AttnProcessor2_0()(attn, hidden_states, text, None, temb))[bound]
        stock[bound] = regional
        return stock

    def _core(
        self, attn: Any, hidden: Tensor, control: Controller, rows: Sequence[Row], bound: Sequence[int]
    ) -> Tensor:
        height, width = control.grid(hidden.shape[1])
        query = self._heads(attn, attn.to_q(hidden), attn.norm_q)
        texts = [row.conditioning.texts if row.conditional else row.conditioning.negatives for row in rows]
        unique = list(dict.fromkeys(text for row_texts in texts for text in row_texts))
        pooled = control.pool.gather(self.layer, attn, unique)
        spans = dict(zip(unique, pooled.spans, strict=True))
        most = max(len(row_texts) for row_texts in texts)
        segments = torch.zeros((len(rows), most, 2), dtype=torch.int32)
        weight = torch.zeros((len(rows), most, height * width))
        for index, (row, row_texts) in enumerate(zip(rows, texts, strict=True)):
            segments[index, : len(row_texts)] = torch.tensor([spans[text] for text in row_texts], dtype=torch.int32)
            weight[index, : len(row_texts)] = row.conditioning.weights(row.conditional, height, width)
        operands = (
            query,
            pooled.key.to(query),
            pooled.value.to(query),
            segments.to(query.device),
            weight.to(query.device),
        )
        scale = self._scale(query.shape[-1])
        # what is packed is what the pool holds, before any change of dtype
        packed = pooled.packed if pooled.key.dtype == query.dtype else None
        grid: dict[str, Any] = {"height": height, "width": width, "scale": scale, "packed": packed}
        grid["backend"] = control.backend
        record = control.record
        if record is None or control.record_row not in bound:
            return regional_attention(*operands, **grid).flatten(2)
        output, lse = regional_attention(*operands, **grid, return_lse=True)
        index = bound.index(control.record_row)
        record.add((height, width), lse[index, : len(texts[index])])
        return output.flatten(2)


class EntityAttnProcessor(_Processor):
    """Self-attention (attn1) in which entities do not mix and each sees its own memory."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        if torch.compiler.is_compiling():
            return diffusers_compile.attend(hidden_states, encoder_hidden_states, attention_mask, temb, self._number)
        control = self.controller
        bound = control.bound() if control is not None else []
        if control is None or not bound or encoder_hidden_states is not None or attention_mask is not None:
            return self._stock(attn, hidden_states, encoder_hidden_states, attention_mask, temb=temb)
        rows = control.rows_of(bound)
        if self._remembers() and control.capture is not None:
            chosen = control.capture.cells[hidden_states.shape[1]].to(hidden_states.device)
            control.capture.tokens[self.layer] = hidden_states[control.capture.row, chosen].detach().clone()
        shared = self._around(attn, hidden_states[bound], temb, lambda hidden: self._core(attn, hidden, control, rows))
        if len(bound) == hidden_states.shape[0]:
            return shared
        stock = self._stock(attn, hidden_states, None, None, temb=temb).clone()
        stock[bound] = shared
        return stock

    def _remembers(self) -> bool:
        return self.layer.startswith(_MEMORY_BLOCKS)

    def _core(self, attn: Any, hidden: Tensor, control: Controller, rows: Sequence[Row]) -> Tensor:
        height, width = control.grid(hidden.shape[1])
        query = self._heads(attn, attn.to_q(hidden), attn.norm_q)
        key = self._heads(attn, attn.to_k(hidden), attn.norm_k)
        value = self._heads(attn, attn.to_v(hidden))
        kinds = 1 + max(len(row.conditioning.entities) for row in rows)
        owner = torch.stack([torch.from_numpy(row.conditioning.maps(height, width).owner) for row in rows])
        segments = torch.zeros((len(rows), kinds - 1, 2), dtype=torch.int32)
        bank_keys, bank_values, start = [key.new_zeros((0, *key.shape[2:]))], [key.new_zeros((0, *key.shape[2:]))], 0
        for index, row in enumerate(rows):
            for number, entity in enumerate(row.conditioning.entities):
                memory = row.memories.get(entity)
                tokens = memory.tokens.get((self.layer, control.timestep)) if memory is not None else None
                if tokens is None:
                    continue
                tokens = tokens.to(hidden)[None]
                bank_keys.append(self._heads(attn, attn.to_k(tokens), attn.norm_k)[0])
                bank_values.append(self._heads(attn, attn.to_v(tokens))[0])
                segments[index, number] = torch.tensor([start, tokens.shape[1]], dtype=torch.int32)
                start += tokens.shape[1]
        output = entity_attention(
            query,
            key,
            value,
            owner.to(query.device),
            torch.stack([_visible(row, kinds, control.progress) for row in rows]).to(query.device),
            bank_key=torch.cat(bank_keys),
            bank_value=torch.cat(bank_values),
            bank_segments=segments.to(query.device),
            bank_weight=control.bank_weight,
            height=height,
            width=width,
            scale=self._scale(query.shape[-1]),
            backend=control.backend,
        )
        return output.flatten(2)


def _visible(row: Row, kinds: int, progress: float) -> Tensor:
    """bool [kinds, kinds]: an entity sees itself and the background, the background sees all; pairs open later."""
    visible = torch.eye(kinds, dtype=torch.bool)
    visible[0, :] = visible[:, 0] = True
    if progress >= _INTERACTION_START:
        for first, second in row.conditioning.interacts:
            visible[first, second] = visible[second, first] = True
    return visible

"""Casting: each entity alone, once a story. Its noise field is chosen and its memory filled, kept and taken back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from raccord.sampler.bank import EntityMemory
from raccord.sampler.calibration import Calibration
from raccord.sampler.conditioning import FrameConditioning, frame_conditioning
from raccord.sampler.plan import Entity, Frame, Item
from raccord.sampler.presence import AttentionRecord, presence, salient_cells
from raccord.sampler.trajectory import Denoiser, Progress, Run

# Goes up whenever the same entity on the same model gets another memory than before.
CASTING_VERSION = 1

# The entity stands in the middle of its casting picture.
_CASTING_BOX = (0.25, 0.25, 0.75, 0.75)
# A value longer than this stands in `made_from` as a hash.
_LONGEST_VALUE = 64


def made_from(entity: Entity, common: Mapping[str, Any]) -> dict[str, str]:
    """Everything an entity's memory depends on, name -> value as JSON, long values as `sha256:` and 16 hex digits.

    Args:
        entity: the entity; its name is not among it.
        common: what all pictures of the story depend on: seed, size, style, settings, weights, versions, machine.
    """
    parts = {
        "casting_version": CASTING_VERSION,
        "entity": entity.id,
        "card": entity.card,
        "negative": entity.negative,
        **common,
    }
    return {name: _short(value) for name, value in parts.items()}


def cast_entity(
    denoiser: Denoiser,
    entity: Entity,
    settings: Calibration,
    *,
    origin: Mapping[str, str],
    progress: Progress | None,
) -> EntityMemory:
    """Choose an entity's noise among keyed candidates and, where the model's bank has a weight, fill its memory.

    Args:
        denoiser: the story's denoiser, its controller installed.
        entity: one entity of its plan.
        settings: constants of the model.
        origin: `made_from` of the entity, kept with the memory.
        progress: called with (steps done, steps in all, what).
    """
    conditioning = _conditioning(denoiser, entity, settings)
    check = min(settings.casting_steps, denoiser.steps)
    keep = settings.bank_weight > 0
    total = settings.casting_candidates * check + (denoiser.steps if keep else 0)
    what = f"casting {entity.name}"
    found: list[float] = []
    records: list[AttentionRecord] = []
    for key in range(settings.casting_candidates):
        run = Run(conditioning, {}, {entity.id: key}, {}, what, key * check, total, progress)
        _, record = denoiser.run(run, denoiser.noise(run), 0, check, record=True)
        found.append(float(presence(record, conditioning)[0]))
        records.append(record)
    best = max(range(len(found)), key=lambda key: (found[key], -key))
    tokens: dict[tuple[str, int], Tensor] = {}
    if keep:
        cells = salient_cells(records[best], conditioning, 1, settings.memory_budget)
        run = Run(conditioning, {}, {entity.id: best}, {}, what, len(found) * check, total, progress)
        denoiser.run(run, denoiser.noise(run), 0, denoiser.steps, cells=cells, tokens=tokens)
    return EntityMemory(entity.id, best, found[best], tuple(found), tokens, dict(origin))


def check_memory(memory: EntityMemory, denoiser: Denoiser, settings: Calibration, *, origin: Mapping[str, str]) -> None:
    """Raise ValueError when `memory` cannot be what `cast_entity` would give for `origin`.

    A file may come from anywhere: what is used as an index or a shape is checked, whatever the file says it is.
    """
    changed = sorted(name for name in {*origin, *memory.made_from} if origin.get(name) != memory.made_from.get(name))
    if changed:
        raise ValueError(f"the memory of {memory.entity!r} was cast with another {', '.join(changed)}")
    candidates = settings.casting_candidates
    if len(memory.candidates) != candidates or not 0 <= memory.noise_key < candidates:
        raise ValueError(
            f"the memory of {memory.entity!r} names noise field {memory.noise_key} of {len(memory.candidates)}; "
            f"the model tries {candidates}"
        )
    widths = denoiser.controller.memory_layers() if settings.bank_weight > 0 else {}
    steps = denoiser.scheduler.timesteps.tolist()[1:]
    wanted = {(layer, step) for layer in widths for step in steps}
    if memory.tokens.keys() != wanted:
        raise ValueError(
            f"the memory of {memory.entity!r} holds {len(memory.tokens)} pairs of layer and step, the model has "
            f"{len(wanted)}" + ("" if len(memory.tokens) != len(wanted) else ", others")
        )
    positions = denoiser.shape[1] * denoiser.shape[2]
    for (layer, step), tokens in memory.tokens.items():
        fits = tokens.ndim == 2 and 0 < tokens.shape[0] <= positions and tokens.shape[1] == widths[layer]
        if not fits or tokens.dtype != denoiser.model.dtype or not torch.isfinite(tokens).all():
            raise ValueError(
                f"the memory of {memory.entity!r} in {layer} at timestep {step} must be finite {denoiser.model.dtype} "
                f"[1..{positions}, {widths[layer]}], got {tokens.dtype} {list(tokens.shape)}"
            )


def _conditioning(denoiser: Denoiser, entity: Entity, settings: Calibration) -> FrameConditioning:
    frame = Frame(
        id="casting",
        prompt=entity.card,
        background=settings.casting_background,
        items=(Item(entity=entity.id, box=_CASTING_BOX),),
    )
    return frame_conditioning(denoiser.plan, frame, latent_width=denoiser.shape[2], beta=settings.beta)


def _short(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"sha256:{hashlib.sha256(text.encode()).hexdigest()[:16]}"

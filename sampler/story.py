"""The story loop: casting once per entity, then each frame by itself.

A frame is one trajectory in one canonical batch (unconditional row, conditional row). Frames meet only in the frozen
results of casting, so a frame comes out the same alone, in any order, and when other frames are added later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from raccord.kernels.noise import NOISE_VERSION
from raccord.sampler.bank import EntityMemory, memory_from_bytes, memory_to_bytes
from raccord.sampler.calibration import Calibration
from raccord.sampler.casting import CASTING_VERSION, cast_entity, check_memory, made_from
from raccord.sampler.conditioning import FrameConditioning, frame_conditioning
from raccord.sampler.diffusers_pipeline import Model
from raccord.sampler.plan import Frame, Plan
from raccord.sampler.presence import presence
from raccord.sampler.trajectory import Denoiser, Progress, Run


class DrawnFrame(NamedTuple):
    """One drawn frame: id in the plan, picture, SHA-256 of its uint8 pixels [H, W, 3], and a JSON-able report."""

    id: str
    image: Image.Image
    pixels_sha256: str
    report: dict[str, Any]


class Story:
    """Draws the frames of one plan with one pipeline.

    Args:
        pipe: a loaded diffusers pipeline (Stable Diffusion 1.x, 2.x, XL).
        plan: the plan.
        steps: denoising steps, >= 1.
        guidance: classifier-free guidance scale; None = the model's calibrated one.
        eta: DDIM's eta in 0..1, above 0 with keyed step noise; None = the model's calibrated one.
        backend: kernel backend to force.
        calibration: constants of the model; None = those stored with it.
        masks: (frame id, entity id) -> free-form mask of the whole frame, floating [H, W] in 0..1 of any size; it
            stands in for the item's box in all maps, while the noise is still laid by the box.

    Raises:
        ValueError: steps below 1, a size the model cannot draw, or a mask for an item the plan does not have.
    """

    def __init__(
        self,
        pipe: Any,
        plan: Plan,
        *,
        steps: int = 25,
        guidance: float | None = None,
        eta: float | None = None,
        backend: str | None = None,
        calibration: Calibration | None = None,
        masks: Mapping[tuple[str, str], np.ndarray] | None = None,
    ) -> None:
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        self.masks = checked_masks(plan, masks or {})
        self.plan = plan
        self.model = Model(pipe)
        self.calibration = calibration or self.model.calibration()
        self.steps = steps
        self.guidance = self.calibration.guidance if guidance is None else guidance
        self.eta = self.calibration.eta if eta is None else eta
        self.memories: dict[str, EntityMemory] = {}
        self._frames = {frame.id: frame for frame in plan.frames}
        self._entities = {entity.id: entity for entity in plan.entities}
        self._denoiser = Denoiser(
            self.model,
            plan,
            steps=steps,
            guidance=self.guidance,
            guidance_rescale=self.calibration.guidance_rescale,
            eta=self.eta,
            bank_weight=self.calibration.bank_weight,
            backend=backend,
        )

    @property
    def unet_calls(self) -> int:
        """UNet calls made so far, each of one frame's two branches."""
        return self._denoiser.unet_calls

    def frame_key(self, frame_id: str) -> str:
        """SHA-256 of all that a frame's pixels depend on: its own part of the plan, settings, weights, versions."""
        frame = self._frames[frame_id]
        here = {item.entity for item in frame.items}
        parts = {
            "frame": frame.model_dump(mode="json"),
            "entities": [e.model_dump(mode="json") for e in self.plan.entities if e.id in here],
            "masks": {
                entity: [list(mask.shape), hashlib.sha256(mask.tobytes()).hexdigest()]
                for (name, entity), mask in self.masks.items()
                if name == frame_id
            },
            "casting_version": CASTING_VERSION,
            **self._common(),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def made_from(self, entity_id: str) -> dict[str, str]:
        """Everything an entity's memory depends on, name -> value: two equal ones mean one memory, bit for bit.

        Raises:
            KeyError: the plan has no such entity.
        """
        return made_from(self._entities[entity_id], self._common())

    def cast(
        self,
        entity_ids: Iterable[str] | None = None,
        *,
        progress: Progress | None = None,
        keep: Callable[[str], None] | None = None,
    ) -> None:
        """Cast entities that have not been cast yet: choose each one's noise and fill its memory.

        Args:
            entity_ids: which entities; None = all that stand in some frame.
            progress: called with (steps done, steps in all, what).
            keep: called with an entity's id as soon as its memory is there.
        """
        standing = {item.entity for frame in self.plan.frames for item in frame.items}
        wanted = standing if entity_ids is None else set(entity_ids)
        missing = [entity for entity in self.plan.entities if entity.id in wanted and entity.id not in self.memories]
        with self._denoiser.controller, torch.no_grad():
            for entity in missing:
                origin = self.made_from(entity.id)
                self.memories[entity.id] = cast_entity(
                    self._denoiser, entity, self.calibration, origin=origin, progress=progress
                )
                if keep is not None:
                    keep(entity.id)

    def memory_bytes(self, entity_id: str) -> bytes:
        """The memory of a cast entity as the bytes of a safetensors file, for `remember` in a later run.

        Raises:
            KeyError: the entity has not been cast.
        """
        return memory_to_bytes(self.memories[entity_id])

    def remember(self, data: bytes) -> str:
        """Take back what `memory_bytes` gave, so that the entity is not cast again; returns the entity's id.

        Raises:
            ValueError: the bytes are not a memory, or it was cast for another entity, model or setting; says which.
        """
        memory = memory_from_bytes(data)
        if memory.entity not in self._entities:
            raise ValueError(f"the memory is that of {memory.entity[:80]!r}, whom the plan does not have")
        check_memory(memory, self._denoiser, self.calibration, origin=self.made_from(memory.entity))
        self.memories[memory.entity] = memory
        return memory.entity

    @torch.no_grad()
    def frame(self, frame_id: str, *, progress: Progress | None = None) -> DrawnFrame:
        """Draw one frame; casts its entities first where that has not been done.

        Raises:
            KeyError: the plan has no such frame.
            FloatingPointError: the model produced NaN or infinity; the message says at which step.
        """
        frame = self._frames[frame_id]
        entities = [item.entity for item in frame.items]
        self.cast(entities, progress=progress)
        calls = self.unet_calls
        conditioning = self._conditioning(frame, {entity: m for (f, entity), m in self.masks.items() if f == frame_id})
        self._denoiser.pool.retain((*conditioning.texts, *conditioning.negatives))
        with self._denoiser.controller:
            latent, report = self._draw(frame, conditioning, progress)
        pixels = self.model.decode(latent)
        report["unet_calls"] = self.unet_calls - calls
        report["warnings"] = self._warnings(conditioning)
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        return DrawnFrame(frame_id, Image.fromarray(pixels), digest, report)

    def _common(self) -> dict[str, Any]:
        """What every picture of the story depends on, besides its own part of the plan."""
        return {
            "seed": self.plan.seed,
            "size": list(self.plan.size),
            "style": self.plan.style,
            "steps": self.steps,
            "guidance": self.guidance,
            "eta": self.eta,
            "backend": self._denoiser.controller.backend,
            "scheduler": [type(self._denoiser.scheduler).__name__, self._denoiser.scheduler.to_json_string()],
            "calibration": asdict(self.calibration),
            "weights": self.model.weights_hash(),
            "versions": {"noise": NOISE_VERSION, **self.model.versions()},
            "machine": [str(self.model.device), str(self.model.dtype), torch.get_num_threads()],
        }

    def _conditioning(self, frame: Frame, masks: Mapping[str, np.ndarray] | None = None) -> FrameConditioning:
        width, beta = self._denoiser.shape[2], self.calibration.beta
        return frame_conditioning(self.plan, frame, latent_width=width, beta=beta, masks=masks)

    def _warnings(self, conditioning: FrameConditioning) -> list[str]:
        """What a person should know about the frame: items too small or hidden, texts the model cannot hear whole."""
        coarsest = 2 ** (len(self.model.unet.config.block_out_channels) - 1)
        _, height, width = self._denoiser.shape
        maps = conditioning.maps(-(-height // coarsest), -(-width // coarsest))
        names = conditioning.entities
        found = [f"{names[i]}: no cell is left for it behind the others; move it or raise its z" for i in maps.hidden]
        found += [
            f"{names[i]}: too small for the coarsest attention, {maps.width} x {maps.height} cells; enlarge its box"
            for i in maps.starved
            if i not in maps.hidden
        ]
        for text in dict.fromkeys((*conditioning.texts, *conditioning.negatives)):
            tokens, most = self.model.token_count(text)
            if tokens > most:
                found.append(f"the text encoder hears {most} of the {tokens} tokens of {text[:60]!r}; shorten it")
        return found

    def _draw(
        self, frame: Frame, conditioning: FrameConditioning, progress: Progress | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Denoise a frame with presence check and bounded keyed repair."""
        settings, denoiser = self.calibration, self._denoiser
        check = max(1, min(round(settings.check_share * self.steps), self.steps))
        attempts: list[dict[str, Any]] = []
        names = conditioning.entities
        keys = {entity: self.memories[entity].noise_key for entity in names}

        def attempt(tries: Mapping[str, int], how: str, rescue: frozenset[int] = frozenset()) -> _Attempt:
            run = Run(conditioning, self.memories, keys, tries, f"frame {frame.id}", 0, self.steps, progress)
            sample, record = denoiser.run(
                run,
                denoiser.noise(run),
                0,
                check,
                record=bool(names),
                bootstrap=rescue if how == "bootstrap" else frozenset(),
                guide=rescue if how == "guide" else frozenset(),
            )
            found = [float(value) for value in presence(record, conditioning)] if names else []
            attempts.append({"how": how, "tries": dict(tries), "presence": dict(zip(names, found, strict=True))})
            return _Attempt(run, sample, found)

        best = attempt({}, "cast noise")
        threshold = settings.presence_threshold
        if threshold is not None:
            for number in range(1, settings.repair_tries + 1):
                failing = best.failing(threshold)
                if not failing:
                    break
                best = best.better(attempt({**best.run.tries, **{names[i - 1]: number for i in failing}}, "new noise"))
            for how in ("bootstrap", "guide"):
                if best.failing(threshold):
                    best = best.better(attempt(best.run.tries, how, best.failing(threshold)))
        sample, _ = denoiser.run(best.run, best.sample, check, self.steps)
        report = {
            "presence": dict(zip(names, best.presence, strict=True)),
            "presence_threshold": threshold,
            "missing": [names[i - 1] for i in sorted(best.failing(threshold))] if threshold is not None else [],
            "noise_keys": keys,
            "attempts": attempts,
        }
        return sample, report


def checked_masks(plan: Plan, masks: Mapping[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """The masks as float64 arrays.

    Raises:
        ValueError: a mask is not [H, W] in 0..1, or belongs to no item of the plan.
    """
    items = {(frame.id, item.entity) for frame in plan.frames for item in frame.items}
    checked = {}
    for key, mask in masks.items():
        array = np.ascontiguousarray(mask, dtype=np.float64)
        if key not in items:
            raise ValueError(f"masks: the plan has no item for (frame, entity) {key!r}; it has {sorted(items)}")
        if array.ndim != 2 or array.size == 0 or not ((array >= 0) & (array <= 1)).all():
            raise ValueError(f"masks: {key!r} must be [H, W] with values in 0..1, got shape {list(array.shape)}")
        checked[key] = array
    return checked


class _Attempt(NamedTuple):
    run: Run
    sample: Tensor
    presence: list[float]

    def failing(self, threshold: float) -> frozenset[int]:
        return frozenset(number for number, value in enumerate(self.presence, start=1) if value < threshold)

    def better(self, other: _Attempt) -> _Attempt:
        """The one whose weakest item is stronger; of equals the earlier."""
        return other if min(other.presence) > min(self.presence) else self


def draw(
    pipe: Any,
    plan: Plan,
    *,
    steps: int = 25,
    guidance: float | None = None,
    frames: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> list[DrawnFrame]:
    """Draw frames of a plan with a loaded diffusers pipeline.

    Args:
        pipe: a loaded pipeline (Stable Diffusion 1.x, 2.x, XL); it is left as it was found.
        plan: the plan.
        steps: denoising steps.
        guidance: classifier-free guidance scale; None = the model's calibrated one.
        frames: ids of the frames wanted; None = all, in plan order.
        progress: called with (steps done, steps in all, what).
    """
    story = Story(pipe, plan, steps=steps, guidance=guidance)
    wanted = [frame.id for frame in plan.frames] if frames is None else list(frames)
    return [story.frame(frame_id, progress=progress) for frame_id in wanted]

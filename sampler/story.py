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
from raccord.sampler.bank import EntityMemory
from raccord.sampler.calibration import Calibration
from raccord.sampler.conditioning import FrameConditioning, frame_conditioning
from raccord.sampler.diffusers_attention import Capture, Controller, Row
from raccord.sampler.diffusers_pipeline import Model
from raccord.sampler.diffusers_schedulers import DDIMScheduler, DDPMScheduler
from raccord.sampler.noise import flat_colour, start_noise, step_noise
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.presence import AttentionRecord, presence, salient_cells
from raccord.sampler.regions import latent_box
from raccord.sampler.text import TextPool

Progress = Callable[[int, int, str], None]

# The entity stands in the middle of its casting picture.
_CASTING_BOX = (0.25, 0.25, 0.75, 0.75)
# Bootstrap steps as in MultiDiffusion (Bar-Tal et al., arXiv 2302.08113, section 5.3).
_BOOTSTRAP_STEPS = 3
# Length of one guidance move in standard deviations of the noise it is made under.
_GUIDANCE_MOVE = 0.1
_GUIDANCE_MOVES = 3


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
        eta: DDIM's eta in 0..1; 0 is deterministic, above it the step noise is keyed.
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
        eta: float = 0.0,
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
        self.eta = eta
        self.memories: dict[str, EntityMemory] = {}
        self.unet_calls = 0
        self._shape = self.model.latent_shape(plan.size)
        self._scheduler = self.model.scheduler(steps)
        self._frames = {frame.id: frame for frame in plan.frames}
        self._pool = TextPool(self.model.encode)
        self._controller = Controller(
            self.model.unet, self._pool, bank_weight=self.calibration.bank_weight, backend=backend
        )

    def frame_key(self, frame_id: str) -> str:
        """SHA-256 of all that a frame's pixels depend on: its own part of the plan, settings, weights, versions."""
        frame = self._frames[frame_id]
        here = {item.entity for item in frame.items}
        parts = {
            "seed": self.plan.seed,
            "size": list(self.plan.size),
            "style": self.plan.style,
            "frame": frame.model_dump(mode="json"),
            "entities": [e.model_dump(mode="json") for e in self.plan.entities if e.id in here],
            "masks": {
                entity: [list(mask.shape), hashlib.sha256(mask.tobytes()).hexdigest()]
                for (name, entity), mask in self.masks.items()
                if name == frame_id
            },
            "steps": self.steps,
            "guidance": self.guidance,
            "eta": self.eta,
            "scheduler": [type(self._scheduler).__name__, self._scheduler.to_json_string()],
            "calibration": asdict(self.calibration),
            "weights": self.model.weights_hash(),
            "versions": {"noise": NOISE_VERSION, **self.model.versions()},
            "machine": [str(self.model.device), str(self.model.dtype), torch.get_num_threads()],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def cast(self, entity_ids: Iterable[str] | None = None, *, progress: Progress | None = None) -> None:
        """Cast entities that have not been cast yet: choose each one's noise and fill its memory.

        Args:
            entity_ids: which entities; None = all that stand in some frame.
            progress: called with (steps done, steps in all, what).
        """
        standing = {item.entity for frame in self.plan.frames for item in frame.items}
        wanted = standing if entity_ids is None else set(entity_ids)
        missing = [entity for entity in self.plan.entities if entity.id in wanted and entity.id not in self.memories]
        with self._controller:
            for entity in missing:
                self.memories[entity.id] = self._cast_one(entity, progress)

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
        with self._controller:
            latent, report = self._draw(frame, conditioning, progress)
        pixels = self.model.decode(latent)
        report["unet_calls"] = self.unet_calls - calls
        report["warnings"] = self._warnings(conditioning)
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        return DrawnFrame(frame_id, Image.fromarray(pixels), digest, report)

    def _conditioning(self, frame: Frame, masks: Mapping[str, np.ndarray] | None = None) -> FrameConditioning:
        width, beta = self._shape[2], self.calibration.beta
        return frame_conditioning(self.plan, frame, latent_width=width, beta=beta, masks=masks)

    def _warnings(self, conditioning: FrameConditioning) -> list[str]:
        """What a person should know about the frame: items too small or hidden, texts the model cannot hear whole."""
        coarsest = 2 ** (len(self.model.unet.config.block_out_channels) - 1)
        _, height, width = self._shape
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

    @torch.no_grad()
    def _cast_one(self, entity: Entity, progress: Progress | None) -> EntityMemory:
        settings = self.calibration
        frame = Frame(
            id="casting",
            prompt=entity.card,
            background=settings.casting_background,
            items=(Item(entity=entity.id, box=_CASTING_BOX),),
        )
        conditioning = self._conditioning(frame)
        check = min(settings.casting_steps, self.steps)
        keep = settings.bank_weight > 0
        total = settings.casting_candidates * check + (self.steps if keep else 0)
        what = f"casting {entity.name}"
        found: list[float] = []
        records: list[AttentionRecord] = []
        for key in range(settings.casting_candidates):
            noise = self._noise(frame, {entity.id: key}, {})
            run = _Run(conditioning, what=what, done=key * check, total=total, progress=progress)
            _, record = self._denoise(run, noise, 0, check, record=True)
            found.append(float(presence(record, conditioning)[0]))
            records.append(record)
        best = max(range(len(found)), key=lambda key: (found[key], -key))
        tokens: dict[tuple[str, int], Tensor] = {}
        if keep:
            cells = salient_cells(records[best], conditioning, 1, settings.memory_budget)
            run = _Run(conditioning, what=what, done=len(found) * check, total=total, progress=progress)
            self._denoise(run, self._noise(frame, {entity.id: best}, {}), 0, self.steps, cells=cells, tokens=tokens)
        return EntityMemory(entity.id, best, found[best], tuple(found), tokens)

    def _draw(
        self, frame: Frame, conditioning: FrameConditioning, progress: Progress | None
    ) -> tuple[Tensor, dict[str, Any]]:
        """Denoise a frame with presence check and bounded keyed repair."""
        settings = self.calibration
        check = max(1, min(round(settings.check_share * self.steps), self.steps))
        run = _Run(conditioning, self.memories, what=f"frame {frame.id}", total=self.steps, progress=progress)
        attempts: list[dict[str, Any]] = []
        names = conditioning.entities

        def attempt(tries: Mapping[str, int], how: str, rescue: frozenset[int] = frozenset()) -> _Attempt:
            noise = self._noise(frame, self._keys(names), tries)
            sample, record = self._denoise(
                run,
                noise,
                0,
                check,
                record=bool(names),
                bootstrap=rescue if how == "bootstrap" else frozenset(),
                guide=rescue if how == "guide" else frozenset(),
            )
            found = [float(value) for value in presence(record, conditioning)] if names else []
            attempts.append({"how": how, "tries": dict(tries), "presence": dict(zip(names, found, strict=True))})
            return _Attempt(sample, found, dict(tries))

        best = attempt({}, "cast noise")
        threshold = settings.presence_threshold
        if threshold is not None:
            for number in range(1, settings.repair_tries + 1):
                failing = best.failing(threshold)
                if not failing:
                    break
                best = best.better(attempt({**best.tries, **{names[i - 1]: number for i in failing}}, "new noise"))
            for how in ("bootstrap", "guide"):
                if best.failing(threshold):
                    best = best.better(attempt(best.tries, how, best.failing(threshold)))
        sample, _ = self._denoise(run, best.sample, check, self.steps)
        report = {
            "presence": dict(zip(names, best.presence, strict=True)),
            "presence_threshold": threshold,
            "missing": [names[i - 1] for i in sorted(best.failing(threshold))] if threshold is not None else [],
            "noise_keys": self._keys(names),
            "attempts": attempts,
        }
        return sample, report

    def _keys(self, entities: Iterable[str]) -> dict[str, int]:
        return {entity: self.memories[entity].noise_key for entity in entities}

    def _noise(self, frame: Frame, keys: Mapping[str, int], tries: Mapping[str, int]) -> Tensor:
        channels, height, width = self._shape
        noise = start_noise(self.plan.seed, frame, keys, tries, channels=channels, height=height, width=width)
        return noise.to(self.model.device) * self._scheduler.init_noise_sigma

    def _denoise(
        self,
        run: _Run,
        sample: Tensor,
        first: int,
        last: int,
        *,
        record: bool = False,
        cells: Mapping[int, Tensor] | None = None,
        tokens: dict[tuple[str, int], Tensor] | None = None,
        bootstrap: frozenset[int] = frozenset(),
        guide: frozenset[int] = frozenset(),
    ) -> tuple[Tensor, AttentionRecord]:
        """Steps first..last-1 of a trajectory; the record is that of the last step's UNet call.

        Args:
            run: whose trajectory.
            sample: float32 [C, height, width].
            first: first step, 0-based.
            last: one past the last step.
            record: record the attention at the last step.
            cells: N -> positions whose hidden states go to `tokens` from the second step on.
            tokens: filled with (layer, timestep) -> hidden states.
            bootstrap: 1-based items that see a flat background in the first steps.
            guide: 1-based items towards whose presence the sample is moved in the first steps.
        """
        control = self._controller
        attention = AttentionRecord()
        timesteps = self._scheduler.timesteps.tolist()
        for index in range(first, last):
            timestep = timesteps[index]
            if guide and 0 < index <= _GUIDANCE_MOVES:
                sample = self._guide(run, sample, timestep, guide)
            if record and index == last - 1:
                control.record, control.record_row = attention, 1
            if cells is not None and index > 0:
                control.capture = Capture(row=1, cells=cells, tokens={})
            try:
                prediction = self._predict(run, sample, timestep)
                if control.capture is not None and tokens is not None:
                    tokens.update({(layer, timestep): value for layer, value in control.capture.tokens.items()})
            finally:
                control.record, control.capture = None, None
            if bootstrap and index < _BOOTSTRAP_STEPS:
                prediction = self._bootstrap(run, sample, timestep, bootstrap, prediction)
            sample = self._step(run, prediction, index, sample)
            if not torch.isfinite(sample).all():
                raise FloatingPointError(
                    f"{run.what}: the sample became NaN or infinite at step {index + 1} of {self.steps} "
                    f"(timestep {timestep}); check the model's weights and dtype"
                )
            run.tick(index)
        return sample, attention

    def _predict(self, run: _Run, sample: Tensor, timestep: int) -> Tensor:
        """Guided model output float32 [C, height, width] for the frame of `run`."""
        conditioning = run.conditioning
        texts = (conditioning.negatives[0], conditioning.texts[0])
        self._controller.rows = (Row(conditioning, False, {}), Row(conditioning, True, run.memories))
        hidden = torch.stack([self._pool.hidden(text) for text in texts])
        added = self.model.added_conditions(texts, self.plan.size)
        scheduler_input = self._scheduler.scale_model_input(sample, timestep)
        self.unet_calls += 1
        moment = torch.tensor(timestep, device=self.model.device)
        try:
            unconditional, conditional = self.model.predict(torch.stack([scheduler_input] * 2), moment, hidden, added)
        finally:
            self._controller.rows = None
        guided = unconditional + self._guidance_map(conditioning, sample) * (conditional - unconditional)
        if self.calibration.guidance_rescale > 0:
            ratio = conditional.std() / guided.std()
            guided = guided * (1.0 + self.calibration.guidance_rescale * (ratio - 1.0))
        return guided

    def _guidance_map(self, conditioning: FrameConditioning, sample: Tensor) -> Tensor | float:
        """The guidance scale, times an item's weight inside the item."""
        if not conditioning.guidance:
            return self.guidance
        _, height, width = self._shape
        share = torch.from_numpy(conditioning.maps(height, width).share)
        factor = torch.ones_like(share[0])
        for number, weight in conditioning.guidance.items():
            factor = factor + (weight - 1.0) * share[number]
        return self.guidance * factor.view(1, height, width).to(sample)

    def _step(self, run: _Run, prediction: Tensor, index: int, sample: Tensor) -> Tensor:
        timesteps = self._scheduler.timesteps
        noise = None
        stochastic = self.eta > 0 or isinstance(self._scheduler, DDPMScheduler)
        if stochastic:
            channels, height, width = self._shape
            destination = int(timesteps[index + 1]) if index + 1 < len(timesteps) else 0
            noise = step_noise(
                self.plan.seed, run.conditioning.frame.id, destination, channels=channels, height=height, width=width
            )[None].to(sample)
        kwargs: dict[str, Any] = {"variance_noise": noise} if stochastic else {}
        if isinstance(self._scheduler, DDIMScheduler):
            kwargs["eta"] = self.eta
        step = self._scheduler.step(prediction[None], timesteps[index], sample[None], return_dict=False, **kwargs)
        return step[0][0]

    def _bootstrap(
        self, run: _Run, sample: Tensor, timestep: int, numbers: frozenset[int], prediction: Tensor
    ) -> Tensor:
        """Inside the boxes of `numbers`, the output the model gives when all around is one flat noised colour."""
        channels, height, width = self._shape
        frame = run.conditioning.frame
        flat = flat_colour(self.plan.seed, frame.id, channels).to(sample).expand_as(sample)
        noised = self._scheduler.add_noise(flat[None], sample[None], torch.tensor([timestep], device=sample.device))[0]
        for number in sorted(numbers):
            x0, y0, x1, y1 = latent_box(frame.items[number - 1].box, height, width)
            inside = torch.zeros_like(sample)
            inside[:, y0:y1, x0:x1] = 1.0
            alone = self._predict(run, inside * sample + (1.0 - inside) * noised, timestep)
            prediction = torch.where(inside > 0, alone, prediction)
        return prediction

    def _guide(self, run: _Run, sample: Tensor, timestep: int, numbers: frozenset[int]) -> Tensor:
        """One move of the sample up the gradient of the missing items' presence."""
        control = self._controller
        with torch.enable_grad():
            moved = sample.detach().requires_grad_()
            control.record, control.record_row = AttentionRecord(), 1
            try:
                self._predict(run, moved, timestep)
                found = presence(control.record, run.conditioning)
            finally:
                control.record = None
            wanted = torch.stack([found[number - 1] for number in sorted(numbers)]).sum()
            (gradient,) = torch.autograd.grad(wanted, moved)
        size = gradient.square().mean().sqrt()
        return sample + _GUIDANCE_MOVE * gradient / size if float(size) > 0 else sample


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
    sample: Tensor
    presence: list[float]
    tries: dict[str, int]

    def failing(self, threshold: float) -> frozenset[int]:
        return frozenset(number for number, value in enumerate(self.presence, start=1) if value < threshold)

    def better(self, other: _Attempt) -> _Attempt:
        """The one whose weakest item is stronger; of equals the earlier."""
        return other if min(other.presence) > min(self.presence) else self


class _Run:
    """One trajectory's frame, memories and progress."""

    def __init__(
        self,
        conditioning: FrameConditioning,
        memories: Mapping[str, EntityMemory] | None = None,
        *,
        what: str,
        done: int = 0,
        total: int,
        progress: Progress | None,
    ) -> None:
        self.conditioning = conditioning
        self.memories = memories or {}
        self.what = what
        self._done, self._total, self._progress = done, total, progress

    def tick(self, index: int) -> None:
        if self._progress is not None:
            self._progress(self._done + index + 1, self._total, self.what)


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

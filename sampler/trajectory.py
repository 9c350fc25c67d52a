"""One trajectory: from keyed noise through the steps of a schedule, for one frame.

Every UNet call has one batch shape: the frame's unconditional row, then its conditional row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from raccord.kernels.guided_step import guided_step
from raccord.sampler.bank import EntityMemory
from raccord.sampler.conditioning import FrameConditioning
from raccord.sampler.diffusers_attention import Capture, Controller, Row
from raccord.sampler.diffusers_pipeline import Model
from raccord.sampler.diffusers_schedulers import DDIMScheduler, DDPMScheduler
from raccord.sampler.noise import flat_colour, keyed_step_noise, start_noise, step_noise
from raccord.sampler.plan import Plan
from raccord.sampler.presence import AttentionRecord, presence
from raccord.sampler.regions import latent_box
from raccord.sampler.text import TextPool

Progress = Callable[[int, int, str], None]

# Bootstrap steps as in MultiDiffusion (Bar-Tal et al., arXiv 2302.08113, section 5.3).
_BOOTSTRAP_STEPS = 3
# Length of one guidance move, in standard deviations of the sample's noise.
_GUIDANCE_MOVE = 0.1
_GUIDANCE_MOVES = 3


@dataclass(frozen=True)
class Run:
    """Whose trajectory it is, and where its progress goes.

    conditioning: the frame's texts and maps.
    memories: entity id -> memory the entity may see.
    keys, tries: entity id -> number of its noise field, and of its repair try; see `start_noise`.
    what: for progress and errors.
    done, total: steps done before this run, and steps in all.
    progress: called with (steps done, steps in all, what).
    """

    conditioning: FrameConditioning
    memories: Mapping[str, EntityMemory]
    keys: Mapping[str, int]
    tries: Mapping[str, int]
    what: str
    done: int
    total: int
    progress: Progress | None

    def tick(self, index: int) -> None:
        """Report that step `index` of this run is done."""
        if self.progress is not None:
            self.progress(self.done + index + 1, self.total, self.what)


class Outputs(NamedTuple):
    """The model's outputs without and with the text, each float32 [C, height, width], and the guidance between them: a
    number, or a map [1, height, width].
    """

    unconditional: Tensor
    conditional: Tensor
    guidance: Tensor | float

    def guided(self) -> Tensor:
        """The one output they stand for (classifier-free guidance, arXiv 2207.12598, eq. 6)."""
        return self.unconditional + self.guidance * (self.conditional - self.unconditional)


class Denoiser:
    """Runs trajectories of one plan on one model with fixed settings.

    Args:
        model: the pipeline's parts.
        plan: the plan; its seed keys all noise, its size is the picture's.
        steps: steps of the schedule.
        guidance: classifier-free guidance scale.
        guidance_rescale: share of Lin et al.'s rescale (arXiv 2305.08891, section 3.4), 0..1.
        eta: DDIM's eta.
        bank_weight: factor on memory keys.
        backend: kernel backend to force.
    """

    def __init__(
        self,
        model: Model,
        plan: Plan,
        *,
        steps: int,
        guidance: float,
        guidance_rescale: float,
        eta: float,
        bank_weight: float,
        backend: str | None,
    ) -> None:
        self.model = model
        self.plan = plan
        self.steps = steps
        self.guidance = guidance
        self.guidance_rescale = guidance_rescale
        self.eta = eta
        self.backend = backend
        self.shape = model.latent_shape(plan.size)
        self.scheduler = model.scheduler(steps)
        self._coefficients = self._all_coefficients()
        self.unet_calls = 0
        self.pool = TextPool(model.encode)
        self.controller = Controller(model.unet, self.pool, bank_weight=bank_weight, backend=backend)

    def noise(self, run: Run) -> Tensor:
        """Initial sample float32 [C, height, width] of a run."""
        noise = start_noise(self.plan.seed, run.conditioning.frame, run.keys, run.tries, shape=self.shape)
        return noise.to(self.model.device) * self.scheduler.init_noise_sigma

    def run(
        self,
        run: Run,
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
        control = self.controller
        attention = AttentionRecord()
        timesteps = self.scheduler.timesteps.tolist()
        for index in range(first, last):
            timestep = timesteps[index]
            if guide and 0 < index <= _GUIDANCE_MOVES:
                sample = self.guide(run, sample, timestep, guide)
            if record and index == last - 1:
                control.record, control.record_row = attention, 1
            if cells is not None and index > 0:
                control.capture = Capture(row=1, cells=cells, tokens={})
            try:
                outputs = self.predict(run, sample, timestep)
                if control.capture is not None and tokens is not None:
                    tokens.update({(layer, timestep): value.cpu() for layer, value in control.capture.tokens.items()})
            finally:
                control.record, control.capture = None, None
            if bootstrap and index < _BOOTSTRAP_STEPS:
                outputs = self._bootstrap(run, sample, timestep, bootstrap, outputs)
            sample = self._step(run, outputs, index, sample)
            if not torch.isfinite(sample).all():
                raise FloatingPointError(
                    f"{run.what}: the sample became NaN or infinite at step {index + 1} of {self.steps} "
                    f"(timestep {timestep}); check the model's weights and dtype"
                )
            run.tick(index)
        return sample, attention

    def predict(self, run: Run, sample: Tensor, timestep: int) -> Outputs:
        """The model's outputs for the frame of `run`; where they are rescaled, the rescaled output twice."""
        conditioning = run.conditioning
        texts = (conditioning.negatives[0], conditioning.texts[0])
        self.controller.rows = (Row(conditioning, False, {}), Row(conditioning, True, run.memories))
        hidden = torch.stack([self.pool.hidden(text) for text in texts])
        added = self.model.added_conditions(texts, self.plan.size)
        scheduler_input = self.scheduler.scale_model_input(sample, timestep)
        self.unet_calls += 1
        moment = torch.tensor(timestep, device=self.model.device)
        try:
            unconditional, conditional = self.model.predict(torch.stack([scheduler_input] * 2), moment, hidden, added)
        finally:
            self.controller.rows = None
        outputs = Outputs(unconditional, conditional, self._guidance_map(conditioning, sample))
        if self.guidance_rescale > 0:
            guided = outputs.guided()
            ratio = conditional.std() / guided.std()
            guided = guided * (1.0 + self.guidance_rescale * (ratio - 1.0))
            return Outputs(guided, guided, 1.0)
        return outputs

    def _guidance_map(self, conditioning: FrameConditioning, sample: Tensor) -> Tensor | float:
        """The guidance scale, times an item's weight inside the item."""
        if not conditioning.guidance:
            return self.guidance
        _, height, width = self.shape
        share = torch.from_numpy(conditioning.maps(height, width).share)
        factor = torch.ones_like(share[0])
        for number, weight in conditioning.guidance.items():
            factor = factor + (weight - 1.0) * share[number]
        return self.guidance * factor.view(1, height, width).to(sample)

    def _all_coefficients(self) -> Tensor | None:
        """The coefficients of all steps [steps, 7], or None where one call of the kernel is not a whole step."""
        rows = [self.scheduler.guided_coefficients(step, eta=self.eta) for step in self.scheduler.timesteps.tolist()]
        known = [row for row in rows if row is not None]
        if len(known) < len(rows):
            return None
        device = self.model.device
        return torch.stack(known).to(device, torch.float32 if device.type == "mps" else torch.float64)

    def _step(self, run: Run, outputs: Outputs, index: int, sample: Tensor) -> Tensor:
        timesteps = self.scheduler.timesteps
        destination = int(timesteps[index + 1]) if index + 1 < len(timesteps) else -1
        key = (self.plan.seed, destination, run.conditioning.frame, run.keys, run.tries)
        stochastic = self.eta > 0 or isinstance(self.scheduler, DDPMScheduler)
        if self._coefficients is not None:
            noise = keyed_step_noise(*key, shape=self.shape) if stochastic else None
            if isinstance(noise, Tensor):
                noise = noise[None].to(sample)
            scale = outputs.guidance
            return guided_step(
                sample[None],
                outputs.unconditional[None],
                outputs.conditional[None],
                scale[None] if isinstance(scale, Tensor) else scale,
                self._coefficients[index],
                noise=noise,
                backend=self.backend,
            )[0]
        kwargs: dict[str, Any] = {}
        if stochastic:
            kwargs["variance_noise"] = step_noise(*key, shape=self.shape)[None].to(sample)
        if isinstance(self.scheduler, DDIMScheduler):
            kwargs["eta"] = self.eta
        moment = timesteps[index]
        return self.scheduler.step(outputs.guided()[None], moment, sample[None], return_dict=False, **kwargs)[0][0]

    def _bootstrap(self, run: Run, sample: Tensor, timestep: int, numbers: frozenset[int], outputs: Outputs) -> Outputs:
        """Inside the boxes of `numbers`, the outputs the model gives when all around is one flat noised colour."""
        frame, channels = run.conditioning.frame, self.shape[0]
        flat = flat_colour(self.plan.seed, frame.id, channels).to(sample).expand_as(sample)
        noise = self.noise(run)
        noised = self.scheduler.add_noise(flat[None], noise[None], torch.tensor([timestep], device=sample.device))[0]
        for number in sorted(numbers):
            inside = self._inside(run, sample, number)
            alone = self.predict(run, inside * sample + (1.0 - inside) * noised, timestep)
            outputs = outputs._replace(
                unconditional=torch.where(inside > 0, alone.unconditional, outputs.unconditional),
                conditional=torch.where(inside > 0, alone.conditional, outputs.conditional),
            )
        return outputs

    def _inside(self, run: Run, sample: Tensor, number: int) -> Tensor:
        """1 in the box of item `number` of the frame and 0 around it, in the shape of `sample`."""
        x0, y0, x1, y1 = latent_box(run.conditioning.frame.items[number - 1].box, *self.shape[1:])
        inside = torch.zeros_like(sample)
        inside[:, y0:y1, x0:x1] = 1.0
        return inside

    def guide(self, run: Run, sample: Tensor, timestep: int, numbers: frozenset[int]) -> Tensor:
        """One move of the sample up the gradient of the missing items' presence, in their boxes alone: around them it
        would move others away.
        """
        control = self.controller
        # a compiled UNet has no gradient through planned attention
        with torch.enable_grad(), torch.compiler.set_stance("force_eager"):
            moved = sample.detach().requires_grad_()
            control.record, control.record_row = AttentionRecord(), 1
            try:
                self.predict(run, moved, timestep)
                found = presence(control.record, run.conditioning)
            finally:
                control.record = None
            wanted = torch.stack([found[number - 1] for number in sorted(numbers)]).sum()
            (gradient,) = torch.autograd.grad(wanted, moved)
        gradient = gradient * torch.stack([self._inside(run, sample, number) for number in numbers]).amax(0)
        size = gradient.square().mean().sqrt()
        return sample + _GUIDANCE_MOVE * gradient / size if float(size) > 0 else sample

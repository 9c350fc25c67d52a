"""Regions inside the user's own pipeline calls: one line, and every row that has a frame's prompt follows its plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from raccord.sampler.bank import EntityMemory
from raccord.sampler.conditioning import FrameConditioning, frame_conditioning
from raccord.sampler.diffusers_attention import Controller, Row
from raccord.sampler.diffusers_pipeline import Model
from raccord.sampler.plan import Plan
from raccord.sampler.text import TextPool

# Encodings of one text differ by rounding when it is encoded in another batch or dtype; of two texts by far more.
_SAME_TEXT = 1e-2


def install(
    pipe: Any,
    plan: Plan,
    *,
    frames: Iterable[str] | None = None,
    memories: Mapping[str, EntityMemory] | None = None,
    backend: str | None = None,
) -> Controller:
    """Make a pipeline's own calls follow a plan, until `remove()` (or the end of a `with` block) is reached.

    A row of the UNet's batch belongs to a frame when its text is the frame's prompt: call the pipeline with the prompts
    of `prompts(plan)`, alone, together, or with several images each. All other rows, the unconditional ones among them,
    go through the attention found at installation. Schedulers, LoRA, ControlNet, IP-Adapter, callbacks stay the
    pipeline's; for entity-anchored noise, casting and repair use `raccord.draw`.

    Args:
        pipe: a loaded `StableDiffusionPipeline` or `StableDiffusionXLPipeline`, or a subclass of theirs.
        plan: the plan.
        frames: ids of the frames meant; None = all.
        memories: entity id -> memory, from `Story.memories` with the same number of steps.
        backend: kernel backend to force.

    Returns:
        The installed controller, a context manager.

    Raises:
        ValueError: two frames have the same prompt and style, so that no row could be told apart.
    """
    model = Model(pipe)
    pool = TextPool(model.encode)
    calibration = model.calibration()
    width = model.latent_shape(plan.size)[2]
    wanted = {frame.id for frame in plan.frames} if frames is None else set(frames)
    conditionings = [
        frame_conditioning(plan, frame, latent_width=width, beta=calibration.beta)
        for frame in plan.frames
        if frame.id in wanted
    ]
    seen: dict[str, str] = {}
    for conditioning in conditionings:
        other = seen.setdefault(conditioning.texts[0], conditioning.frame.id)
        if other != conditioning.frame.id:
            raise ValueError(
                f"frames {other!r} and {conditioning.frame.id!r} have the same prompt {conditioning.texts[0]!r}; "
                "install(..., frames=[...]) one of them at a time, or reword one"
            )

    def match(text: Tensor | tuple[Tensor, Any]) -> Sequence[Row | None]:
        hidden = text[0] if isinstance(text, tuple) else text
        return [_row(hidden[index], conditionings, pool, memories or {}) for index in range(hidden.shape[0])]

    controller = Controller(pipe.unet, pool, bank_weight=calibration.bank_weight, backend=backend)
    controller.match = match
    controller.install()
    return controller


def prompts(plan: Plan) -> dict[str, str]:
    """Frame id -> the prompt that `install` recognises: the frame's prompt and the plan's style."""
    return {frame.id: frame_conditioning(plan, frame, latent_width=64, beta=0.0).texts[0] for frame in plan.frames}


def _row(
    hidden: Tensor, conditionings: Sequence[FrameConditioning], pool: TextPool, memories: Mapping[str, EntityMemory]
) -> Row | None:
    for conditioning in conditionings:
        known = pool.hidden(conditioning.texts[0]).to(hidden)
        if known.shape == hidden.shape and (known - hidden).norm() <= _SAME_TEXT * known.norm():
            return Row(conditioning, True, memories)
    return None

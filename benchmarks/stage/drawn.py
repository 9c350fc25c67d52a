"""Figures of drawn stories: keyed stories are drawn with some constants of raccord and read back from their pixels."""

import dataclasses
import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raccord.sampler.calibration import Calibration
from raccord.sampler.diffusers_pipeline import Model
from raccord.sampler.story import Story
from stage.files import write_json
from stage.instruments.colours import box_mask, main_colour, read_colours
from stage.instruments.metrics.identity import identity_agreement
from stage.instruments.metrics.layout import accuracy_area, mean_iou, placements, success_rate
from stage.instruments.metrics.matching import match
from stage.instruments.reader import Reader
from stage.stories.plans import TruePlan, sample_plan
from stage.world.scene import Rates


@dataclasses.dataclass(frozen=True)
class Stories:
    """Stories of two entities: `count` whose texts name colours, and as many that leave them open."""

    seed: int
    count: int
    frames: int
    steps: int
    rates: Rates

    def sample(self, number: int, *, named: bool) -> TruePlan:
        """One of them; those with open colours have a seed of their own."""
        seed = self.seed if named else self.seed + 1
        return sample_plan(seed, number, frames=self.frames, named_colours=named, rates=self.rates)

    @property
    def arguments(self) -> str:
        """As a command line has them."""
        return f"--stories {self.count} --frames {self.frames} --steps {self.steps}"


def figures(
    pipe: Any, reader: Reader, stories: Stories, calibration: Calibration, *, prompt_alone: bool = False
) -> tuple[dict[str, Any], list[Any]]:
    """Figures by name, and the pictures of the first story.

    Read from pixels alone (`stage.instruments`): success@0.5 (kind, box and colour), accuracy@k, and over pairs of
    frames how often an entity has the same kind and colour. By colour alone: at least 20 % of the item's box shows its
    colour; the share of body-coloured pixels in no box; over pairs of frames, how often the main body colour in the box
    is the same, for entities whose text names no colour.

    Args:
        calibration: constants of raccord.
        prompt_alone: draw the frames' prompts without their items.
    """
    success, outside, same, calls, seconds = [], [], [], 0, 0.0
    placed, entities, first = [], [], []

    def drawn(true: TruePlan) -> list[Any]:
        nonlocal calls, seconds
        plan = true.plan
        if prompt_alone:
            bare = [frame.model_copy(update={"items": [], "background": ""}) for frame in plan.frames]
            plan = plan.model_copy(update={"frames": bare})
        story = Story(pipe, plan, steps=stories.steps, calibration=calibration)
        began = time.process_time()
        pictures = [np.asarray(story.frame(frame.id).image) for frame in plan.frames]
        calls, seconds = calls + story.unet_calls, seconds + time.process_time() - began
        return pictures

    for number in range(stories.count):
        true = stories.sample(number, named=True)
        pictures = drawn(true)
        first = first or pictures
        readings = [read_colours(p, items) for p, items in zip(pictures, true.frames, strict=True)]
        success += [hit for reading in readings for hit in reading.successes]
        outside += [reading.outside for reading in readings]
        read = [reader.read(picture) for picture in pictures]
        for picture, found, items in zip(pictures, read, true.frames, strict=True):
            placed += placements(picture, found, items)
        shown = [
            {pair.item: found[pair.reading] for pair in match(found, items, least=0.3)}
            for found, items in zip(read, true.frames, strict=True)
        ]
        entities += [[one.get(index) for one in shown] for index in range(2)]
        open_ = stories.sample(number, named=False)
        pictures = drawn(open_)
        for entity in range(2):
            seen = []
            for picture, items in zip(pictures, open_.frames, strict=True):
                mask = box_mask(items[entity].box, *picture.shape[:2])
                seen.append(main_colour(picture[mask.any(1)][:, mask.any(0)]))
            same += [a is not None and a == b for a, b in itertools.combinations(seen, 2)]
    agreement = identity_agreement(entities)
    frames = 2 * stories.count * stories.frames
    return {
        "success_at_05": success_rate(placed),
        "mean_iou": mean_iou(placed),
        "accuracy_area": accuracy_area(placed),
        "same_kind": agreement.attributes["kind"],
        "same_named_colour": agreement.attributes["colour"],
        "item_success": sum(success) / len(success),
        "outside": sum(outside) / len(outside),
        "same_colour": sum(same) / len(same),
        "items": len(success),
        "pairs": len(same),
        "unet_calls_per_frame": calls / frames,
        "cpu_seconds_per_frame": seconds / frames,
    }, first


def write_figures(path: Path, command: str, pipe: Any, rows: list[dict[str, Any]], **more: Any) -> None:
    """Write rows of `figures` with what they rest on."""
    made = {
        "command": command,
        "model": Model(pipe).weights_hash()[:16],
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    write_json(path, made | more | {"rows": rows})

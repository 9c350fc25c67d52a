"""What each mechanism adds on the stage: the same stories drawn plainly, with regions, casting, bank and repair. The
bank stands in a row of its own, whether the model's calibration uses it or not.

    .venv/bin/python -P benchmarks/stage/consistency.py [--stories 8]

Writes `benchmarks/results/consistency.json`. Read from pixels alone (`stage.instruments`): success@0.5 (kind, box and
colour), accuracy@k, and over pairs of frames how often an entity has the same kind and colour. By colour alone: at
least 20 % of the item's box shows its colour; the share of body-coloured pixels in no box; over pairs of frames, how
often the main body colour in the box is the same, for entities whose text names no colour.
"""

import argparse
import dataclasses
import itertools
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

SEED = 9_000_001


def main() -> None:
    """Draw all variants, read them back, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=8, help="of each kind: colours named, colours left open")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet of the first story here (PNG)")
    arguments = parser.parse_args()

    import numpy as np
    import torch
    from PIL import Image

    from raccord.sampler.calibration import read_calibration
    from raccord.sampler.diffusers_pipeline import Model, load_pipeline
    from raccord.sampler.story import Story
    from stage.files import write_json
    from stage.instruments.colours import box_mask, main_colour, read_colours
    from stage.instruments.metrics.identity import identity_agreement
    from stage.instruments.metrics.layout import accuracy_area, mean_iou, placements, success_rate
    from stage.instruments.metrics.matching import match
    from stage.instruments.reader import load_reader
    from stage.model.config import SMALL_CPU
    from stage.stories.plans import TruePlan, sample_plan

    reader, rates = load_reader(), SMALL_CPU.rates
    pipe = load_pipeline(ROOT / "models" / "stage")
    full = read_calibration(ROOT / "models" / "stage")
    off: dict[str, Any] = {"casting_candidates": 1, "bank_weight": 0.0, "presence_threshold": None}
    variants: dict[str, dict[str, Any] | None] = {
        "frame prompt only": None,
        "+ regions, isolation, anchored noise": off,
        "+ cast noise": off | {"casting_candidates": full.casting_candidates},
        "+ cast noise and entity bank": {"bank_weight": 1.0, "presence_threshold": None},
        "+ cast noise, presence check and repair (as calibrated)": {},
    }

    def drawn(true: TruePlan, changes: dict[str, Any] | None) -> tuple[list[Any], int, float]:
        plan = true.plan
        if changes is None:
            bare = [frame.model_copy(update={"items": [], "background": ""}) for frame in plan.frames]
            plan = plan.model_copy(update={"frames": bare})
        story = Story(pipe, plan, steps=arguments.steps, calibration=dataclasses.replace(full, **changes or {}))
        began = time.process_time()
        pictures = [np.asarray(story.frame(frame.id).image) for frame in plan.frames]
        return pictures, story.unet_calls, time.process_time() - began

    rows, sheet = [], []
    for name, changes in variants.items():
        success, outside, same, calls, seconds = [], [], [], 0, 0.0
        placed, entities = [], []
        for number in range(arguments.stories):
            true = sample_plan(SEED, number, frames=arguments.frames, named_colours=True, rates=rates)
            pictures, used, cpu = drawn(true, changes)
            calls, seconds = calls + used, seconds + cpu
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
            if number == 0:
                sheet.append(pictures)
            open_ = sample_plan(SEED + 1, number, frames=arguments.frames, named_colours=False, rates=rates)
            pictures, used, cpu = drawn(open_, changes)
            calls, seconds = calls + used, seconds + cpu
            for entity in range(2):
                seen = []
                for picture, items in zip(pictures, open_.frames, strict=True):
                    mask = box_mask(items[entity].box, *picture.shape[:2])
                    seen.append(main_colour(picture[mask.any(1)][:, mask.any(0)]))
                same += [a is not None and a == b for a, b in itertools.combinations(seen, 2)]
        agreement = identity_agreement(entities)
        row = {
            "variant": name,
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
            "unet_calls_per_frame": calls / (2 * arguments.stories * arguments.frames),
            "cpu_seconds_per_frame": seconds / (2 * arguments.stories * arguments.frames),
        }
        rows.append(row)
        print(row, flush=True)
    write_json(
        ROOT / "benchmarks" / "results" / "consistency.json",
        {
            "command": f"benchmarks/stage/consistency.py --stories {arguments.stories} --frames {arguments.frames} "
            f"--steps {arguments.steps}",
            "model": Model(pipe).weights_hash()[:16],
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "calibration": dataclasses.asdict(full),
            "rows": rows,
        },
    )
    if arguments.sheet:
        side = 160
        page = Image.new("RGB", (side * arguments.frames, side * len(sheet)), "white")
        for y, pictures in enumerate(sheet):
            for x, picture in enumerate(pictures):
                large = Image.fromarray(picture).resize((side - 8, side - 8), Image.Resampling.LANCZOS)
                page.paste(large, (x * side + 4, y * side + 4))
        page.save(arguments.sheet)


if __name__ == "__main__":
    main()

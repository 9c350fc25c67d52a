"""Entities whose colour a text leaves open, drawn so and with the planner's usual colours.

    .venv/bin/python -P benchmarks/planner/open_colours.py [--stories 12]

The same stories of the stage, two entities a frame, the same boxes and noise; only the cards differ ("a cat", "an
orange cat"). Nothing is repaired. Read from pixels by the trained reader: found in the box (IoU at least 0.3), of the
right kind, and in how many entities both frames show one colour. Writes `benchmarks/results/open_colours.json`.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

SEED = 7_000_005


def main() -> None:
    """Draw both ways, read, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=12)
    arguments = parser.parse_args()

    import numpy as np
    from stage.files import write_json
    from stage.instruments.metrics.matching import match
    from stage.instruments.reader import load_reader
    from stage.model.config import SMALL_CPU
    from stage.stories.plans import sample_plan
    from stage.world.vocabulary import card

    from raccord.planner.embedded import embedded_model
    from raccord.planner.world import read_world
    from raccord.sampler.calibration import read_calibration
    from raccord.sampler.diffusers_pipeline import Model, load_pipeline
    from raccord.sampler.story import Story

    pipe, reader = load_pipeline(ROOT / "models" / "stage"), load_reader()
    usual = read_world(embedded_model("planner") / "world.json").usual_colours
    calibration = dataclasses.replace(read_calibration(ROOT / "models" / "stage"), presence_threshold=None)
    rows: list[dict[str, Any]] = []
    for filled in (False, True):
        found = kinds = items = same = entities = 0
        for number in range(arguments.stories):
            true = sample_plan(SEED, number, frames=2, named_colours=False, rates=SMALL_CPU.rates)
            plan = true.plan
            if filled:
                # The truth of both frames has the same two entities in order.
                cards = [
                    card(kind=item.kind, colour=usual[item.kind][0], accessory=item.accessory)
                    for item in true.frames[0][:2]
                ]
                named = zip(plan.entities, cards, strict=True)
                plan = plan.model_copy(update={"entities": [e.model_copy(update={"card": c}) for e, c in named]})
            story = Story(pipe, plan, steps=25, calibration=calibration)
            shown = []
            for frame, truth in zip(plan.frames, true.frames, strict=True):
                readings = reader.read(np.asarray(story.frame(frame.id).image))
                shown.append({pair.item: readings[pair.reading] for pair in match(readings, truth, least=0.3)})
                found += len(shown[-1])
                kinds += sum(reading.kind == truth[item].kind for item, reading in shown[-1].items())
                items += len(truth)
            for entity in range(2):
                colours = [one[entity].colour if entity in one else None for one in shown]
                same += colours[0] is not None and colours[0] == colours[1]
                entities += 1
        rows.append(
            {
                "cards": "with the usual colours" if filled else "colours left open",
                "found": found / items,
                "kind": kinds / items,
                "same_colour_in_both_frames": same / entities,
                "items": items,
                "entities": entities,
            }
        )
        print(rows[-1], flush=True)
    write_json(
        ROOT / "benchmarks" / "results" / "open_colours.json",
        {
            "command": f"benchmarks/planner/open_colours.py --stories {arguments.stories}",
            "model": Model(pipe).weights_hash()[:16],
            "rows": rows,
        },
    )


if __name__ == "__main__":
    main()

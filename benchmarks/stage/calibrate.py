"""Calibrate raccord's constants for the stage model and write `models/stage/raccord.json`.

    .venv/bin/python benchmarks/stage/calibrate.py [--stories 48]

The presence threshold is set on stories of a seed that no published figure uses: presence at the check step against
whether the colour was in the box at the end, at the value with the highest balanced accuracy.
"""

import argparse
import dataclasses
import itertools
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

# Guidance, eta and the memories' weight: benchmarks/results/constants.json. Casting stands on snow, the background
# least like any body colour. Presence is read after 5 of 25 steps, when a repair is cheap.
FIXED = {
    "guidance": 5.0,
    "eta": 0.0,
    "beta": 0.1,
    "bank_weight": 0.0,
    "casting_background": "an empty snowy field",
    "casting_candidates": 6,
    "casting_steps": 5,
    "check_share": 0.2,
}
SEED = 7_000_001


def auc(positive: list[float], negative: list[float]) -> float:
    """Probability that a positive is higher than a negative, ties counting half (Mann-Whitney)."""
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def best_threshold(positive: list[float], negative: list[float]) -> tuple[float, float]:
    """(threshold, balanced accuracy): an item counts as present at or above the threshold."""
    if not positive or not negative:
        raise ValueError("calibration needs items that came out and items that did not; draw more stories")
    values = sorted({*positive, *negative})
    middles = [(a + b) / 2 for a, b in itertools.pairwise(values)]

    def accuracy(threshold: float) -> float:
        kept = sum(p >= threshold for p in positive) / len(positive)
        return (kept + sum(n < threshold for n in negative) / len(negative)) / 2

    best = max(middles, key=lambda threshold: (accuracy(threshold), -abs(threshold)))
    return best, accuracy(best)


def main() -> None:
    """Draw, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=48)
    parser.add_argument("--steps", type=int, default=25)
    arguments = parser.parse_args()

    import numpy as np

    from raccord.sampler.calibration import FILE_NAME, Calibration
    from raccord.sampler.diffusers_pipeline import load_pipeline
    from raccord.sampler.story import Story
    from stage.files import write_json
    from stage.instruments.colours import read_colours
    from stage.model.config import SMALL_CPU
    from stage.model.export import write_sums
    from stage.stories.plans import sample_plan

    model = ROOT / "models" / "stage"
    pipe = load_pipeline(model)
    # free noise and no repair, so that both outcomes are seen
    bare = Calibration(**FIXED | {"casting_candidates": 1, "presence_threshold": None})
    positive: list[float] = []
    negative: list[float] = []
    for number in range(arguments.stories):
        plan, truth = sample_plan(SEED, number, frames=2, named_colours=True, rates=SMALL_CPU.rates)
        story = Story(pipe, plan, steps=arguments.steps, calibration=bare)
        for frame, items in zip(plan.frames, truth, strict=True):
            drawn = story.frame(frame.id)
            reading = read_colours(np.asarray(drawn.image), items)
            for index, success in enumerate(reading.successes):
                (positive if success else negative).append(drawn.report["presence"][f"e{index + 1}"])
        print(f"story {number + 1}/{arguments.stories}: {len(positive)} present, {len(negative)} missing", flush=True)
    threshold, accuracy = best_threshold(positive, negative)
    calibration = Calibration(**FIXED, presence_threshold=round(threshold, 4))
    fields = {field.name: field.default for field in dataclasses.fields(Calibration)}
    changed = {name: value for name, value in dataclasses.asdict(calibration).items() if value != fields[name]}
    (model / FILE_NAME).write_text(json.dumps(changed, indent=2) + "\n")
    write_sums(model)
    write_json(
        ROOT / "benchmarks" / "results" / "calibration.json",
        {
            "command": f"benchmarks/stage/calibrate.py --stories {arguments.stories} --steps {arguments.steps}",
            "items": len(positive) + len(negative),
            "present": len(positive),
            "auc": auc(positive, negative),
            "threshold": threshold,
            "balanced_accuracy": accuracy,
            "check_step": max(1, round(calibration.check_share * arguments.steps)),
            "steps": arguments.steps,
        },
    )
    print(f"AUC {auc(positive, negative):.3f}, threshold {threshold:.3f}, balanced accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()

"""Check the shipped reader on renders it never saw, and on degraded ones: `benchmarks/results/instruments.json`.

    .venv/bin/python -P benchmarks/stage/instruments/check.py [--scenes 500] [--degraded 80]

Found: an item that a reading shows with an IoU of at least 0.5. Attributes count over found items. Occluded: another
item hides more than 2 % of its silhouette.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from stage.draws import key  # noqa: E402
from stage.instruments import degrade  # noqa: E402
from stage.instruments.examples import TWO_SIDED  # noqa: E402
from stage.instruments.metrics.binding import attribute_accuracy  # noqa: E402
from stage.instruments.metrics.layout import Placement, accuracy_area, mean_iou, placements, success_rate  # noqa: E402
from stage.instruments.metrics.matching import match  # noqa: E402
from stage.instruments.metrics.sharpness import relative_sharpness, sharpness  # noqa: E402
from stage.instruments.reading import Reading, code_of  # noqa: E402
from stage.world.scene import Item, Scene, render, sample_scene, silhouettes  # noqa: E402
from stage.world.vocabulary import CREATURES  # noqa: E402

# Any seed but the training's own.
SEED = 31_337
HIDDEN = 0.02
Degrade = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]


class Seen(NamedTuple):
    """An item, the reading that shows it (None: not found), their IoU, and the hidden share of its silhouette."""

    item: Item
    reading: Reading | None
    iou: float
    hidden: float


def hidden_shares(scene: Scene) -> list[float]:
    """Per item, the share of its silhouette that others hide."""
    visible = silhouettes(scene).sum((1, 2))
    whole = [silhouettes(scene._replace(items=(item,))).sum() for item in scene.items]
    return [float(1 - a / b) for a, b in zip(visible, whole, strict=True)]


def seen_in(readings: Sequence[Reading], scene: Scene) -> list[Seen]:
    """What was read of every item of a scene."""
    pairs = {pair.item: pair for pair in match(readings, scene.items)}
    return [
        Seen(item, readings[pairs[i].reading], pairs[i].iou, hidden) if i in pairs else Seen(item, None, 0.0, hidden)
        for i, (item, hidden) in enumerate(zip(scene.items, hidden_shares(scene), strict=True))
    ]


def rounded(value: float) -> float:
    """Four decimals are more than the counts allow."""
    return round(value, 4)


def summary(seen: Sequence[Seen]) -> dict[str, Any]:
    """Figures of some items."""
    pairs = [(one.reading, one.item) for one in seen]
    # Attributes that not every item has are counted where they can be told.
    dressed = [(r, i) for r, i in pairs if i.kind in CREATURES]
    turned = [(r, i) for r, i in pairs if i.kind not in TWO_SIDED]
    found = [one for one in seen if one.reading is not None]
    exact = [one.reading is not None and one.reading.code == code_of(one.item) for one in seen]
    return {
        "items": len(seen),
        "recall": rounded(len(found) / len(seen)) if seen else None,
        "mean_iou_found": rounded(float(np.mean([one.iou for one in found]))) if found else None,
        "mean_iou": rounded(float(np.mean([one.iou for one in seen]))) if seen else None,
        **{
            k: rounded(v) for k, v in attribute_accuracy(pairs, ("kind", "colour", "second", "pattern", "size")).items()
        },
        **{k: rounded(v) for k, v in attribute_accuracy(dressed, ("accessory", "pose")).items()},
        **{k: rounded(v) for k, v in attribute_accuracy(turned, ("facing",)).items()},
        "facing_of_creatures": rounded(attribute_accuracy(dressed, ("facing",))["facing"]),
        "whole_code_of_all": rounded(float(np.mean(exact))) if exact else None,
    }


def held_out(reader: Any, scenes: int) -> dict[str, Any]:
    """Figures on clean renders: all items, whole ones, occluded ones, each size, and close-ups."""
    seen: list[Seen] = []
    placed: list[Placement] = []
    readings_total = 0
    for number in range(scenes):
        scene = sample_scene(SEED, number)
        picture = render(scene)
        readings = reader.read(picture)
        seen += seen_in(readings, scene)
        placed += placements(picture, readings, scene.items)
        readings_total += len(readings)
    found = sum(one.reading is not None for one in seen)
    close = []
    for number in range(scenes // 5):
        scene = sample_scene(SEED, number, portrait=True)
        close += seen_in(reader.read(render(scene, side=64), portrait=True), scene)
    confused: dict[str, int] = {}
    for one in seen:
        if one.reading is not None and one.reading.kind != one.item.kind:
            pair = f"{one.item.kind} read as {one.reading.kind}"
            confused[pair] = confused.get(pair, 0) + 1
    return {
        "scenes": scenes,
        "precision": rounded(found / max(1, readings_total)),
        "all": summary(seen),
        "whole": summary([one for one in seen if one.hidden <= HIDDEN]),
        "occluded": summary([one for one in seen if one.hidden > HIDDEN]),
        "occluded_hidden_share": rounded(float(np.mean([one.hidden for one in seen if one.hidden > HIDDEN]))),
        **{size: summary([one for one in seen if one.item.size == size]) for size in ("small", "medium", "large")},
        "close_ups_64": summary(close),
        "metrics_ceiling": {
            "success": rounded(success_rate(placed)),
            "mean_iou": rounded(mean_iou(placed)),
            "accuracy_area": rounded(accuracy_area(placed)),
        },
        "confused_kinds": dict(sorted(confused.items(), key=lambda entry: -entry[1])),
    }


def degraded(reader: Any, scenes: int) -> list[dict[str, Any]]:
    """What is read of pictures that grow worse: how many items are still named, and how many of the names are right."""

    def noisy(deviation: float) -> Degrade:
        return lambda picture, number: degrade.noisy(picture, deviation, key(SEED, "noise", number))

    def wobbled(amplitude: float) -> Degrade:
        return lambda picture, number: degrade.wobbled(picture, amplitude, key(SEED, "wobble", number))

    def blended(share: float) -> Degrade:
        return lambda picture, number: degrade.blended(picture, render(sample_scene(SEED + 1, number)), share)

    def blurred(sigma: float) -> Degrade:
        return lambda picture, number: degrade.blurred(picture, sigma)

    ways: list[tuple[str, Callable[[float], Degrade], tuple[float, ...]]] = [
        ("blur, sigma in pixels", blurred, (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)),
        ("noise, deviation of 255", noisy, (5, 10, 20, 40, 80)),
        ("wobble, pixels", wobbled, (1.0, 2.0, 4.0)),
        ("blend with another scene, share", blended, (0.1, 0.2, 0.3, 0.5)),
    ]
    rows = []
    for name, make, levels in ways:
        for level in levels:
            seen: list[Seen] = []
            sharp: list[tuple[float, float]] = []
            scores: list[float] = []
            for number in range(scenes):
                scene = sample_scene(SEED, number)
                clean = render(scene)
                picture = make(level)(clean, number)
                readings = reader.read(picture)
                seen += seen_in(readings, scene)
                scores += [reading.score for reading in readings]
                sharp += [(sharpness(picture, item.box), sharpness(clean, item.box)) for item in scene.items]
            named = [one for one in seen if one.reading is not None]
            right = [one for one in named if one.reading is not None and one.reading.kind == one.item.kind]
            rows.append(
                {
                    "way": name,
                    "level": level,
                    "items": len(seen),
                    "named": rounded(len(named) / len(seen)),
                    "kind_right_of_named": rounded(len(right) / len(named)) if named else None,
                    "kind_right_of_all": rounded(len(right) / len(seen)),
                    "mean_score_of_all": rounded(sum(one.reading.score for one in named if one.reading) / len(seen)),
                    "readings_without_item": len(scores) - len(named),
                    "relative_sharpness": rounded(relative_sharpness(*zip(*sharp, strict=True))),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Compute all figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--degraded", type=int, default=80, help="scenes for every degree of every degradation")
    arguments = parser.parse_args()

    import json

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from stage.files import write_json
    from stage.instruments.reader import WEIGHTS, load_reader

    began = time.process_time()
    reader = load_reader()
    results: dict[str, Any] = {
        "command": f"benchmarks/stage/instruments/check.py --scenes {arguments.scenes} --degraded {arguments.degraded}",
        "seed": SEED,
        "weights_sha256": json.loads((WEIGHTS / "reader.json").read_text())["sha256"],
        "held_out": held_out(reader, arguments.scenes),
    }
    print(json.dumps(results["held_out"], indent=1), flush=True)
    results["degraded"] = degraded(reader, arguments.degraded)
    results["cpu_seconds"] = round(time.process_time() - began, 1)
    write_json(ROOT / "benchmarks" / "results" / "instruments.json", results)


if __name__ == "__main__":
    main()

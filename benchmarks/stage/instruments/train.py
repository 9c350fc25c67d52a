"""Train the reader on the world's pictures and write its weights; resumes where it was stopped.

    .venv/bin/python -P benchmarks/stage/instruments/train.py [--steps 2100]

About half a second of one CPU core a step. Weights and their card go to `benchmarks/stage/instruments/weights/`.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from stage.instruments.examples import Crops, Maps
    from stage.instruments.networks import Finder, Namer

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

SEED = 7_070_707
# Learning rates of convolutions (Muon) and of all else (AdamW).
MUON_RATE, RATE = 0.01, 3e-3


class Cycle(NamedTuple):
    """Steps `first` to `last` (not included), in which the learning rates fall to zero from this share of their
    greatest. After each cycle the reader is usable.
    """

    first: int
    last: int
    share: float


CYCLES = (Cycle(0, 500, 1.0), Cycle(500, 1300, 0.7), Cycle(1300, 2100, 0.6))
# From this step on there are more items with patterns and accessories, which are learned last, and they count more.
DETAILED_FROM = 550
# Weights of the heads from then on; 1 for the others.
WEIGHTS_OF_DETAILS = {"colour": 1.5, "second": 1.5, "pattern": 1.5, "accessory": 2.0}
# Pictures of a batch that the finder sees; the namer sees crops of all.
FOUND = 12
SAVE_EVERY = 50


def finder_loss(maps: "Tensor", target: "Maps") -> "tuple[Tensor, Tensor]":
    """The penalty-reduced focal loss of the centre map (CenterNet, arXiv:1904.07850, equation 1, alpha 2 and beta 4),
    and the mean distance of the sides over the box's size.

    Args:
        maps: of `Finder`, [B, 5, 32, 32].
        target: `heat` [B, 32, 32] and `sides` [B, 4, 32, 32].
    """
    import torch
    from torch.nn import functional

    logits, heat = maps[:, 0], target.heat
    share = logits.sigmoid()
    centre = heat == heat.amax((1, 2), keepdim=True).clamp(min=0.999)
    positive = -functional.logsigmoid(logits) * (1 - share) ** 2 * centre
    negative = -functional.logsigmoid(-logits) * share**2 * (1 - heat) ** 4
    focal = (positive.sum() + negative[~centre].sum()) / max(1, int(centre.sum()))
    known = ~torch.isnan(target.sides)
    size = (target.sides[:, :2] + target.sides[:, 2:]).repeat(1, 2, 1, 1)
    distance = (maps[:, 1:] - target.sides)[known].abs() / size[known]
    return focal, distance.mean() if len(distance) else distance.sum()


def namer_loss(
    logits: "dict[str, Tensor]", target: "Crops", *, weights: Mapping[str, float]
) -> "tuple[Tensor, Tensor]":
    """Weighted sum of the heads' cross entropies (weight 1 where none is given), and the smooth distance of the
    corrected box in box sizes.
    """
    import torch
    from torch.nn import functional

    named = sum(
        weights.get(name, 1.0) * functional.cross_entropy(logits[name], labels, ignore_index=-1)
        for name, labels in target.labels.items()
    )
    known = ~torch.isnan(target.shift[:, 0])
    box = functional.smooth_l1_loss(logits["box"][known], target.shift[known], beta=0.02)
    return named, box  # type: ignore[return-value]


def share(step: int) -> float:
    """Share of the greatest learning rate at a step: 30 steps of warm-up, then falling linearly within each cycle."""
    first, last, start = next(cycle for cycle in CYCLES if cycle.first <= step < cycle.last)
    return start * min(1.0, (step - first + 1) / 30) * max(0.01, 1 - (step - first) / (last - first))


def train(folder: Path, *, steps: int) -> "tuple[Finder, Namer, list[Any]]":
    """Train from the checkpoint in `folder`, or from nothing, up to step `steps` of `CYCLES`.

    Returns:
        The networks, and the curve: rows of step, centre, sides, names and box loss.
    """
    import torch

    from stage.checkpoint import load_checkpoint, save_checkpoint
    from stage.draws import key
    from stage.instruments.examples import batch, maps_of
    from stage.instruments.networks import Finder, Namer
    from stage.model.muon import build_optimiser

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(SEED, "reader weights"))
        finder, namer = Finder(), Namer()
    modules = {"finder": finder, "namer": namer}
    for module in modules.values():
        module.to("cpu", memory_format=torch.channels_last)
    parameters = [parameter for module in modules.values() for parameter in module.parameters()]
    optimiser = build_optimiser([finder, namer.trunk], [namer.heads], muon_rate=MUON_RATE, rate=RATE, weight_decay=0.01)
    path = folder / "reader.safetensors"
    first, curve = load_checkpoint(path, modules, optimiser)
    began = time.monotonic()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * share(step)
        pictures, scenes, crops = batch(SEED, step, detailed=step >= DETAILED_FROM)
        pictures = pictures[:FOUND].contiguous(memory_format=torch.channels_last)
        focal, distance = finder_loss(finder(pictures), maps_of(scenes[:FOUND]))
        logits = namer(crops.crops.contiguous(memory_format=torch.channels_last))
        weights = WEIGHTS_OF_DETAILS if step >= DETAILED_FROM else {}
        named, box = namer_loss(logits, crops, weights=weights)
        loss = focal + 4 * distance + named + 10 * box
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        if step % 20 == 19:
            parts = [round(part.item(), 4) for part in (focal, distance, named, box)]
            curve.append([step + 1, *parts])
            print(f"{step + 1}/{steps} {parts} {time.monotonic() - began:.0f}s", flush=True)
        if step % SAVE_EVERY == SAVE_EVERY - 1 or step == steps - 1:
            save_checkpoint(path, modules, optimiser, step=step + 1, curve=curve)
    return finder, namer, curve


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=CYCLES[-1].last)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "stage" / "reader", help="of the checkpoint")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from stage.files import write_json
    from stage.instruments.examples import FRAMES
    from stage.instruments.reader import WEIGHTS, export

    finder, namer, curve = train(arguments.folder, steps=arguments.steps)
    card = {
        "trained_by": f"benchmarks/stage/instruments/train.py --steps {arguments.steps}",
        "seed": SEED,
        "pictures": arguments.steps * FRAMES,
        "parameters": sum(value.numel() for module in (finder, namer) for value in module.parameters()),
        "torch": torch.__version__,
    }
    export(WEIGHTS, finder, namer, card=card)
    write_json(WEIGHTS / "curve.json", {"columns": ["step", "centre", "sides", "names", "box"], "rows": curve})


if __name__ == "__main__":
    main()

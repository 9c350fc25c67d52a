"""What the reader learns from: batches of rendered pictures, each a pure function of (seed, step)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stage.draws import Draws
from stage.instruments.degrade import as_drawn, ruined
from stage.instruments.metrics.matching import iou
from stage.instruments.networks import HEADS, NOTHING, SIDE, STRIDE, cut, signal
from stage.world.scene import Item, Rates, Scene, render, sample_scene

FRAMES = 24
# Pictures in a batch that also come ruined, and boxes of a batch that hold no entity.
_RUINED, _EMPTY = 4, 10
_JITTER = 0.12
# One picture in so many is a close-up.
_PORTRAIT = 8
# More scenes with several items than the world has: every item is an example.
_RATES = Rates(counts=(0.04, 0.26, 0.35, 0.35))
_DETAILED = Rates(counts=_RATES.counts, creature=0.68, pattern=0.6, accessory=0.8)
# Kinds that look the same from both sides.
TWO_SIDED = ("lamp",)

CELLS = SIDE // STRIDE


class Crops(NamedTuple):
    """Namer's examples: `crops` [N, 3, 48, 48], `labels` {head: int64 [N]} (-1: no loss), `shift` [N, 4] from the cut
    box to the true one in its widths and heights (NaN: no loss).
    """

    crops: Tensor
    labels: dict[str, Tensor]
    shift: Tensor


class Maps(NamedTuple):
    """Finder's targets: `heat` [B, 32, 32] (1 at centres), `sides` [B, 4, 32, 32] in cells (NaN: no loss)."""

    heat: Tensor
    sides: Tensor


def maps_of(scenes: list[Scene]) -> Maps:
    """Targets of the finder: a Gaussian at each centre (CenterNet, arXiv:1904.07850, section 3), and the distances to
    the sides for the 3 x 3 cells around it.
    """
    heat, sides = np.zeros((len(scenes), CELLS, CELLS)), np.full((len(scenes), 4, CELLS, CELLS), np.nan)
    y, x = np.mgrid[:CELLS, :CELLS] + 0.5
    for number, scene in enumerate(scenes):
        for item in scene.items:
            x0, y0, x1, y1 = (value * CELLS for value in item.box)
            column, row = (min(CELLS - 1, int(value)) for value in ((x0 + x1) / 2, (y0 + y1) / 2))
            spread = max(0.6, 0.09 * min(x1 - x0, y1 - y0))
            bump = np.exp(-(np.square(x - column - 0.5) + np.square(y - row - 0.5)) / (2 * spread**2))
            heat[number] = np.maximum(heat[number], bump)
            near = (abs(x - column - 0.5) <= 1) & (abs(y - row - 0.5) <= 1)
            near &= (x > x0) & (x < x1) & (y > y0) & (y < y1)
            sides[number][:, near] = np.stack([x - x0, y - y0, x1 - x, y1 - y])[:, near]
    return Maps(torch.from_numpy(heat).float(), torch.from_numpy(sides).float())


def _labels(item: Item) -> dict[str, int]:
    labels = {name: values.index(getattr(item, name)) for name, values in HEADS.items()}
    return labels | {"facing": -1} if item.kind in TWO_SIDED else labels


def batch(seed: int, step: int, *, detailed: bool = False) -> tuple[Tensor, list[Scene], Crops]:
    """Batch `step`: the pictures float32 [24, 3, 128, 128] in -1..1, their scenes, and the crops: every item once, its
    box shifted at random, boxes without an item, and items of ruined pictures. With `detailed` more of the items have
    patterns and accessories.
    """
    rates = _DETAILED if detailed else _RATES
    scenes = [sample_scene(seed, step * FRAMES + i, rates=rates, portrait=i % _PORTRAIT == 0) for i in range(FRAMES)]
    clean = [render(scene, side=SIDE) for scene in scenes]
    pictures = [as_drawn(picture, seed, step, i) for i, picture in enumerate(clean)]
    pictures += [ruined(clean[i], clean[(i + 1) % FRAMES], seed, step, i) for i in range(_RUINED)]
    nothing = dict.fromkeys(HEADS, -1) | {"kind": HEADS["kind"].index(NOTHING)}
    index, boxes, shifts, labels = [], [], [], []

    def add(picture: int, box: list[float], shift: list[float], label: dict[str, int]) -> None:
        index.append(picture)
        boxes.append(box)
        shifts.append(shift)
        labels.append(label)

    for i in range(len(pictures)):
        for item in scenes[i % FRAMES].items:
            draws = Draws(seed, "crop", step, i, item.z)
            size = (item.box[2] - item.box[0], item.box[3] - item.box[1]) * 2
            box = [value + side * draws.uniform(-_JITTER, _JITTER) for value, side in zip(item.box, size, strict=True)]
            cut_size = (box[2] - box[0], box[3] - box[1]) * 2
            shift = [(a - b) / side for a, b, side in zip(item.box, box, cut_size, strict=True)]
            if i < FRAMES:
                add(i, box, shift, _labels(item))
            else:
                add(i, box, [float("nan")] * 4, nothing)
    draws = Draws(seed, "empty boxes", step)
    for _ in range(_EMPTY):
        picture, width, height = draws.integer(FRAMES), draws.uniform(0.12, 0.6), draws.uniform(0.12, 0.6)
        x, y = draws.uniform(0, 1 - width), draws.uniform(0, 1 - height)
        box = (x, y, x + width, y + height)
        if all(iou(box, item.box) < 0.3 for item in scenes[picture].items):
            add(picture, list(box), [float("nan")] * 4, nothing)
    tensors = signal(torch.from_numpy(np.stack(pictures)))
    crops = cut(tensors, torch.tensor(index), torch.tensor(boxes))
    stacked = {name: torch.tensor([label[name] for label in labels]) for name in HEADS}
    return tensors[:FRAMES], scenes, Crops(crops, stacked, torch.tensor(shifts))

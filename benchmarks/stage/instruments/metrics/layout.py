"""How well a picture keeps to its layout: success, mean IoU, accuracy at k."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stage.instruments.colours import SUCCESS, colour_share
from stage.instruments.metrics.matching import match
from stage.instruments.reading import Reading
from stage.world.scene import Item

IOU = 0.5
# 0, 0.1, ..., 1: the thresholds of accuracy@k.
STEPS = tuple(step / 10 for step in range(11))


class Placement(NamedTuple):
    """One item of a layout: `iou` with the reading of its kind that shows it (None when its kind is nowhere), and the
    share of that reading's area that shows the item's colour (`stage.instruments.colours.colour_share`).
    """

    iou: float | None
    colour_share: float

    @property
    def success(self) -> bool:
        """Success@0.5 of MIG (MIGC, arXiv:2402.05408): the right kind, IoU of at least 0.5, and at least
        20 % of its area in the right colour. MIG takes the area from a segmentation; here it is what shows any body
        colour in the read box, at least a quarter of it.
        """
        return self.iou is not None and self.iou >= IOU and self.colour_share >= SUCCESS


def placements(picture: NDArray[np.uint8], readings: Sequence[Reading], items: Sequence[Item]) -> tuple[Placement, ...]:
    """The placement of every item in the picture (uint8 [H, W, 3]), from the readings of that picture."""
    pairs = {pair.item: pair for pair in match(readings, items, least=0.0, same_kind=True)}
    return tuple(
        Placement(pairs[i].iou, colour_share(picture, readings[pairs[i].reading].box, item.colour))
        if i in pairs
        else Placement(None, 0.0)
        for i, item in enumerate(items)
    )


def success_rate(all_placements: Sequence[Placement]) -> float:
    """Share of items with success@0.5 (see `Placement.success`), the instance success rate of MIG."""
    return float(np.mean([placement.success for placement in all_placements]))


def mean_iou(all_placements: Sequence[Placement]) -> float:
    """mIoU of MIG (MIGC, arXiv:2402.05408): mean over the items of their IoU, 0 for every item without
    success.
    """
    return float(np.mean([(placement.iou or 0.0) * placement.success for placement in all_placements]))


def accuracy_at(all_placements: Sequence[Placement], k: float) -> float:
    """accuracy@k of 7Bench (arXiv:2508.12919): share of items whose kind was found with an IoU of at least k."""
    return float(np.mean([placement.iou is not None and placement.iou >= k for placement in all_placements]))


def accuracy_area(all_placements: Sequence[Placement]) -> float:
    """Layout score of 7Bench (arXiv:2508.12919) and C-Bench: area under accuracy@k for k = 0, 0.1, ..., 1, by
    trapezoids.
    """
    return float(np.trapezoid([accuracy_at(all_placements, k) for k in STEPS], STEPS))

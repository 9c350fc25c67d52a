"""Locality of an edit: what changes outside the boxes that were edited."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stage.instruments.colours import box_mask
from stage.instruments.reading import Box, Reading


class Locality(NamedTuple):
    """Mean absolute change of pixel values in 0..1 `outside` and `inside` the edited boxes; NaN for no pixels."""

    outside: float
    inside: float


def edit_locality(before: NDArray[np.uint8], after: NDArray[np.uint8], boxes: Iterable[Box]) -> Locality:
    """Mean |dx| outside (and inside) the union of the edited item's old and new box.

    As the background preservation of instruction editing (PnP Inversion, arXiv:2310.01506: the error in
    the part that was not to change), with the plan's boxes as the mask.

    Args:
        before, after: uint8 [H, W, 3], drawn from the plans before and after the edit.
        boxes: the old and the new box of what was edited, one of them for an item removed or added.
    """
    change = np.abs(before.astype(np.int16) - after.astype(np.int16)).mean(-1) / 255
    edited = np.zeros(change.shape, bool)
    for box in boxes:
        edited |= box_mask(box, *change.shape)
    outside, inside = (float(change[mask].mean()) if mask.any() else float("nan") for mask in (~edited, edited))
    return Locality(outside, inside)


def identities_changed(before: Sequence[Reading | None], after: Sequence[Reading | None]) -> float:
    """Share of the entities that were not edited, and found before, whose identity code is another one or gone after
    the edit; NaN when none was found before.
    """
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a is not None]
    return sum(b is None or a.code != b.code for a, b in pairs) / len(pairs) if pairs else float("nan")

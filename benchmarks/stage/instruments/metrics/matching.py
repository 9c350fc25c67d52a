"""Which reading shows which item: the one assignment all metrics share."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stage.instruments.reading import Box, Reading
from stage.world.scene import Item

# Dynamic programming over the subsets of the smaller side.
_MOST = 16
# Worth of a pair beside its IoU: of two assignments with the same IoU, the one with more pairs wins.
_PAIR = 1e-6


class Pair(NamedTuple):
    """Item `item` (an index) is shown by reading `reading` (an index), their boxes with this IoU."""

    item: int
    reading: int
    iou: float


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), 0..1; 0 when both are empty."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)) - shared
    return shared / union if union > 0 else 0.0


def assign(worth: NDArray[np.float64], allowed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The exact assignment of rows to columns with the greatest total worth (the problem of Kuhn's Hungarian method,
    doi:10.1002/nav.3800020109), by dynamic programming over the subsets of the smaller side.

    Args:
        worth: float64 [R, C], not negative.
        allowed: bool [R, C]; pairs that may be made. A row or column may stay without partner.

    Returns:
        (row, column) pairs by row; of equal totals, the one whose first rows have the lowest columns.

    Raises:
        ValueError: both sides have more than 16 members.
    """
    rows, columns = worth.shape
    if min(rows, columns) > _MOST:
        raise ValueError(
            f"assign: {rows} rows and {columns} columns; the smaller side may have at most {_MOST}: drop the readings "
            "with the lowest scores first"
        )
    if columns > rows:
        return sorted((row, column) for column, row in assign(worth.T, allowed.T))
    # best[s]: greatest worth of the rows seen so far with the columns of s taken, and the pairs that give it.
    best: dict[int, tuple[float, tuple[tuple[int, int], ...]]] = {0: (0.0, ())}
    for row in range(rows):
        following = dict(best)
        for taken, (total, pairs) in best.items():
            for column in range(columns):
                if allowed[row, column] and not taken >> column & 1:
                    subset, value = taken | 1 << column, total + float(worth[row, column])
                    if subset not in following or value > following[subset][0]:
                        following[subset] = (value, (*pairs, (row, column)))
        best = following
    return list(max(best.values(), key=lambda state: state[0])[1])


def match(
    readings: Sequence[Reading], items: Sequence[Item], *, least: float = 0.5, same_kind: bool = False
) -> tuple[Pair, ...]:
    """Assign readings to items, one to one, with the greatest total IoU.

    Args:
        least: pairs with a lower IoU are not made; 0 also pairs boxes that do not touch.
        same_kind: only readings of the item's kind may show it.

    Returns:
        The pairs by item; items and readings without partner are in none.
    """
    overlaps = np.array([[iou(item.box, reading.box) for reading in readings] for item in items])
    overlaps = overlaps.reshape(len(items), len(readings))
    allowed = overlaps >= least
    if same_kind:
        kinds = np.array([[item.kind == reading.kind for reading in readings] for item in items], dtype=bool)
        allowed &= kinds.reshape(allowed.shape)
    return tuple(Pair(i, r, float(overlaps[i, r])) for i, r in assign(overlaps + _PAIR, allowed))


def shown(readings: Sequence[Reading], items: Sequence[Item], *, least: float = 0.5) -> tuple[Reading | None, ...]:
    """For every item the reading in its place, of whatever kind, or None."""
    found = {pair.item: readings[pair.reading] for pair in match(readings, items, least=least)}
    return tuple(found.get(index) for index in range(len(items)))

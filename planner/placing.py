"""Boxes placed one by one, for relations that columns side by side cannot satisfy: three on top of each other, a ball
above somebody in front of a tree."""

from collections.abc import Callable, Sequence

from raccord.planner.scene import GRID

Box = tuple[int, int, int, int]
Size = tuple[int, int]

# Boxes looked at before the search gives up.
_MOST = 1500
# Rows by which what stands behind, or above, is raised at first.
_RAISED = (5, 2)


def place_one_by_one(
    sizes: Sequence[Size],
    needs: Sequence[tuple[int, int, str]],
    fits: Callable[[dict[int, Box], int], bool],
    ground: int,
) -> list[Box] | None:
    """Depth-first search for boxes of the given sizes; None where it finds none within a fixed number of steps.

    Args:
        sizes: (width, height) in cells of each item.
        needs: (upper or rear item, lower or front item, "above" or "behind"): the second is placed before the first.
        fits: whether the boxes placed so far are without a fault that the item placed last has part in.
        ground: row on which an item without such a need stands.
    """
    order = _order(len(sizes), needs)
    if order is None:
        return None
    left = [_MOST]

    def found(placed: dict[int, Box]) -> dict[int, Box] | None:
        if len(placed) == len(sizes):
            return placed
        item = order[len(placed)]
        for box in _candidates(item, sizes, needs, placed, ground):
            left[0] -= 1
            if left[0] < 0:
                return None
            more = {**placed, item: box}
            done = found(more) if fits(more, item) else None
            if done is not None:
                return done
        return None

    boxes = found({})
    return None if boxes is None else [boxes[item] for item in range(len(sizes))]


def _order(count: int, needs: Sequence[tuple[int, int, str]]) -> list[int] | None:
    """Items with what is below or in front of each before it; None if the needs go round in a circle."""
    order: list[int] = []
    while len(order) < count:
        ready = [
            item
            for item in range(count)
            if item not in order and all(other in order for upper, other, _ in needs if upper == item)
        ]
        if not ready:
            return None
        # Whoever others need comes first, so that a fault shows early.
        order.append(max(ready, key=lambda item: (sum(other == item for _, other, _ in needs), -item)))
    return order


def _candidates(
    item: int, sizes: Sequence[Size], needs: Sequence[tuple[int, int, str]], placed: dict[int, Box], ground: int
) -> list[Box]:
    """Boxes for an item, best first: near its turn from left to right, or near what it stands behind or above."""
    width, height = sizes[item]
    below = [(placed[other], how) for upper, other, how in needs if upper == item]
    middle = (2 * item + 1) * GRID / (2 * len(sizes))
    feet = [ground]
    if below:
        middle = sum(box[0] + box[2] / 2 for box, _ in below) / len(below)
        above = [box[1] - 1 for box, how in below if how == "above"]
        behind = [box[1] + box[3] for box, how in below if how == "behind"]
        feet = [min(above)] if above else [min(behind) - raised for raised in _RAISED]
    columns = sorted(range(GRID - width + 1), key=lambda column: (abs(column + width / 2 - middle), column))
    return [(column, row - height, width, height) for row in feet if row >= height for column in columns]

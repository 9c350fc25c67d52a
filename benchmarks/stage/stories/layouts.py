"""Where the items of a story's frame stand: the layout a careful person would draw, and the careless one a first
language model learns."""

import functools
from collections.abc import Sequence

from raccord.planner.geometry import Box, Constraint, arrange, inside
from raccord.planner.scene import GRID
from stage.draws import Draws
from stage.world.scene import natural_aspect
from stage.world.vocabulary import CREATURES

# Longer side of an item in cells, by number of items in the frame, and factors for kinds that are larger or smaller
# than a creature.
_LONGER = {1: 17, 2: 14, 3: 11}
_FACTORS = {"house": 1.15, "tree": 1.15, "ball": 0.75}
# How far a careless box strays, in cells, and how wrong its sides are.
_STRAY = 3.0
_SLOPPY_SIDES = (0.8, 1.25)


@functools.cache
def natural_size(kind: str, *, accessory: str, sitting: bool, count: int) -> tuple[int, int]:
    """(width, height) in cells of an item in a frame with `count` items, close to the proportions it is drawn with."""
    aspect = natural_aspect(kind, "sitting" if sitting and kind in CREATURES else "standing", accessory)
    longer = _LONGER.get(count, 9) * _FACTORS.get(kind, 1.0)
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    return round(width), round(height)


def careful(sizes: Sequence[tuple[int, int]], constraints: Sequence[Constraint]) -> list[Box]:
    """Boxes that satisfy the relations and do not overlap."""
    boxes = arrange(sizes, constraints)
    if boxes is None:
        raise ValueError(
            f"constraints: must fit into one frame, got sizes {list(sizes)} and constraints {list(constraints)}"
        )
    return boxes


def careless(sizes: Sequence[tuple[int, int]], draws: Draws) -> list[Box]:
    """Boxes that ignore every relation, with wrong sides and places, as in unchecked training data."""
    boxes = []
    for left, top, width, height in careful(sizes, ()):
        width, height = round(width * draws.uniform(*_SLOPPY_SIDES)), round(height * draws.uniform(*_SLOPPY_SIDES))
        left, top = round(left + draws.uniform(-_STRAY, _STRAY)), round(top + draws.uniform(-_STRAY, _STRAY))
        boxes.append(inside((min(max(left, 0), GRID), min(max(top, 0), GRID), width, height)))
    return boxes

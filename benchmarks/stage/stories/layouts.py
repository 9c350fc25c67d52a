"""Where the items of a story's frame stand: the layout a careful person would draw, and the careless one a first
language model learns."""

from collections.abc import Sequence

from raccord.planner.geometry import Box, Constraint, arrange, inside
from raccord.planner.scene import GRID
from stage.draws import Draws
from stage.world.scene import natural_aspect
from stage.world.vocabulary import ACTIONS, CREATURES

# Longer side of an item in cells, by number of items in the frame, and factors for sizes.
_LONGER = {1: 18, 2: 16, 3: 14, 4: 12}
_FACTORS = {"small": 0.65, "large": 1.25}
# How far a careless box strays, in cells, and how wrong its sides are.
_STRAY = 3.0
_SLOPPY_SIDES = (0.8, 1.25)
_POSES = {action: pose for pose, actions in ACTIONS.items() for action in actions}


def natural_size(kind: str, *, accessory: str, size: str | None, action: str, count: int) -> tuple[int, int]:
    """(width, height) in cells of an item in a frame with `count` items, close to the proportions it is drawn with."""
    aspect = natural_aspect(kind, _POSES[action] if kind in CREATURES else "standing", accessory)
    longer = _LONGER.get(count, 10) * _FACTORS.get(size or "medium", 1.0)
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

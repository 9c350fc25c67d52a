"""Framing: items get boxes that a diffusion model can fill, as far as the frame and their relations leave room.

A diffusion model draws what has enough cells; a box of a quarter of the frame is four cells wide on a 16 x 16 latent.
`framed` enlarges small items. `staged` serves a world whose proportions are known: it keeps what the boxes say of
order, shot size and rows, and gives everything the sides it is drawn with.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from raccord.planner.geometry import Box, Constraint, arrange, faults, inside
from raccord.planner.looks import card_looks
from raccord.planner.repair import Repaired
from raccord.planner.scene import GRID, Scene, Shot
from raccord.planner.world import World

# Cells of an item's longer side: below the first it counts as small, the second is what it is given.
_SMALL, _WANTED = 13, 17
# The same by number of items in the frame, and factors for looks that say "small" or "large".
_LONGER = {1: 18, 2: 16, 3: 14, 4: 12}
_LEAST_LONGER = 10
_FACTORS = {"small": 0.65, "large": 1.25}
# How close the camera is, as a factor of all sides (Arijon, Grammar of the Film Language, 1976, names the sizes).
SHOT_SIZES = {"wide": 0.75, "medium": 1.0, "close": 1.3}
# So many items can also stand in two rows.
_ROWS_FROM = 4
# Rows at which what floats may have its upper edge, best first.
_ALOFT = (3, 6, 9)


def framed(scene: Scene) -> Repaired:
    """The scene with small items enlarged, and a sentence for each frame that was changed.

    A frame keeps its left-to-right order and its relations. It is left as it is when nothing in it is small, or when
    there is no room: no item ever gets smaller.
    """
    notes: list[str] = []
    shots = []
    for number, shot in enumerate(scene.frames, start=1):
        larger = _larger(shot)
        if larger is not None:
            shot = shot.model_copy(
                update={"items": tuple(i.model_copy(update={"box": larger[i.entity]}) for i in shot.items)}
            )
            notes.append(f"frame {number}: enlarged what stands in it to fill the picture")
        shots.append(shot)
    return Repaired(scene.model_copy(update={"frames": tuple(shots)}), tuple(notes))


def _larger(shot: Shot) -> dict[str, Box] | None:
    """Entity -> larger box; None when the frame stays as it is."""
    items = sorted(shot.items, key=lambda item: 2 * item.box[0] + item.box[2])
    if all(max(item.box[2:]) >= _SMALL for item in items):
        return None
    sizes = []
    for item in items:
        _, _, width, height = item.box
        growth = max(1.0, _WANTED / max(width, height))
        sizes.append((round(width * growth), round(height * growth)))
    if len(items) == 1:
        left, top, width, height = items[0].box
        centre, feet = left + width / 2, top + height
        return {items[0].entity: inside((round(centre - sizes[0][0] / 2), feet - sizes[0][1], *sizes[0]))}
    position = {item.entity: index for index, item in enumerate(items)}
    constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in shot.relations]
    boxes = arrange(sizes, constraints)
    if boxes is None or any(b[2] < i.box[2] or b[3] < i.box[3] for b, i in zip(boxes, items, strict=True)):
        return None
    return {item.entity: box for item, box in zip(items, boxes, strict=True)}


class Arrangement(NamedTuple):
    """Boxes of a frame's items, in the order of the items, without a fault. `size` is one of `SHOT_SIZES`; in two
    `rows` the rear items stand higher up."""

    size: str
    rows: int
    boxes: tuple[Box, ...]


def staged(
    scene: Scene,
    world: World,
    *,
    written: Scene | None = None,
    shots: Sequence[str | None] = (),
    usual: bool = False,
) -> Scene:
    """The scene with the natural proportions of its world: every frame gets that of its `arrangements` which is nearest
    to the boxes the model chose.

    Args:
        scene: a repaired scene.
        written: what the model wrote before its boxes were repaired; None where that is `scene`.
        shots: how close the story wants each frame (`raccord.planner.reading.Reading.shots`).
        usual: the model's boxes say only who stands left of whom; frames that the story does not want closer or wider
            are shown medium, in one row.

    The model decides who stands left of whom, how close the camera is and whether a crowd stands in two rows; every
    relation of a repaired scene holds and nothing overlaps more than before. A frame whose relations leave no room for
    any arrangement stays as it is.
    """
    cards = {being.name: being.card for being in scene.entities}
    frames = zip(scene.frames, (written or scene).frames, shots or [None] * len(scene.frames), strict=True)
    return scene.model_copy(update={"frames": tuple(_staged(*frame, cards, world, usual) for frame in frames)})


def arrangements(shot: Shot, cards: Mapping[str, str], world: World) -> list[Arrangement]:
    """What a frame can look like: its items in their left-to-right order, or the one their relations ask for, with the
    proportions of their world and on the ground; what floats hangs in the air.

    Args:
        shot: a frame of a repaired scene.
        cards: being -> looks.
    """
    left_to_right = sorted(range(len(shot.items)), key=lambda i: 2 * shot.items[i].box[0] + shot.items[i].box[2])
    items = [shot.items[i] for i in left_to_right]
    position = {item.entity: index for index, item in enumerate(items)}
    constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in shot.relations]
    floating = [n for n, item in enumerate(items) if card_looks(cards[item.entity], world)[0] in world.floating]
    found = []
    for size, rows in [*((size, 1) for size in SHOT_SIZES), *([("medium", 2)] if len(items) >= _ROWS_FROM else [])]:
        sizes = [natural_size(cards[i.entity], i.action, len(items), world, SHOT_SIZES[size]) for i in items]
        boxes = arrange(sizes, constraints, rows=rows)
        if boxes is None:
            continue
        for number in floating:
            boxes = _aloft(boxes, number, constraints)
        placed = dict(zip(left_to_right, boxes, strict=True))
        found.append(Arrangement(size, rows, tuple(placed[i] for i in range(len(items)))))
    return found


def natural_size(card: str, action: str, count: int, world: World, scale: float = 1.0) -> tuple[int, int]:
    """(width, height) in cells of an entity with these looks among `count` items; `scale` is one of `SHOT_SIZES`."""
    kind, accessory, size = card_looks(card, world)
    aspect = world.aspects[f"{kind}, {world.poses[action]}, {accessory}"]
    longer = _LONGER.get(count, _LEAST_LONGER) * _FACTORS.get(size, 1.0) * world.scales.get(kind, 1.0) * scale
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    return round(width), round(height)


def _staged(shot: Shot, written: Shot, size: str | None, cards: Mapping[str, str], world: World, usual: bool) -> Shot:
    found = arrangements(shot, cards, world)
    if size or usual:
        found = [one for one in found if (one.size, one.rows) == (size or "medium", 1)] or found
    if not found:
        return shot
    own = {item.entity: inside(item.box) for item in written.items}
    chosen = [own.get(item.entity, item.box) for item in shot.items]

    def distance(arrangement: Arrangement) -> int:
        # Columns are no part of it: the order of the items has decided them.
        return sum(
            abs(box[2] - own[2]) + abs(box[3] - own[3]) + abs(box[1] + box[3] - own[1] - own[3])
            for box, own in zip(arrangement.boxes, chosen, strict=True)
        )

    nearest = min(found, key=distance)
    if nearest.rows == 1:
        # A model that knows how large is not always right about how wide and how high.
        area = sum(box[2] * box[3] for box in chosen)
        one_row = [one for one in found if one.rows == 1]
        nearest = min(one_row, key=lambda one: abs(math.log(area / sum(box[2] * box[3] for box in one.boxes))))
    boxes = nearest.boxes
    items = tuple(i.model_copy(update={"box": box}) for i, box in zip(shot.items, boxes, strict=True))
    return shot.model_copy(update={"items": items})


def _aloft(boxes: list[Box], number: int, constraints: list[Constraint]) -> list[Box]:
    """The boxes with one of them as high as its relations let it be, beside its column if there is no room above."""
    left, top, width, height = boxes[number]
    columns = sorted(range(GRID - width + 1), key=lambda column: (abs(column - left), column))
    for row, column in itertools.product(_ALOFT, columns):
        raised = [*boxes[:number], (column, min(top, row), width, height), *boxes[number + 1 :]]
        if faults(raised, constraints) == ([], []):
            return raised
    return boxes

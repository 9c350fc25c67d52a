"""Framing: items get boxes that a diffusion model can fill, as far as the frame and their relations leave room.

A diffusion model draws what has enough cells; a box of a quarter of the frame is four cells wide on a 16 x 16 latent.
`framed` enlarges small items. `staged` serves a world whose proportions are known: it keeps who stands left of whom and
gives everything the sides it is drawn with.
"""

from raccord.planner.geometry import Box, Constraint, arrange, faults, inside
from raccord.planner.looks import card_looks
from raccord.planner.repair import Repaired
from raccord.planner.scene import GRID, Placed, Scene, Shot
from raccord.planner.world import World

# Cells of an item's longer side: below the first it counts as small, the second is what it is given.
_SMALL, _WANTED = 13, 17
# The same by number of items in the frame, and factors for looks that say "small" or "large".
_LONGER = {1: 18, 2: 16, 3: 14, 4: 12}
_LEAST_LONGER = 10
_FACTORS = {"small": 0.65, "large": 1.25}
# Rows at which what floats may have its upper edge, best first, and columns at which one item alone has its middle.
_ALOFT = (3, 6, 9)
_MIDDLES = (11, 16, 21)


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


def staged(scene: Scene, world: World) -> Scene:
    """The scene with the natural proportions of its world, on one ground line, in the left-to-right order the model
    chose or its relations ask for; what floats hangs in the air.

    Every relation of a repaired scene holds and nothing overlaps more than before. A frame whose relations leave no
    room for that stays as it is.
    """
    cards = {being.name: being.card for being in scene.entities}
    return scene.model_copy(update={"frames": tuple(_staged(shot, cards, world) for shot in scene.frames)})


def natural_size(card: str, action: str, count: int, world: World) -> tuple[int, int]:
    """(width, height) in cells of an entity with these looks among `count` items."""
    kind, accessory, size = card_looks(card, world)
    aspect = world.aspects[f"{kind}, {world.poses[action]}, {accessory}"]
    longer = _LONGER.get(count, _LEAST_LONGER) * _FACTORS.get(size, 1.0) * world.scales.get(kind, 1.0)
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    return round(width), round(height)


def _staged(shot: Shot, cards: dict[str, str], world: World) -> Shot:
    items = sorted(shot.items, key=lambda item: 2 * item.box[0] + item.box[2])
    sizes = [natural_size(cards[item.entity], item.action, len(items), world) for item in items]
    if len(items) == 1:
        boxes = [_alone(items[0], sizes[0])]
        constraints = []
    else:
        position = {item.entity: index for index, item in enumerate(items)}
        constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in shot.relations]
        boxes = arrange(sizes, constraints)
    if boxes is None:
        return shot
    for number, item in enumerate(items):
        if card_looks(cards[item.entity], world)[0] in world.floating:
            boxes = _aloft(boxes, number, constraints)
    placed = {item.entity: box for item, box in zip(items, boxes, strict=True)}
    return shot.model_copy(
        update={"items": tuple(item.model_copy(update={"box": placed[item.entity]}) for item in shot.items)}
    )


def _alone(item: Placed, size: tuple[int, int]) -> Box:
    left, _, width, _ = item.box
    middle = min(_MIDDLES, key=lambda column: abs(column - left - width / 2))
    return inside((max(0, round(middle - size[0] / 2)), GRID - 2 - size[1], *size))


def _aloft(boxes: list[Box], number: int, constraints: list[Constraint]) -> list[Box]:
    """The boxes with one of them as high as its relations let it be."""
    for row in _ALOFT:
        left, top, width, height = boxes[number]
        raised = [*boxes[:number], (left, min(top, row), width, height), *boxes[number + 1 :]]
        if faults(raised, constraints) == ([], []):
            return raised
    return boxes

"""Framing: small items of a frame are made larger together, as far as the frame and their relations leave room.

A diffusion model draws what has enough cells; a box of a quarter of the frame is four cells wide on a 16 x 16 latent.
"""

from raccord.planner.geometry import Box, Constraint, arrange, inside
from raccord.planner.repair import Repaired
from raccord.planner.scene import Scene, Shot

# Cells of an item's longer side: below the first it counts as small, the second is what it is given.
_SMALL, _WANTED = 13, 17


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

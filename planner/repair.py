"""Deterministic repair of a scene: what a model got wrong about who is where is put right, and every change is told."""

from collections.abc import Sequence
from typing import NamedTuple

from raccord.planner.geometry import Box, Constraint, arrange, faults, inside
from raccord.planner.reading import Reading
from raccord.planner.scene import MAX_ITEMS, Being, Placed, Relation, Scene, Shot

_DEFAULT_BOX: Box = (10, 14, 12, 16)


class Repaired(NamedTuple):
    """A scene without faults, and a sentence for each thing that was changed."""

    scene: Scene
    repairs: tuple[str, ...]


def repair(scene: Scene, *, reading: Reading | None = None) -> Repaired:
    """Put right what can be decided without asking.

    Afterwards: every being is declared once and seen in at least one frame; an item stands
    once in its frame, inside
    it, at least 6 x 8 cells large; every relation is between two items of its frame and holds; boxes overlap only as
    far as a relation in
    depth explains. A scene that is so already is returned unchanged.

    Args:
        scene: what the model wrote, with the names of the story.
        reading: the story, if it was read for a closed world; it tells where a forgotten being belongs.
    """
    notes: list[str] = []
    beings = _declared_once(scene.entities, notes)
    names = [being.name for being in beings]
    shots = [_known(shot, number, names, notes) for number, shot in enumerate(scene.frames, start=1)]
    for number, shot in enumerate(shots, start=1):
        if not shot.items:
            shots[number - 1] = _populated(shot, number, shots[number - 2] if number > 1 else None, names[0], notes)
    _show_missing(shots, names, reading, notes)
    shots = [_geometry(shot, number, notes) for number, shot in enumerate(shots, start=1)]
    return Repaired(Scene(entities=tuple(beings), frames=tuple(shots)), tuple(notes))


def _declared_once(beings: Sequence[Being], notes: list[str]) -> list[Being]:
    kept: dict[str, Being] = {}
    for being in beings:
        if being.name in kept:
            notes.append(f'"{being.name}" was declared twice; kept the looks "{kept[being.name].card}"')
        kept.setdefault(being.name, being)
    return list(kept.values())


def _known(shot: Shot, number: int, names: Sequence[str], notes: list[str]) -> Shot:
    """The shot without undeclared, repeated or pointless parts."""
    items: dict[str, Placed] = {}
    for item in shot.items:
        if item.entity not in names:
            notes.append(f'frame {number}: left out "{item.entity}", whose looks the model did not say')
        elif item.entity in items:
            notes.append(f'frame {number}: "{item.entity}" stood there twice; kept the first')
        else:
            items[item.entity] = item
    relations: list[Relation] = []
    for relation in shot.relations:
        if relation.subject == relation.object or not {relation.subject, relation.object} <= items.keys():
            notes.append(f"frame {number}: dropped {_told(relation)}, since both must be in the frame")
        elif relation in relations:
            notes.append(f"frame {number}: {_told(relation)} was said twice")
        else:
            relations.append(relation)
    if len(items) == len(shot.items) and len(relations) == len(shot.relations):
        return shot
    # model_copy does not validate: a frame may stay without items until `_populated`.
    return shot.model_copy(update={"items": tuple(items.values()), "relations": tuple(relations)})


def _populated(shot: Shot, number: int, previous: Shot | None, first: str, notes: list[str]) -> Shot:
    items = previous.items if previous else (Placed(entity=first, action="standing", box=_DEFAULT_BOX),)
    notes.append(f"frame {number}: nobody was in it; put {_list([item.entity for item in items])} there")
    return shot.model_copy(update={"items": items})


def _show_missing(shots: list[Shot], names: Sequence[str], reading: Reading | None, notes: list[str]) -> None:
    """Put every being that no frame shows into the first frame whose sentence names it, or else the first with room."""
    for name in names:
        if any(item.entity == name for shot in shots for item in shot.items):
            continue
        word = f"#{reading.names.index(name) + 1}" if reading and name in reading.names else name
        named_in = [n for n, sentence in enumerate(reading.sentences) if word in sentence.split()] if reading else []
        for index in (*named_in, *range(len(shots))):
            if index < len(shots) and len(shots[index].items) < MAX_ITEMS:
                items = (*shots[index].items, Placed(entity=name, action="standing", box=_DEFAULT_BOX))
                shots[index] = shots[index].model_copy(update={"items": items})
                notes.append(f'frame {index + 1}: added "{name}", whom no frame showed')
                break


def _geometry(shot: Shot, number: int, notes: list[str]) -> Shot:
    boxes = [inside(item.box) for item in shot.items]
    for item, box in zip(shot.items, boxes, strict=True):
        if box[2:] != item.box[2:]:
            notes.append(f'frame {number}: resized "{item.entity}" to {box[2]} x {box[3]} cells')
        elif box != item.box:
            notes.append(f'frame {number}: moved "{item.entity}" into the frame')
    relations = list(shot.relations)
    position = {item.entity: index for index, item in enumerate(shot.items)}
    while True:
        constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in relations]
        wrong, overlapping = faults(boxes, constraints)
        arranged = arrange([(box[2], box[3]) for box in boxes], constraints) if wrong or overlapping else boxes
        if arranged is not None:
            break
        if not relations:
            raise ValueError(f"frame {number}: {len(boxes)} items do not fit side by side")
        notes.append(f"frame {number}: dropped {_told(relations.pop())}, which the other relations leave no room for")
    entities = [item.entity for item in shot.items]
    notes.extend(f'frame {number}: moved "{entities[c.subject]}" {c.relation} "{entities[c.object]}"' for c in wrong)
    notes.extend(f'frame {number}: separated "{entities[i]}" and "{entities[j]}"' for i, j in overlapping)
    items = tuple(
        item.model_copy(update={"box": box}) if box != item.box else item
        for item, box in zip(shot.items, arranged, strict=True)
    )
    return shot.model_copy(update={"items": items, "relations": tuple(relations)})


def _told(relation: Relation) -> str:
    return f'"{relation.subject}" {relation.relation} "{relation.object}"'


def _list(names: Sequence[str]) -> str:
    return " and ".join(f'"{name}"' for name in names)

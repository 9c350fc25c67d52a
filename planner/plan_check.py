"""A plan looked over before it is drawn: what refuses it and what will not come out well, in words a person uses."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from raccord.planner.geometry import MAX_DEPTH_OVERLAP, MAX_OVERLAP, MIN_HEIGHT, MIN_WIDTH
from raccord.planner.scene import GRID
from raccord.sampler.plan import Entity, Frame, Item, Plan, PlanError, read_plan

# Whoever has so many mends these first.
MAX_WARNINGS = 200
_WORD = re.compile(r"[^\W\d_]{3,}")
# Words of looks that name nothing.
_PASSED_OVER = frozenset("the and with without small large big tiny little young old wearing her his its".split())


class Finding(NamedTuple):
    """Something about a plan: `pointer` (RFC 6901) is for programs, `text` for people."""

    pointer: str
    text: str


class Checked(NamedTuple):
    """A plan that was looked over; it is None exactly if there are errors."""

    plan: Plan | None
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def check_plan(data: bytes) -> Checked:
    """Look over the bytes of a plan file. Never raises for any bytes.

    Errors are what `read_plan` refuses, told with the frame and the entity they are about. Warnings are about a plan
    that can be drawn, but with entities nobody will recognise or see; the first 200 are told.
    """
    try:
        plan = read_plan(data)
    except PlanError as error:
        document = _document(data)
        errors = tuple(
            Finding(p.pointer, f"{_place(p.pointer, document)}: {p.rule} (got {p.value}); {p.hint}")
            for p in error.problems
        )
        return Checked(None, errors, ())
    return Checked(plan, (), tuple(itertools.islice(_warnings(plan, _document(data)), MAX_WARNINGS)))


def _warnings(plan: Plan, document: Any) -> Iterator[Finding]:
    """What will not come out well though the plan is valid; `document` is the file it came from."""
    # A plan sorts its entities and items; pointers are into the file.
    at = {entity["id"]: index for index, entity in enumerate(document.get("entities", ()))}
    names = {entity.id: f'"{entity.name or entity.id}"' for entity in plan.entities}
    seen = {item.entity for frame in plan.frames for item in frame.items}
    first: dict[str, Entity] = {}
    for entity in sorted(plan.entities, key=lambda entity: at[entity.id]):
        pointer = f"/entities/{at[entity.id]}"
        if entity.id not in seen:
            yield Finding(pointer, f"{names[entity.id]} is in no frame, so nobody will see it")
        looks = entity.card.casefold()
        if looks in first and not _counted(entity, first[looks]):
            twin = names[first[looks].id]
            yield Finding(pointer, f"{names[entity.id]} has the looks of {twin}; nobody can tell them apart")
        first.setdefault(looks, entity)
    cards = {entity.id: entity.card for entity in plan.entities}
    for index, frame in enumerate(plan.frames):
        where = f'frame {index + 1} "{frame.id}"'
        placed = {item["entity"]: place for place, item in enumerate(document["frames"][index].get("items", ()))}
        for pointer, text in _of_frame(frame, placed, names, cards):
            yield Finding(f"/frames/{index}{pointer}", f"{where}: {text}")


def _counted(*entities: Entity) -> bool:
    """Whether these are called by what they are ("balloon", "second balloon"), so that there are just several."""
    return all(_words(one.name or one.id) & _words(one.card.partition(" with ")[0].split()[-1]) for one in entities)


def _of_frame(frame: Frame, placed: dict[str, int], names: dict[str, str], cards: dict[str, str]) -> Iterator[Finding]:
    """`placed` tells which of the file's items an entity is."""
    if not frame.items:
        yield Finding("", "nobody is in it")
    spoken, behind = _words(frame.prompt), _words(frame.background)
    for item in frame.items:
        pointer, name = f"/items/{placed[item.entity]}", names[item.entity]
        x0, y0, x1, y1 = item.box
        if x1 - x0 < MIN_WIDTH / GRID or y1 - y0 < MIN_HEIGHT / GRID:
            yield Finding(
                f"{pointer}/box",
                f"the box of {name} is {x1 - x0:.3g} wide and {y1 - y0:.3g} high; below {MIN_WIDTH / GRID:.3g} x "
                f"{MIN_HEIGHT / GRID:.3g} a model has too few cells to draw it",
            )
        called = _words(f"{names[item.entity]} {cards[item.entity]}")
        if not called & spoken:
            yield Finding("/prompt", f"the prompt has no word for {name} ({cards[item.entity]}), who is in the frame")
        if item.weight == 0:
            yield Finding(f"{pointer}/weight", f"{name} has weight 0, so its words are not heard")
        nouns = _words(cards[item.entity].partition(" with ")[0].split()[-1]) | _words(name)
        if nouns & behind:
            told = " ".join(sorted(nouns & behind))
            yield Finding("/background", f'the background names {name} ("{told}"), who then appears twice')
    for a, b in itertools.combinations(frame.items, 2):
        # Items are in the order of their z, so b is the one in front.
        share = _overlap(a, b)
        if b.entity in a.interacts or share <= (MAX_DEPTH_OVERLAP if a.z != b.z else MAX_OVERLAP):
            continue
        text = f"the boxes of {names[a.entity]} and {names[b.entity]} share {share:.0%} of the smaller one"
        text += ", too much of the rear one to recognise it" if a.z != b.z else " at one depth, so they will mix"
        cure = 'draw them apart, or name one in the "interacts" of the other if they touch'
        cure += "" if a.z != b.z else ', or give the one in front a higher "z"'
        yield Finding(f"/items/{placed[b.entity]}/box", f"{text}; {cure}")


def _overlap(a: Item, b: Item) -> float:
    """Shared area as a share of the smaller box, 0..1."""
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    smaller = min((one.box[2] - one.box[0]) * (one.box[3] - one.box[1]) for one in (a, b))
    return max(0.0, width) * max(0.0, height) / smaller


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold()) if word not in _PASSED_OVER}


def _document(data: bytes) -> Any:
    """The file as JSON, for naming what an error is about; None where it cannot be read."""
    try:
        return json.loads(data.decode("utf-8-sig"), strict=False)
    except (ValueError, RecursionError):
        return None


def _place(pointer: str, document: Any) -> str:
    """Where a pointer points, as a person would say it: 'frame 2 "meeting", item 1 (mia), box'."""
    if document is None or not pointer:
        return "the file"
    said: list[str] = []
    here, inside = document, ""
    for step in (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]):
        if isinstance(here, list) and step.isdecimal():
            here = here[int(step)] if int(step) < len(here) else None
            said.append(f"{_SINGULAR.get(inside, inside)} {int(step) + 1}{_called(here)}")
        else:
            here = here.get(step) if isinstance(here, dict) else None
            if step not in _SINGULAR or not isinstance(here, list):
                said.append(_shown(step))
        inside = step
    if inside in _SINGULAR and isinstance(here, list):
        said.append(inside)
    return ", ".join(said)


_SINGULAR = {"entities": "entity", "frames": "frame", "items": "item", "interacts": "interacts"}


def _called(part: Any) -> str:
    name = part.get("id", part.get("entity")) if isinstance(part, dict) else None
    return f' "{_shown(name)}"' if isinstance(name, str) and name else ""


def _shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."

"""From a scene to a plan: whole numbers become boxes, looks and actions become the prompts of frames."""

import re
import unicodedata
from collections.abc import Sequence

from raccord.planner.scene import GRID, Scene, Shot
from raccord.planner.world import World
from raccord.sampler.plan import Entity, Frame, Item, Plan

_ID_LENGTH = 40


def compose(scene: Scene, *, sentences: Sequence[str], world: World | None, seed: int, size: tuple[int, int]) -> Plan:
    """The plan of a repaired scene.

    Ids are made of names and of the sentences' own words, never of positions: a sentence put in between leaves the
    other frames' ids, and so
    their noise, as they were.
    """
    ids = _ids([being.name for being in scene.entities], "entity")
    entity_of = {being.name: identity for being, identity in zip(scene.entities, ids, strict=True)}
    looks = {being.name: being.card for being in scene.entities}
    frame_ids = _ids(sentences[: len(scene.frames)], "frame")
    return Plan(
        title=sentences[0][:120],
        seed=seed,
        size=size,
        entities=tuple(Entity(id=entity_of[being.name], name=being.name, card=being.card) for being in scene.entities),
        frames=tuple(
            Frame(
                id=identity,
                prompt=frame_prompt(shot, looks, world),
                background=world.backgrounds[shot.background] if world else shot.background,
                items=tuple(
                    Item(entity=entity_of[item.entity], box=_fractions(item.box), z=z, action=item.action)
                    for z, item in enumerate(sorted(shot.items, key=lambda item: item.box[1] + item.box[3]))
                ),
            )
            for identity, shot in zip(frame_ids, scene.frames, strict=True)
        ),
    )


def frame_prompt(shot: Shot, looks: dict[str, str], world: World | None) -> str:
    """The whole picture in words, in the grammar of the stage's captions: "a red cat left of a blue dog in the
    snow"."""
    cards = [looks[item.entity] for item in shot.items]
    place = world.places[shot.background] if world else f", {shot.background}"
    if len(shot.items) == 1:
        text = f"{cards[0]} {shot.items[0].action}"
    elif len(shot.items) == 2 and shot.relations and shot.relations[0].relation != "above":
        relation = shot.relations[0]
        text = f"{looks[relation.subject]} {relation.relation} {looks[relation.object]}"
    else:
        text = f"{', '.join(cards[:-1])} and {cards[-1]}"
    return f"{text} {place}".replace(" ,", ",")


def slug(text: str) -> str:
    """Letters a-z, digits and hyphens of a text, at most 40; empty when it has none."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_ID_LENGTH].strip("-")


def _ids(texts: Sequence[str], fallback: str) -> list[str]:
    """Different ids for texts; equal ones are told apart by a number."""
    ids: list[str] = []
    for text in texts:
        base = candidate = slug(text) or fallback
        number = 1
        while candidate in ids:
            number += 1
            candidate = f"{base}-{number}"
        ids.append(candidate)
    return ids


def _fractions(box: tuple[int, int, int, int]) -> tuple[float, float, float, float]:
    left, top, width, height = box
    return left / GRID, top / GRID, (left + width) / GRID, (top + height) / GRID

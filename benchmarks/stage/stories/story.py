"""Short stories of the stage's world with the scene each sentence shows: a pure function of (seed, number).

What a frame shows: whoever its sentence names, and whoever was there before, unless they left or the named ones
moved to another setting. A pronoun is the subject of the sentence before; "they" is everyone present. A sentence
without a setting keeps the last one; a story without any plays in the meadow.
"""

from typing import NamedTuple

from raccord.planner.geometry import Constraint
from raccord.planner.scene import Being, Placed, Relation, Scene, Shot
from stage.draws import Draws
from stage.stories import words
from stage.stories.layouts import careful, careless, natural_size
from stage.stories.teller import Character, Moment, Teller
from stage.world.vocabulary import COLOURS, CREATURES, SYNONYMS, THINGS, card

# Shares of stories with 1, 2, 3, ... sentences, cumulated.
_LENGTHS = (0.05, 0.2, 0.42, 0.85, 0.95, 1.0)
_CAST_SIZES = (0.22, 0.7, 1.0)


class Story(NamedTuple):
    """`text` and the scene it tells; `names` are the proper names in it."""

    text: str
    scene: Scene
    names: tuple[str, ...]


def _cast(draws: Draws, size: int, held_out: bool) -> list[Character]:
    cast: list[Character] = []
    while len(cast) < size:
        creature = draws.chance(0.95 if not cast else 0.68)
        kind = draws.choose(CREATURES if creature else THINGS)
        named = draws.chance(0.8 if creature else 0.1)
        noun = kind if draws.chance(0.8) else draws.choose(SYNONYMS[kind])
        character = Character(
            name=words.name(draws, held_out=held_out) if named else noun,
            named=named,
            kind=kind,
            noun=noun,
            colour=None if draws.chance(0.08) else draws.choose(tuple(COLOURS)),
            accessory=draws.choose(("none", "none", "hat", "scarf")) if creature else "none",
            pronoun=draws.choose(("she", "he", "it")) if creature else "it",
        )
        others = [other.name for other in cast] + [other.noun for other in cast if not (named and other.named)]
        if character.name not in others and noun not in others and character.card not in [other.card for other in cast]:
            cast.append(character)
    return cast


def _share(draws: Draws, limits: tuple[float, ...]) -> int:
    share = draws.uniform()
    return next(n for n, limit in enumerate(limits, start=1) if share < limit)


def _shot(sentence: str, frame: Moment, cast: list[Character], draws: Draws | None) -> Shot:
    sizes = [
        natural_size(
            cast[i].kind,
            accessory=cast[i].accessory,
            sitting=frame.actions[i] in ("sitting", "resting"),
            count=len(frame.present),
        )
        for i in frame.present
    ]
    relations = [frame.relation] if frame.relation else []
    constraints = [Constraint(frame.present.index(a), relation, frame.present.index(b)) for a, relation, b in relations]
    boxes = careful(sizes, constraints) if draws is None else careless(sizes, draws)
    return Shot(
        sentence=sentence,
        background=frame.setting,
        relations=tuple(
            Relation.model_validate({"subject": cast[a].name, "relation": r, "object": cast[b].name})
            for a, r, b in relations
        ),
        items=tuple(
            Placed(entity=cast[i].name, action=frame.actions[i], box=box)
            for i, box in zip(frame.present, boxes, strict=True)
        ),
    )


def story(seed: int, number: int, *, held_out: bool = False, layout: str = "careful", max_sentences: int = 6) -> Story:
    """Story `number` of the world with this seed.

    Args:
        seed, number: what keys every draw.
        held_out: use names and phrasings that training never sees.
        layout: "careful" (relations hold, no overlap) or "careless" (relations ignored, boxes astray).
        max_sentences: at most this many sentences (1..6).
    """
    if layout not in ("careful", "careless"):
        raise ValueError(f"layout: must be 'careful' or 'careless', got {layout!r}")
    purpose = "held-out story" if held_out else "story"
    draws = Draws(seed, purpose, number)
    length = min(_share(draws, _LENGTHS), max_sentences)
    size = min(_share(draws, _CAST_SIZES), length + 1)
    cast = _cast(draws, size, held_out)
    arrivals: list[list[int]] = [[] for _ in range(length)]
    for who in range(size):
        arrivals[0 if who == 0 else min(draws.integer(length), draws.integer(length))].append(who)
    teller = Teller(draws, cast, held_out)
    told = [teller.sentence(part) for part in arrivals]
    layout_draws = Draws(seed, f"{purpose} layout", number) if layout == "careless" else None
    scene = Scene(
        entities=tuple(
            Being(name=cast[i].name, card=_told_card(cast[i], i in teller.undressed)) for i in teller.introduced
        ),
        frames=tuple(_shot(text, frame, cast, layout_draws) for text, frame in told),
    )
    return Story(" ".join(text for text, _ in told), scene, tuple(c.name for c in cast if c.named))


def _told_card(character: Character, undressed: bool) -> str:
    """The looks as far as the story tells them."""
    return card(kind=character.kind, colour=character.colour, accessory="none" if undressed else character.accessory)

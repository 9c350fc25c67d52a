"""Short stories of the stage's world with the scene each sentence shows: a pure function of (seed, number, wording).

What a frame shows: whoever its sentence names, and whoever was there before, unless they left or the named ones
moved to another setting. A pronoun is the subject of the sentence before, or whoever else it can only be; "they" is
everyone present. A setting, a time and a weather hold until another one is told; a story without any plays on the
meadow on a clear day.
"""

from typing import NamedTuple

from raccord.planner.geometry import Constraint
from raccord.planner.scene import QUOTE_LENGTH, Being, Placed, Relation, Scene, Shot
from stage.draws import Draws
from stage.stories.character import Character, draw_cast
from stage.stories.layouts import careful, careless, natural_size
from stage.stories.teller import Moment, Teller

# Shares of stories with 1, 2, 3, ... 8 sentences, cumulated.
_LENGTHS = (0.04, 0.16, 0.34, 0.68, 0.8, 0.9, 0.96, 1.0)
_CAST_SIZES = (0.15, 0.55, 0.85, 1.0)
# Readers leave things told of earlier only out of a crowd of five (`raccord.planner.cast`).
_CROWD = 4
MAX_SENTENCES = len(_LENGTHS)


class Story(NamedTuple):
    """`text` and the scene it tells; `names` are the proper names in it."""

    text: str
    scene: Scene
    names: tuple[str, ...]


def _share(draws: Draws, limits: tuple[float, ...]) -> int:
    share = draws.uniform()
    return next(n for n, limit in enumerate(limits, start=1) if share < limit)


def _shot(sentence: str, frame: Moment, cast: list[Character], draws: Draws | None) -> Shot:
    sizes = [
        natural_size(
            cast[i].kind,
            accessory=cast[i].accessory,
            size=cast[i].size,
            action=frame.actions[i],
            count=len(frame.present),
        )
        for i in frame.present
    ]
    relations = [frame.relation] if frame.relation else []
    constraints = [Constraint(frame.present.index(a), relation, frame.present.index(b)) for a, relation, b in relations]
    boxes = careful(sizes, constraints) if draws is None else careless(sizes, draws)
    return Shot(
        sentence=sentence[:QUOTE_LENGTH],
        background=frame.place,
        relations=tuple(
            Relation.model_validate({"subject": cast[a].name, "relation": r, "object": cast[b].name})
            for a, r, b in relations
        ),
        items=tuple(
            Placed(entity=cast[i].name, action=frame.actions[i], box=box)
            for i, box in zip(frame.present, boxes, strict=True)
        ),
    )


def story(
    seed: int,
    number: int,
    *,
    held_out: bool = False,
    layout: str = "careful",
    max_sentences: int = MAX_SENTENCES,
    wording: int = 0,
    crowded: bool = False,
) -> Story:
    """Story `number` of the world with this seed.

    Args:
        seed, number: what keys every draw.
        held_out: use names and phrasings that training never sees.
        layout: "careful" (relations hold, no overlap) or "careless" (relations ignored, boxes astray).
        max_sentences: at most this many sentences (1..8).
        wording: another wording of the same events.
        crowded: four characters, all of whom appear in the first two sentences.
    """
    if layout not in ("careful", "careless"):
        raise ValueError(f"layout: must be 'careful' or 'careless', got {layout!r}")
    purpose = f"{'held-out ' if held_out else ''}{'crowded ' if crowded else ''}story"
    draws = Draws(seed, purpose, number)
    length = min(_share(draws, _LENGTHS), max_sentences)
    size = _CROWD if crowded else min(_share(draws, _CAST_SIZES), length + 1)
    cast = draw_cast(draws, size, held_out=held_out)
    twins = {character.twin for character in cast}
    arrivals: list[list[int]] = [[] for _ in range(length)]
    for who in (who for who in range(len(cast)) if who not in twins):
        latest = min(2, length) if crowded else length
        arrivals[0 if who == 0 else min(draws.integer(latest), draws.integer(latest))].append(who)
    teller = Teller(draws, Draws(seed, f"{purpose} wording", number, wording), cast, held_out)
    told = [teller.sentence(part) for part in arrivals]
    layout_draws = Draws(seed, f"{purpose} layout", number) if layout == "careless" else None
    scene = Scene(
        entities=tuple(
            Being(name=cast[i].name, card=cast[i].card(dressed=i not in teller.undressed)) for i in teller.introduced
        ),
        frames=tuple(_shot(text, frame, cast, layout_draws) for text, frame in told),
    )
    return Story(" ".join(text for text, _ in told), scene, tuple(c.name for c in cast if c.named))

"""Keyed random stories of the world as plans, with the truth that readers need."""

from typing import NamedTuple

from raccord.sampler.plan import Entity, Frame, Plan
from raccord.sampler.plan import Item as PlanItem
from stage.draws import Draws
from stage.world.scene import Item
from stage.world.vocabulary import BACKGROUNDS, COLOURS, CREATURES, KINDS, SETTING_PHRASES, SETTINGS, card

# Where two entities may stand, left and right, as (x0, y0, x1, y1).
_PLACES = (
    ((0.04, 0.38, 0.46, 0.92), (0.54, 0.38, 0.96, 0.92)),
    ((0.06, 0.30, 0.50, 0.84), (0.56, 0.46, 0.94, 0.94)),
    ((0.02, 0.46, 0.38, 0.94), (0.44, 0.30, 0.94, 0.92)),
)


class TruePlan(NamedTuple):
    """A plan and, per frame, what should be seen in each box."""

    plan: Plan
    frames: tuple[tuple[Item, ...], ...]


def sample_plan(seed: int, number: int, *, frames: int, named_colours: bool) -> TruePlan:
    """Story `number`: two entities of different kind and colour, all frames holding both, in keyed places and settings.

    With `named_colours` false the cards leave the colour open ("a cat"), so the text does not fix the identity.
    """
    draws = Draws(seed, "plan", number)
    first = draws.choose(CREATURES)
    second = draws.choose(tuple(kind for kind in KINDS if kind != first))
    colours = [draws.choose(tuple(COLOURS))]
    colours.append(draws.choose(tuple(colour for colour in COLOURS if colour != colours[0])))
    kinds = (first, second)
    cards = [card(kind=k, colour=c if named_colours else None) for k, c in zip(kinds, colours, strict=True)]
    entities = [Entity(id=f"e{i + 1}", name=kinds[i], card=cards[i]) for i in range(2)]
    drawn, truth = [], []
    for index in range(frames):
        places = draws.choose(_PLACES)
        order = (0, 1) if draws.chance(0.5) else (1, 0)
        setting = draws.choose(SETTINGS)
        boxes = [places[order.index(i)] for i in range(2)]
        prompt = f"{cards[0]} and {cards[1]} {SETTING_PHRASES[setting][0]}"
        items = [PlanItem(entity=f"e{i + 1}", box=boxes[i]) for i in range(2)]
        drawn.append(Frame(id=f"f{index + 1}", prompt=prompt, background=BACKGROUNDS[setting][1], items=items))
        truth.append(tuple(Item(kinds[i], colours[i], "none", boxes[i], i, "left", "standing") for i in range(2)))
    plan = Plan(seed=draws.integer(2**31), size=[64, 64], entities=entities, frames=drawn)
    return TruePlan(plan, tuple(truth))

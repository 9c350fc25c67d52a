"""Keyed random stories of the world as plans, with the truth that readers need."""

from typing import NamedTuple

from raccord.sampler.plan import Entity, Frame, Plan
from raccord.sampler.plan import Item as PlanItem
from stage.draws import Draws
from stage.stories.places import background_text, place_text
from stage.world.scene import DEFAULT, SIDE, Item, Rates, natural_aspect, weighted
from stage.world.vocabulary import (
    ACCESSORIES,
    COLOURS,
    CREATURES,
    INDOORS,
    KINDS,
    PATTERNS,
    SETTINGS,
    TIMES,
    WEATHERS,
    card,
    second_colours,
)

# Where two entities may stand, left and right: the middle of the foot line and the longer side.
_PLACES = (
    ((0.26, 0.92, 0.50), (0.74, 0.92, 0.50)),
    ((0.28, 0.86, 0.46), (0.74, 0.94, 0.50)),
    ((0.25, 0.94, 0.48), (0.72, 0.88, 0.46)),
)
# The longer side in which items of a world's size are drawn.
_SIZE = "large"


class TruePlan(NamedTuple):
    """A plan and, per frame, what should be seen in each box."""

    plan: Plan
    frames: tuple[tuple[Item, ...], ...]


def sample_plan(
    seed: int,
    number: int,
    *,
    frames: int,
    named_colours: bool,
    rates: Rates = DEFAULT,
    size: tuple[int, int] = (SIDE, SIDE),
) -> TruePlan:
    """Story `number`: two entities of different kind and colour, all frames holding both, in keyed places and settings.

    With `named_colours` false the cards leave colours and pattern open ("a cat with a hat"), so the text does not fix
    the identity. Patterns, accessories, times and weathers occur as often as `rates` says.
    """
    draws = Draws(seed, "plan", number)
    looks = _two_looks(draws, rates)
    cards = [
        card(kind=one.kind, accessory=one.accessory)
        if not named_colours
        else card(kind=one.kind, colour=one.colour, second=one.second, pattern=one.pattern, accessory=one.accessory)
        for one in looks
    ]
    entities = [Entity(id=f"e{i + 1}", name=looks[i].kind, card=cards[i]) for i in range(2)]
    drawn, truth = [], []
    for index in range(frames):
        places = draws.choose(_PLACES)
        order = (0, 1) if draws.chance(0.5) else (1, 0)
        setting, time, weather = (
            draws.choose(SETTINGS),
            weighted(draws, TIMES, rates.times),
            weighted(draws, WEATHERS, rates.weathers),
        )
        weather = WEATHERS[0] if setting in INDOORS else weather
        boxes = [_box(looks[i], places[order.index(i)]) for i in range(2)]
        prompt = f"{cards[0]} and {cards[1]} {place_text(setting, time, weather)}"
        items = [PlanItem(entity=f"e{i + 1}", box=boxes[i]) for i in range(2)]
        background = background_text(setting, time, weather)
        drawn.append(Frame(id=f"f{index + 1}", prompt=prompt, background=background, items=items))
        truth.append(tuple(looks[i]._replace(box=boxes[i], z=i) for i in range(2)))
    plan = Plan(seed=draws.integer(2**31), size=list(size), entities=entities, frames=drawn)
    return TruePlan(plan, tuple(truth))


def _two_looks(draws: Draws, rates: Rates) -> list[Item]:
    looks: list[Item] = []
    while len(looks) < 2:
        kind = draws.choose(CREATURES if not looks else KINDS)
        colour = draws.choose(tuple(COLOURS))
        pattern = draws.choose(PATTERNS[1:]) if draws.chance(rates.pattern) else PATTERNS[0]
        second = draws.choose(second_colours(colour)) if pattern != PATTERNS[0] else None
        accessory = (
            draws.choose(ACCESSORIES[1:]) if kind in CREATURES and draws.chance(rates.accessory) else ACCESSORIES[0]
        )
        if all(kind != other.kind and colour != other.colour for other in looks):
            box = (0.0, 0.0, 1.0, 1.0)
            looks.append(Item(kind, colour, second, pattern, accessory, _SIZE, box, 0, "left", "standing"))
    return looks


def _box(look: Item, place: tuple[float, float, float]) -> tuple[float, float, float, float]:
    """The box of an item with its natural proportions at a place."""
    middle, foot, longer = place
    aspect = natural_aspect(look.kind, look.pose, look.accessory)
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    left = min(max(middle - width / 2, 0.0), 1.0 - width)
    return left, foot - height, left + width, foot

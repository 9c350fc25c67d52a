"""Captions of a scene: compact, varied wording; every attribute is named or dropped at random."""

from stage.draws import Draws
from stage.world.scene import Item, Scene
from stage.world.vocabulary import (
    ACCESSORY_WORDS,
    ACTIONS,
    BACKGROUNDS,
    CREATURES,
    FACING_PHRASES,
    SETTING_PHRASES,
    SYNONYMS,
    THING_ACTIONS,
    article,
)


def entity_caption(item: Item, draws: Draws, *, detail: float) -> str:
    """An item's looks, "a red cat with a hat"; colour and accessory are named with probability 0.6 + 0.4 * detail and
    `detail`.
    """
    noun = item.kind if draws.chance(0.75) else draws.choose(SYNONYMS[item.kind])
    if draws.chance(0.6 + 0.4 * detail):
        noun = f"{item.colour} {noun}"
    text = f"{'the ' + noun if draws.chance(0.08) else article(noun)}"
    if item.accessory != "none" and draws.chance(detail):
        link = "wearing" if draws.chance(0.2) else "with"
        text += f" {link} {article(draws.choose(ACCESSORY_WORDS[item.accessory]))}"
    return text


def action(item: Item, draws: Draws) -> str:
    """What the item does, possibly with its facing: "sitting and facing left"; "" leaves it open."""
    if item.kind not in CREATURES:
        return draws.choose(THING_ACTIONS) if draws.chance(0.4) else ""
    words = draws.choose(ACTIONS[item.pose]) if draws.chance(0.75) else ""
    if draws.chance(0.3):
        facing = draws.choose(FACING_PHRASES[item.facing])
        return f"{words} and {facing}" if words else facing
    return words


def _relation(first: Item, second: Item, draws: Draws) -> str:
    """A phrase that says where `first` is seen from `second`."""
    gap = (first.box[0] + first.box[2] - second.box[0] - second.box[2]) / 2
    if abs(gap) > 0.2:
        return draws.choose(("left of" if gap < 0 else "right of", "next to"))
    return "behind" if first.z < second.z else "in front of"


def caption(scene: Scene, draws: Draws) -> str:
    """One caption of a scene; at most 30 tokens.

    Without items it is a background prompt; with one item it is in two of five cases the entity alone (card or card
    and action), as a region
    prompt would be; otherwise it names every item and mostly the setting.
    """
    if not scene.items:
        return draws.choose(BACKGROUNDS[scene.setting])
    place = draws.choose(SETTING_PHRASES[scene.setting])
    if len(scene.items) == 1:
        item = scene.items[0]
        looks, doing = entity_caption(item, draws, detail=0.85), action(item, draws)
        if draws.chance(0.4):
            return f"{looks}, {doing}" if doing and draws.chance(0.7) else looks
        doing = f" {doing}" if doing and draws.chance(0.5) else ""
        return f"{looks}{doing} {place}"
    order = list(scene.items)
    for i in range(len(order) - 1, 0, -1):
        j = draws.integer(i + 1)
        order[i], order[j] = order[j], order[i]
    names = [entity_caption(item, draws, detail=0.85 if len(order) == 2 else 0.7) for item in order]
    if len(order) == 2 and draws.chance(0.35):
        text = f"{names[0]} {_relation(order[0], order[1], draws)} {names[1]}"
    else:
        text = f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{text} {place}" if draws.chance(0.85) else text

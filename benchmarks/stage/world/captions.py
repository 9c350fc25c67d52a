"""Texts of a scene: first the facts to mention are drawn, then their wording, so that one choice of facts has many
wordings.
"""

from collections.abc import Sequence
from typing import NamedTuple

from stage.draws import Choice, Draws
from stage.world.scene import Item, Scene
from stage.world.vocabulary import (
    ACCESSORY_WORDS,
    ACTIONS,
    BACKGROUNDS,
    CREATURES,
    FACING_PHRASES,
    INDOORS,
    MAX_TOKENS,
    PATTERN_NOUNS,
    PATTERN_WORDS,
    SETTING_PHRASES,
    SIZE_WORDS,
    SYNONYMS,
    THING_ACTIONS,
    TIME_PHRASES,
    WEATHER_PHRASES,
    article,
)


class Mention(NamedTuple):
    """Which facts of an item a text tells; kind always."""

    size: bool = False
    colour: bool = False
    pattern: bool = False
    accessory: bool = False
    action: bool = False
    facing: bool = False


class Content(NamedTuple):
    """Which facts of a scene a text tells: per item (in the order of `scene.items`) and around them. `related` places
    the first item against the second.
    """

    items: tuple[Mention, ...]
    setting: bool
    time: bool
    weather: bool
    related: bool = False


def _varied(options: Sequence[Choice], draws: Draws, canonical: float = 0.6) -> Choice:
    """The first option with probability `canonical` or better, else any."""
    return options[0] if draws.chance(canonical) else draws.choose(options)


def _looks_mention(item: Item, draws: Draws, detail: float) -> Mention:
    return Mention(
        size=draws.chance(0.45 * detail),
        colour=draws.chance(0.6 + 0.4 * detail),
        pattern=draws.chance(detail if item.pattern != "plain" else 0.06 * detail),
        accessory=draws.chance(detail) and item.accessory != "none",
    )


def _doing_mention(item: Item, draws: Draws, rate: float) -> tuple[bool, bool]:
    if item.kind not in CREATURES:
        return draws.chance(0.25 * rate), False
    return draws.chance(rate), draws.chance(0.35 * rate)


def _looks(item: Item, mention: Mention, draws: Draws) -> str:
    """The item's looks in words, "a small striped red and white cat with a hat"."""
    noun = _varied(SYNONYMS[item.kind], draws)
    size = [_varied(SIZE_WORDS[item.size], draws)] if mention.size else []
    attached: list[str] = []
    before: list[str] = []
    if mention.pattern and mention.colour and item.second is not None:
        word = _varied(PATTERN_WORDS[item.pattern], draws)
        form = draws.uniform()
        if form < 0.55:
            before = [word, f"{item.colour} and {item.second}"]
        elif form < 0.75:
            before = [f"{item.colour} and {item.second}", word]
        else:
            before = [item.colour]
            attached = [f"{item.second} {_varied(PATTERN_NOUNS[item.pattern], draws)}"]
    else:
        before += [_varied(PATTERN_WORDS[item.pattern], draws)] if mention.pattern else []
        before += [item.colour] if mention.colour else []
    if mention.accessory:
        attached.append(article(_varied(ACCESSORY_WORDS[item.accessory], draws)))
    noun = " ".join([*size, *before, noun])
    text = f"the {noun}" if draws.chance(0.06) else article(noun)
    if not attached:
        return text
    # Stripes are not worn.
    link = "wearing" if len(attached) == 1 and mention.accessory and draws.chance(0.25) else "with"
    return f"{text} {link} {' and '.join(attached)}"


def _doing(item: Item, mention: Mention, draws: Draws) -> str:
    words = ""
    if mention.action:
        words = draws.choose(ACTIONS[item.pose] if item.kind in CREATURES else THING_ACTIONS)
    if mention.facing:
        facing = draws.choose(FACING_PHRASES[item.facing])
        return f"{words} and {facing}" if words else facing
    return words


def entity_caption(item: Item, draws: Draws, *, detail: float) -> str:
    """An item's looks, "a red cat with a hat"; each attribute is named or left out at random, more of them the nearer
    `detail` is to 1.
    """
    return _looks(item, _looks_mention(item, draws, detail), draws)


def action(item: Item, draws: Draws) -> str:
    """What the item does, possibly with its facing: "sitting and facing left"; "" leaves it open."""
    doing, facing = _doing_mention(item, draws, 0.75)
    return _doing(item, Mention(action=doing, facing=facing), draws)


def _relation(first: Item, second: Item, draws: Draws) -> str:
    """A phrase that says where `first` is seen from `second`."""
    gap = (first.box[0] + first.box[2] - second.box[0] - second.box[2]) / 2
    if abs(gap) > 0.2:
        return draws.choose(("left of" if gap < 0 else "right of", "next to"))
    return "behind" if first.z < second.z else "in front of"


def _content(scene: Scene, draws: Draws, detail: float) -> Content:
    """The facts to tell."""
    around = {
        "setting": draws.chance(0.9),
        "time": draws.chance(0.12 if scene.time == "day" else 0.75),
        "weather": draws.chance(0.06 if scene.weather == "clear" else 0.75),
    }
    # A region prompt names one entity and nothing around it; a portrait is drawn for these, at a scale of its own.
    if scene.portrait or (len(scene.items) == 1 and draws.chance(0.4)):
        around = dict.fromkeys(around, False)
    rate = {0: 0.0, 1: 0.7, 2: 0.4}.get(len(scene.items), 0.2)
    mentions = []
    for item in scene.items:
        doing, facing = _doing_mention(item, draws, rate)
        mention = _looks_mention(item, draws, detail)._replace(action=doing, facing=facing)
        mentions.append(mention._replace(size=False) if scene.portrait else mention)
    return Content(tuple(mentions), **around, related=len(scene.items) == 2 and draws.chance(0.35))


def _surroundings(scene: Scene, content: Content, draws: Draws) -> str:
    phrases = [draws.choose(SETTING_PHRASES[scene.setting])] if content.setting else []
    # Indoors no stars and no weather.
    inside = scene.setting in INDOORS
    times = TIME_PHRASES[scene.time]
    phrases += [times[0] if inside else draws.choose(times)] if content.time else []
    phrases += [draws.choose(WEATHER_PHRASES[scene.weather])] if content.weather and not inside else []
    return " ".join(phrases)


def _wording(scene: Scene, content: Content, draws: Draws) -> str:
    """The facts in words."""
    if not scene.items:
        empty = content._replace(setting=False)
        return f"{draws.choose(BACKGROUNDS[scene.setting])} {_surroundings(scene, empty, draws)}".rstrip()
    order = list(range(len(scene.items)))
    for i in range(len(order) - 1, 0, -1):
        j = draws.integer(i + 1)
        order[i], order[j] = order[j], order[i]
    place = _surroundings(scene, content, draws)
    texts = []
    for index in order:
        item, mention = scene.items[index], content.items[index]
        looks, doing = _looks(item, mention, draws), _doing(item, mention, draws)
        comma = "," if doing and len(order) == 1 and (not place or draws.chance(0.3)) else ""
        texts.append(f"{looks}{comma} {doing}" if doing else looks)
    if content.related:
        first, second = (scene.items[index] for index in order)
        text = f"{texts[0]} {_relation(first, second, draws)} {texts[1]}"
    else:
        text = f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]
    if not place:
        return text
    return f"{place}, {text}" if draws.chance(0.12) else f"{text} {place}"


def _tokens(text: str) -> int:
    """Tokens of a text made of the world's words: each word and each comma is one."""
    return len(text.replace(",", " ,").split())


def _worded(scene: Scene, content: Content, draws: Draws) -> str | None:
    """A wording that fits into MAX_TOKENS with start and end, or None after eight attempts."""
    for _ in range(8):
        text = _wording(scene, content, draws)
        if _tokens(text) <= MAX_TOKENS - 2:
            return text
    return None


def _facts(scene: Scene, draws: Draws) -> tuple[Content, str]:
    """Facts that fit, and their first wording."""
    detail = {0: 0.85, 1: 0.85, 2: 0.8}.get(len(scene.items), 0.65)
    for _ in range(6):
        content = _content(scene, draws, detail)
        text = _worded(scene, content, draws)
        if text is not None:
            return content, text
        detail *= 0.6
    content = Content(tuple(Mention(colour=True) for _ in scene.items), True, False, False)
    return content, _wording(scene, content, draws)


def caption(scene: Scene, draws: Draws) -> str:
    """One caption of a scene, at most MAX_TOKENS tokens with start and end; everything it says is true, and every
    attribute is named or left out at random.

    Without items it is a background prompt; with one item it is in two of five cases the entity alone (card or card and
    action), as a region prompt is, and for a portrait always; otherwise it names every item and mostly the setting.
    """
    return _facts(scene, draws)[1]


def paraphrases(scene: Scene, draws: Draws, count: int) -> tuple[str, ...]:
    """Up to `count` different texts that tell the same facts in other words; fewer where the words run out."""
    content, text = _facts(scene, draws)
    texts = {text: None}
    for _ in range(12 * count):
        if len(texts) == count:
            break
        other = _worded(scene, content, draws)
        if other is not None:
            texts[other] = None
    return tuple(texts)[:count]

"""The words of the stage's world: what exists in it and how texts name it.

Everything that writes text for the embedded model (captions, entity cards, actions, background prompts) takes its
words from here. In every table of phrases the first one is the canonical one.

Grammar of an entity: card = "a small striped red and white cat with a hat", segment prompt = card + ", " + action
("a red cat with a hat, sitting").
"""

import math
from types import MappingProxyType

CREATURES = ("fox", "cat", "dog", "rabbit", "bear", "owl", "penguin", "frog", "mouse", "turtle", "robot", "dragon")
THINGS = (
    *("house", "tree", "ball", "kite", "boat", "car", "lamp"),
    *("book", "umbrella", "cake", "flower", "star", "balloon", "drum"),
)
KINDS = CREATURES + THINGS

# Kind -> nouns a text may use for it.
SYNONYMS = MappingProxyType(
    {
        **{kind: (kind,) for kind in KINDS},
        "cat": ("cat", "kitten"),
        "dog": ("dog", "puppy"),
        "rabbit": ("rabbit", "bunny"),
        "owl": ("owl", "owlet"),
        "frog": ("frog", "toad"),
        "turtle": ("turtle", "tortoise"),
        "robot": ("robot", "android"),
        "house": ("house", "cottage"),
        "boat": ("boat", "ship", "sail boat", "sailboat"),
        "car": ("car", "automobile"),
        "umbrella": ("umbrella", "parasol"),
        "flower": ("flower", "blossom"),
    }
)

# Body colours, sRGB 0..255: saturated (or black and white), and far from each other and from every setting.
COLOURS = MappingProxyType(
    {
        "red": (222, 36, 40),
        "orange": (250, 136, 20),
        "yellow": (252, 216, 36),
        "green": (44, 164, 68),
        "blue": (40, 96, 228),
        "purple": (134, 58, 190),
        "pink": (252, 130, 186),
        "brown": (130, 78, 42),
        "white": (248, 248, 246),
        "black": (52, 50, 58),
    }
)

# A pattern is drawn in the item's second colour; "plain" has none.
PATTERNS = ("plain", "striped", "spotted", "checked")
PATTERN_WORDS = MappingProxyType(
    {"plain": ("plain",), "striped": ("striped",), "spotted": ("spotted", "dotted"), "checked": ("checked",)}
)
# "a red cat with white stripes"
PATTERN_NOUNS = MappingProxyType(
    {"striped": ("stripes",), "spotted": ("spots", "dots"), "checked": ("checks", "squares")}
)

# What a creature may wear; things wear nothing. Accessories have fixed colours, so a text needs no word for them.
ACCESSORIES = ("none", "hat", "scarf", "bow tie", "glasses", "crown", "backpack")
ACCESSORY_WORDS = MappingProxyType(
    {
        "hat": ("hat", "top hat"),
        "scarf": ("scarf",),
        "bow tie": ("bow tie",),
        "glasses": ("glasses", "spectacles"),
        "crown": ("crown",),
        "backpack": ("backpack", "rucksack"),
    }
)

SIZES = ("small", "medium", "large")
SIZE_WORDS = MappingProxyType({"small": ("small", "little"), "medium": ("medium",), "large": ("large", "big")})

POSES = ("standing", "sitting", "running", "sleeping")
FACINGS = ("left", "right")

# Pose -> actions that show it. A pose is free (not part of an identity); a plan's Item.action is one of these,
# optionally followed by a facing phrase.
ACTIONS = MappingProxyType(
    {
        "standing": ("standing", "walking", "waiting", "looking around"),
        "sitting": ("sitting", "sitting down", "resting"),
        "running": ("running", "rushing", "racing", "running along"),
        "sleeping": ("sleeping", "asleep", "napping", "lying down"),
    }
)
# What a thing "does"; nothing of it is visible.
THING_ACTIONS = ("standing there", "resting there")
FACING_PHRASES = MappingProxyType({"left": ("facing left", "looking left"), "right": ("facing right", "looking right")})

SETTINGS = ("meadow", "forest", "beach", "snow", "desert", "street", "room", "mountains")
TIMES = ("day", "sunset", "night")
WEATHERS = ("clear", "rain", "snowfall")
# Settings that have no weather: there it is always clear.
INDOORS = ("room",)

# Where a whole-scene caption says its items are.
SETTING_PHRASES = MappingProxyType(
    {
        "meadow": ("in a meadow", "in the meadow", "on the grass", "on a hill", "in a grassy field"),
        "forest": ("in a forest", "in the forest", "in the woods", "among the trees"),
        "beach": ("on a beach", "at the beach", "on the sand", "by the sea"),
        "snow": ("in the snow", "on a snowy field", "in a snowy field"),
        "desert": ("in a desert", "in the desert", "among the dunes"),
        "street": ("in a street", "on the street", "in the town", "on the pavement"),
        "room": ("in a room", "in the room", "inside", "in the living room"),
        "mountains": ("in the mountains", "among the mountains", "below the peaks"),
    }
)
TIME_PHRASES = MappingProxyType(
    {
        "day": ("by day", "during the day", "in daylight", "in the morning", "at noon"),
        "sunset": ("at sunset", "at dusk", "in the evening", "at sundown"),
        "night": ("at night", "under the stars", "in the moonlight", "late at night"),
    }
)
WEATHER_PHRASES = MappingProxyType(
    {
        "clear": ("under a clear sky", "in clear weather"),
        "rain": ("in the rain", "in rainy weather", "while it rains"),
        "snowfall": ("in falling snow", "in snowy weather", "while it snows"),
    }
)

# Background prompts: the setting alone, with a time and weather phrase behind it or not. They name no entity; pictures
# without items carry these in training.
BACKGROUNDS = MappingProxyType(
    {
        "meadow": ("a meadow", "an empty meadow", "an empty grassy field", "a hill", "an empty hill"),
        "forest": ("a forest", "an empty forest", "an empty forest clearing", "the woods"),
        "beach": ("a beach", "an empty beach", "an empty sandy beach"),
        "snow": ("a snowy field", "an empty snowy field", "an empty field in the snow"),
        "desert": ("a desert", "an empty desert", "empty sand dunes"),
        "street": ("a street", "an empty street", "a town street"),
        "room": ("a room", "an empty room", "an empty living room"),
        "mountains": ("mountains", "empty mountains", "a mountain valley"),
    }
)

# Relations that join two items; they follow from the boxes (horizontal order, overlap).
RELATIONS = ("left of", "right of", "behind", "in front of", "next to")

MAX_TOKENS = 40


def second_colours(colour: str) -> tuple[str, ...]:
    """The colours a pattern on this body colour may have: those far enough from it to be seen."""
    base = COLOURS[colour]
    return tuple(name for name, rgb in COLOURS.items() if math.dist(base, rgb) > 110)


def article(phrase: str) -> str:
    """`phrase` with its indefinite article, where it takes one: "orange cat" -> "an orange cat", "glasses" stays."""
    if phrase in ACCESSORY_WORDS["glasses"]:
        return phrase
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def card(
    *,
    kind: str,
    colour: str | None = None,
    second: str | None = None,
    pattern: str = "plain",
    accessory: str = "none",
    size: str | None = None,
) -> str:
    """The canonical words for an entity's looks, for example "a small striped red and white cat with a hat".

    `size`, `colour` and `second` None leave the word out, "plain" and "none" too; `second` without a colour raises
    ValueError.
    """
    if second is not None and colour is None:
        raise ValueError(f"second: {second!r} needs a first colour; give colour too")
    looks = [] if size is None else [size]
    looks += [] if pattern == "plain" else [pattern]
    if colour is not None:
        looks.append(colour if second is None else f"{colour} and {second}")
    worn = "" if accessory == "none" else f" with {article(accessory)}"
    return article(" ".join([*looks, kind])) + worn


def words() -> tuple[str, ...]:
    """Every word a caption, card, action or background prompt can hold, sorted, without repetition."""
    groups = (
        *(SYNONYMS, PATTERN_WORDS, PATTERN_NOUNS, ACCESSORY_WORDS, SIZE_WORDS, ACTIONS, FACING_PHRASES),
        *(SETTING_PHRASES, TIME_PHRASES, WEATHER_PHRASES, BACKGROUNDS),
    )
    phrases = [phrase for group in groups for choices in group.values() for phrase in choices]
    phrases += [*THING_ACTIONS, *RELATIONS, *COLOURS, *SETTINGS, *TIMES, *WEATHERS]
    phrases.append("a an the and with wearing of is it there one two three four")
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))

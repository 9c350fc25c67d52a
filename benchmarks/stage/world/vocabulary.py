"""The words of the stage's world: what exists in it and how captions name it.

Everything that writes text for the embedded model (captions, entity cards, actions, background prompts) takes its
words from here.

Grammar of an entity: card = "a red cat with a hat", segment prompt = card + ", " + action ("a red cat with a hat,
sitting").
"""

from types import MappingProxyType

CREATURES = ("cat", "dog", "rabbit", "bear", "owl", "frog")
THINGS = ("house", "tree", "ball", "car", "boat")
KINDS = CREATURES + THINGS

# Kind -> nouns a caption may use for it; the first is the canonical one.
SYNONYMS = MappingProxyType(
    {
        "cat": ("cat", "kitten"),
        "dog": ("dog", "puppy"),
        "rabbit": ("rabbit", "bunny"),
        "bear": ("bear",),
        "owl": ("owl",),
        "frog": ("frog", "toad"),
        "house": ("house", "cottage"),
        "tree": ("tree",),
        "ball": ("ball",),
        "car": ("car",),
        "boat": ("boat", "ship"),
    }
)

# Body colours, sRGB 0..255: saturated, and far from each other and from every setting.
COLOURS = MappingProxyType(
    {
        "red": (222, 36, 40),
        "orange": (248, 136, 24),
        "yellow": (252, 216, 36),
        "green": (44, 164, 68),
        "blue": (40, 96, 228),
        "purple": (134, 58, 190),
        "pink": (252, 130, 186),
        "brown": (130, 78, 42),
    }
)

# What a creature may wear; things wear nothing. Both accessories have fixed neutral colours, so a caption needs no
# second colour word.
ACCESSORIES = ("none", "hat", "scarf")
ACCESSORY_WORDS = MappingProxyType({"hat": ("hat", "top hat"), "scarf": ("scarf",)})

POSES = ("standing", "sitting")
FACINGS = ("left", "right")

# Pose -> actions that show it. A pose is free (not part of an identity); a plan's Item.action is one of these,
# optionally followed by a facing phrase.
ACTIONS = MappingProxyType(
    {
        "standing": ("standing", "walking", "waiting", "looking around"),
        "sitting": ("sitting", "sitting down", "resting"),
    }
)
# What a thing "does"; nothing of it is visible.
THING_ACTIONS = ("standing there", "resting there")
FACING_PHRASES = MappingProxyType({"left": ("facing left", "looking left"), "right": ("facing right", "looking right")})

SETTINGS = ("meadow", "beach", "snow", "forest", "night")

# How a whole-scene caption ends.
SETTING_PHRASES = MappingProxyType(
    {
        "meadow": ("in a meadow", "in the meadow", "on the grass"),
        "beach": ("on a beach", "at the beach", "on the sand"),
        "snow": ("in the snow", "on a snowy field"),
        "forest": ("in a forest", "in the forest", "in the woods"),
        "night": ("at night", "under the stars", "on a hill at night"),
    }
)

# Background prompts: the setting alone. They name no entity; pictures without items carry these in training.
BACKGROUNDS = MappingProxyType(
    {
        "meadow": ("a meadow", "an empty meadow", "an empty grassy field"),
        "beach": ("a beach", "an empty beach", "an empty sandy beach"),
        "snow": ("a snowy field", "an empty snowy field", "an empty field in the snow"),
        "forest": ("a forest", "an empty forest", "an empty forest clearing"),
        "night": ("a hill at night", "an empty hill at night", "an empty hill under the stars"),
    }
)

# Relations that join two items; they follow from the boxes (horizontal order, overlap).
RELATIONS = ("left of", "right of", "behind", "in front of", "next to")

MAX_TOKENS = 32


def article(phrase: str) -> str:
    """`phrase` with its indefinite article: "orange cat" -> "an orange cat"."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def card(*, kind: str, colour: str | None = None, accessory: str = "none") -> str:
    """The canonical words for an entity's looks, for example "a red cat with a hat"."""
    noun = kind if colour is None else f"{colour} {kind}"
    worn = "" if accessory == "none" else f" with {article(accessory)}"
    return article(noun) + worn


def words() -> tuple[str, ...]:
    """Every word a caption, card, action or background prompt can hold, sorted, without repetition."""
    groups = (SYNONYMS, ACCESSORY_WORDS, ACTIONS, FACING_PHRASES, SETTING_PHRASES, BACKGROUNDS)
    phrases = [phrase for group in groups for choices in group.values() for phrase in choices]
    phrases += [*THING_ACTIONS, *RELATIONS, *COLOURS, "a an the and with wearing of one two three"]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))

"""Names and phrasings of the stage's stories. Each phrase list is split: the second part is never used for training,
only for evaluation."""

from types import MappingProxyType
from typing import NamedTuple

from stage.draws import Draws, key


class Phrases(NamedTuple):
    """Wordings of one thing: those for training, and those held out."""

    train: tuple[str, ...]
    held_out: tuple[str, ...] = ()


REAL_NAMES = (
    "Ada",
    "Amir",
    "Anna",
    "Bella",
    "Ben",
    "Bo",
    "Carla",
    "Chloe",
    "Dora",
    "Ella",
    "Emil",
    "Emma",
    "Felix",
    "Finn",
    "Fred",
    "Greta",
    "Hana",
    "Hugo",
    "Ida",
    "Ivan",
    "Jack",
    "Jin",
    "Jonas",
    "Kai",
    "Kira",
    "Lea",
    "Leo",
    "Lina",
    "Lola",
    "Lou",
    "Luca",
    "Luna",
    "Mara",
    "Max",
    "Mia",
    "Milo",
    "Mina",
    "Nico",
    "Nina",
    "Noah",
    "Nora",
    "Olga",
    "Omar",
    "Oscar",
    "Otto",
    "Paul",
    "Pia",
    "Pip",
    "Rosa",
    "Ruby",
    "Sam",
    "Sara",
    "Sofia",
    "Tim",
    "Toby",
    "Tom",
    "Uma",
    "Vera",
    "Yuki",
    "Zoe",
)
_STARTS = [
    "Ba",
    "Be",
    "Bri",
    "Ca",
    "Da",
    "Do",
    "Fa",
    "Fi",
    "Ga",
    "Gro",
    "Hu",
    "Ja",
    "Ka",
    "Ki",
    "La",
    "Li",
    "Lo",
    "Ma",
    "Me",
    "Mo",
    "Na",
    "Ni",
    "Pa",
    "Po",
    "Ra",
    "Ri",
    "Sa",
    "Su",
    "Ta",
    "Ti",
    "Va",
    "Vo",
    "Wi",
    "Ya",
    "Za",
    "Zu",
]
_ENDS = [
    "bo",
    "dra",
    "fi",
    "gan",
    "ko",
    "la",
    "lin",
    "lo",
    "mi",
    "na",
    "nek",
    "no",
    "pa",
    "ra",
    "ri",
    "ro",
    "san",
    "ta",
    "ti",
    "vik",
    "wen",
    "zo",
]

# Words outside the world, dropped into stories so that a model learns to pass over them.
NOISE_ADVERBS = ("happily", "quietly", "slowly", "proudly", "bravely")
NOISE_ADJECTIVES = ("big", "small", "little", "happy", "old", "clever")

OPENERS = Phrases(
    ("Then", "Later", "Now", "Soon", "Today", "Meanwhile", "After that"), ("Finally", "Suddenly", "One day")
)

# Verb phrases by action: after one subject, after several.
VERBS = MappingProxyType(
    {
        "sitting": (
            Phrases(("sits", "is sitting", "sits down"), ("is seated",)),
            Phrases(("sit", "are sitting", "sit down")),
        ),
        "standing": (
            Phrases(("stands", "is standing", "stays"), ("stands still",)),
            Phrases(("stand", "are standing", "stay")),
        ),
        "walking": (
            Phrases(("walks", "is walking", "walks around"), ("runs around",)),
            Phrases(("walk", "are walking", "walk around")),
        ),
        "waiting": (Phrases(("waits", "is waiting"), ("stays and waits",)), Phrases(("wait", "are waiting"))),
        "looking around": (
            Phrases(("looks around", "is looking around")),
            Phrases(("look around", "are looking around")),
        ),
        "resting": (
            Phrases(("rests", "is resting", "sleeps", "lies down"), ("is asleep",)),
            Phrases(("rest", "are resting", "sleep")),
        ),
    }
)

MEETS = Phrases(("meets", "sees", "finds", "greets", "talks to", "plays with"), ("runs into", "waves to"))
FINDS = Phrases(("finds", "sees", "looks at", "plays with"), ("comes to",))
WEARS = Phrases(("wears", "is wearing", "has"), ("puts on",))
COMES = Phrases(("comes", "arrives", "comes along"), ("joins in",))
RETURNS = Phrases(("comes back", "returns", "is back"), ("comes again",))
LEAVES = Phrases(("leaves", "goes home", "goes away", "walks away"), ("runs off",))
GOES = Phrases(("goes", "walks", "runs"), ("comes",))
GO = Phrases(("go", "walk", "run"), ("come",))
LIES = Phrases(("is", "stands", "lies"), ("stays",))
ALONE = Phrases(("alone",), ("all alone",))

RELATIONS = MappingProxyType(
    {
        "left of": Phrases(("left of", "to the left of", "on the left of")),
        "right of": Phrases(("right of", "to the right of", "on the right of")),
        "next to": Phrases(("next to", "beside", "near", "by"), ("close to",)),
        "behind": Phrases(("behind",), ("right behind",)),
        "in front of": Phrases(("in front of",), ("right in front of",)),
        "above": Phrases(("above", "over"), ("up above",)),
    }
)

PLACES = MappingProxyType(
    {
        "meadow": Phrases(("in a meadow", "in the meadow", "on the grass", "in the grass"), ("on a meadow",)),
        "beach": Phrases(("on a beach", "at the beach", "on the sand", "on the beach"), ("by the beach",)),
        "snow": Phrases(("in the snow", "on a snowy field", "on the snow"), ("in a snowy field",)),
        "forest": Phrases(("in a forest", "in the forest", "in the woods"), ("in a quiet forest",)),
        "night": Phrases(
            ("at night", "under the stars", "on a hill at night", "in the night"), ("on the hill at night",)
        ),
    }
)
DESTINATIONS = MappingProxyType(
    {
        "meadow": Phrases(("to the meadow", "to a meadow"), ("into the grass",)),
        "beach": Phrases(("to the beach", "to a beach"), ("onto the sand",)),
        "snow": Phrases(("into the snow", "to a snowy field"), ("to the snow",)),
        "forest": Phrases(("to the forest", "into the woods", "into the forest"), ("to the woods",)),
        "night": Phrases(("into the night", "to a hill at night"), ("out into the night",)),
    }
)


def name(draws: Draws, *, held_out: bool) -> str:
    """A proper name; the two halves of all names, by hash, belong to training and to evaluation."""
    while True:
        text = draws.choose(REAL_NAMES) if draws.chance(0.4) else draws.choose(_STARTS) + draws.choose(_ENDS)
        if key(0, "name split", text) % 2 == held_out:
            return text


def phrase(phrases: Phrases, draws: Draws, *, held_out: bool) -> str:
    """One wording; for evaluation a held-out one in half of the cases where there is one."""
    use_held_out = held_out and phrases.held_out and draws.chance(0.5)
    return draws.choose(phrases.held_out if use_held_out else phrases.train)

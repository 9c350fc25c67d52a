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
NOISE_ADJECTIVES = ("happy", "old", "clever", "young", "friendly")

OPENERS = Phrases(
    ("Then", "Later", "Now", "Soon", "Today", "Meanwhile", "After that"), ("Finally", "Suddenly", "One day")
)

# Verb phrases by action: after one subject, after several.
VERBS = MappingProxyType(
    {
        "sitting": (
            Phrases(("sits", "is sitting", "sits down", "sat"), ("is seated", "was sitting")),
            Phrases(("sit", "are sitting", "sit down", "sat"), ("were sitting",)),
        ),
        "standing": (
            Phrases(("stands", "is standing", "stays", "stood"), ("stands still", "was standing")),
            Phrases(("stand", "are standing", "stay", "stood"), ("were standing",)),
        ),
        "walking": (
            Phrases(("walks", "is walking", "walks around", "walked"), ("wanders around", "strolls")),
            Phrases(("walk", "are walking", "walk around", "walked"), ("wander around",)),
        ),
        "waiting": (
            Phrases(("waits", "is waiting", "waited"), ("stays and waits",)),
            Phrases(("wait", "are waiting", "waited")),
        ),
        "looking around": (
            Phrases(("looks around", "is looking around", "looked around")),
            Phrases(("look around", "are looking around")),
        ),
        "resting": (Phrases(("rests", "is resting", "rested"), ("relaxes",)), Phrases(("rest", "are resting"))),
        "running": (
            Phrases(("runs", "is running", "runs around", "ran"), ("races", "rushes", "hurries")),
            Phrases(("run", "are running", "ran"), ("race", "rush")),
        ),
        "sleeping": (
            Phrases(("sleeps", "is sleeping", "naps", "slept"), ("is asleep", "falls asleep")),
            Phrases(("sleep", "are sleeping", "slept"), ("are asleep", "fall asleep")),
        ),
    }
)

MEETS = Phrases(("meets", "sees", "finds", "greets", "talks to", "plays with", "met"), ("runs into", "waves to"))
FINDS = Phrases(("finds", "sees", "looks at", "plays with", "found"), ("discovers",))
HOLDS = Phrases(("holds", "carries", "is holding"), ("is carrying",))
WEARS = Phrases(("wears", "is wearing", "has"), ("puts on",))
COMES = Phrases(("comes", "arrives", "comes along", "came"), ("joins in", "shows up"))
RETURNS = Phrases(("comes back", "returns", "is back", "came back"), ("comes again",))
LEAVES = Phrases(("leaves", "goes home", "goes away", "walks away", "left"), ("runs off", "went home"))
GOES = Phrases(("goes", "walks", "went"), ("comes", "wanders"))
GO = Phrases(("go", "walk", "went"), ("come",))
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
        "meadow": Phrases(("in a meadow", "in the meadow", "on the grass", "on a hill"), ("in a grassy field",)),
        "forest": Phrases(("in a forest", "in the forest", "in the woods", "among the trees"), ("in a quiet forest",)),
        "beach": Phrases(("on a beach", "at the beach", "on the sand", "on the beach"), ("by the sea",)),
        "snow": Phrases(("in the snow", "on a snowy field", "on the snow"), ("in a snowy field",)),
        "desert": Phrases(("in a desert", "in the desert", "among the dunes"), ("on a dune",)),
        "street": Phrases(("in a street", "on the street", "in the town"), ("on the pavement", "in the city")),
        "room": Phrases(("in a room", "in the room", "inside", "indoors"), ("in the living room", "at home")),
        "mountains": Phrases(("in the mountains", "among the mountains", "on a mountain"), ("below the peaks",)),
    }
)
DESTINATIONS = MappingProxyType(
    {
        "meadow": Phrases(("to the meadow", "to a meadow", "up the hill"), ("into the grass",)),
        "forest": Phrases(("to the forest", "into the woods", "into the forest"), ("to the woods",)),
        "beach": Phrases(("to the beach", "to a beach", "to the sea"), ("onto the sand",)),
        "snow": Phrases(("into the snow", "to a snowy field"), ("to the snow",)),
        "desert": Phrases(("to the desert", "into the desert"), ("into the dunes",)),
        "street": Phrases(("to the town", "into the street"), ("to the city",)),
        "room": Phrases(("into a room", "into the room", "inside"), ("indoors",)),
        "mountains": Phrases(("to the mountains", "into the mountains"), ("up a mountain",)),
    }
)
TIMES = MappingProxyType(
    {
        "day": Phrases(("by day", "in the morning", "at noon", "during the day"), ("in the afternoon",)),
        "sunset": Phrases(("at sunset", "at dusk", "in the evening"), ("at sundown", "at twilight")),
        "night": Phrases(("at night", "under the stars", "in the moonlight"), ("late at night", "at midnight")),
    }
)
WEATHERS = MappingProxyType(
    {
        "clear": Phrases(("under a clear sky", "in clear weather"), ("in the sunshine",)),
        "rain": Phrases(("in the rain", "in rainy weather", "while it rains"), ("while it is raining",)),
        "snowfall": Phrases(("in falling snow", "in snowy weather", "while it snows"), ("while it is snowing",)),
    }
)
WEATHER_ADJECTIVES = MappingProxyType({"rain": "rainy", "snowfall": "snowy"})
# Sentences about time and weather alone.
TIME_COMES = MappingProxyType(
    {
        "day": Phrases(("the sun rises", "it is morning"), ("the next morning comes",)),
        "sunset": Phrases(("the sun sets", "it is evening"), ("evening comes",)),
        "night": Phrases(("night falls", "it is night"), ("the moon rises",)),
    }
)
WEATHER_COMES = MappingProxyType(
    {
        "clear": Phrases(("the sky is clear", "the rain stops"), ("the sun comes out",)),
        "rain": Phrases(("it rains", "it starts to rain"), ("rain falls",)),
        "snowfall": Phrases(("it snows", "it starts to snow"), ("snow falls",)),
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

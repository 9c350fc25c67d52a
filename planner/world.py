"""What a planner model knows: the words, looks, actions and places of the world it was trained on, read from its
`world.json`."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """The limits of a planner model's world.

    Attributes:
        creatures, things: the kinds of what exists; things do nothing.
        kinds: noun -> canonical kind of what it names ("kitten" -> "cat"); an entity without a name is called by it.
        plurals: plural noun -> noun ("kittens" -> "kitten").
        colours: words of looks; patterns, accessories, sizes: word -> what it means ("dotted" -> "spotted").
        settings, times, weathers: words or phrases -> where, when and in what weather a frame plays; the first value
            of each is what holds until a story says otherwise.
        indoors: settings without weather.
        backgrounds: place -> background prompt that names no entity ("snow night" -> "an empty snowy field at night");
            a place is what `place_of` gives.
        places: place -> the phrase that ends a frame prompt ("snow night" -> "in the snow at night").
        creature_actions, thing_actions: what an item can do in a frame.
        poses: action -> the pose it is drawn in.
        action_words: verb as a story has it -> action ("naps" -> "sleeping").
        verbs: every other verb its stories know ("meets").
        forms: words read as others ("sat" -> "sits"); keys may be two words ("bow tie" -> "bowtie").
        floating: kinds that hang in the air.
        scales: kind -> how much longer than usual its longer side is.
        usual_colours: kind -> colours of one whose colour the story leaves open, likeliest first.
        aspects: "kind, pose, accessory" -> width over height of the drawing.
        words: every word its stories are made of, in lower case.
        size: (width, height) in pixels of the pictures it plans for.
        max_sentences, max_names: the longest story it reads.
    """

    creatures: tuple[str, ...]
    things: tuple[str, ...]
    kinds: Mapping[str, str]
    plurals: Mapping[str, str]
    colours: tuple[str, ...]
    patterns: Mapping[str, str]
    accessories: Mapping[str, str]
    sizes: Mapping[str, str]
    settings: Mapping[str, str]
    times: Mapping[str, str]
    weathers: Mapping[str, str]
    indoors: tuple[str, ...]
    backgrounds: Mapping[str, str]
    places: Mapping[str, str]
    creature_actions: tuple[str, ...]
    thing_actions: tuple[str, ...]
    poses: Mapping[str, str]
    action_words: Mapping[str, str]
    verbs: tuple[str, ...]
    forms: Mapping[str, str]
    floating: tuple[str, ...]
    scales: Mapping[str, float]
    usual_colours: Mapping[str, Sequence[str]]
    aspects: Mapping[str, float]
    words: frozenset[str]
    size: tuple[int, int]
    max_sentences: int
    max_names: int

    @functools.cached_property
    def actions(self) -> tuple[str, ...]:
        """All actions, creatures' first."""
        return self.creature_actions + self.thing_actions

    @functools.cached_property
    def all_verbs(self) -> frozenset[str]:
        """Every word that says what somebody does."""
        return frozenset((*self.action_words, *self.verbs))

    @functools.cached_property
    def place_words(self) -> Mapping[str, tuple[tuple[str, str], ...]]:
        """Words or phrases of places -> what they tell, each ("setting", "time" or "weather", which)."""
        tables = {"setting": self.settings, "time": self.times, "weather": self.weathers}
        told: dict[str, tuple[tuple[str, str], ...]] = {}
        for name, table in tables.items():
            for words, what in table.items():
                told[words] = (*told.get(words, ()), (name, what))
        return told

    @functools.cached_property
    def usual(self) -> tuple[str, str, str]:
        """(setting, time, weather) of a story that says nothing of them."""
        return next(iter(self.settings.values())), next(iter(self.times.values())), next(iter(self.weathers.values()))

    def place_of(self, setting: str, time: str, weather: str) -> str:
        """The key of `backgrounds`: "forest", "forest night", "forest night rain"; the usual time and weather go
        without saying, and rooms have no weather."""
        _, usual_time, usual_weather = self.usual
        weather = usual_weather if setting in self.indoors else weather
        parts = [setting, time if time != usual_time else "", weather if weather != usual_weather else ""]
        return " ".join(part for part in parts if part)


def read_world(path: Path) -> World:
    """Read a `world.json`.

    Raises:
        ValueError: a field is missing or unknown.
    """
    fields = json.loads(path.read_text(encoding="utf-8"))
    if missing := set(World.__dataclass_fields__) ^ set(fields):
        raise ValueError(f"{path}: fields must be those of raccord.planner.world.World, differing: {sorted(missing)}")
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return World(**{**fields, **lists, "words": frozenset(fields["words"])})


def write_world(world: World) -> str:
    """The text of a `world.json`, the inverse of `read_world`."""
    fields = {name: getattr(world, name) for name in World.__dataclass_fields__}
    return json.dumps({**fields, "words": sorted(world.words)}, indent=1, ensure_ascii=False) + "\n"

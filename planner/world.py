"""What a planner model knows: the words, looks, actions and places of the world it was trained on, read from its
`world.json`."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class World:
    """The limits of a planner model's world.

    Attributes:
        cards: every look an entity can have, for example "a red cat with a hat".
        creature_actions, thing_actions: what an item can do in a frame.
        backgrounds: setting -> background prompt that names no entity ("snow" -> "an empty snowy field").
        places: setting -> the phrase that ends a frame prompt ("snow" -> "in the snow").
        kinds: noun -> canonical kind of what it names ("kitten" -> "cat"); an entity without a name is called by it.
        things: the kinds that do nothing.
        colours, accessories: words of looks.
        action_words: verb as a story has it -> action ("sleeps" -> "resting").
        setting_words: word -> the setting it tells of ("sand" -> "beach").
        words: every word its stories are made of, in lower case.
        size: (width, height) in pixels of the pictures it plans for.
        max_sentences, max_names: the longest story it was trained to read.
    """

    cards: tuple[str, ...]
    creature_actions: tuple[str, ...]
    thing_actions: tuple[str, ...]
    backgrounds: Mapping[str, str]
    places: Mapping[str, str]
    kinds: Mapping[str, str]
    things: tuple[str, ...]
    colours: tuple[str, ...]
    accessories: tuple[str, ...]
    action_words: Mapping[str, str]
    setting_words: Mapping[str, str]
    words: frozenset[str]
    size: tuple[int, int]
    max_sentences: int
    max_names: int

    @functools.cached_property
    def actions(self) -> tuple[str, ...]:
        """All actions, creatures' first."""
        return self.creature_actions + self.thing_actions


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

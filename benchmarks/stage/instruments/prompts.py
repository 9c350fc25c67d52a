"""What a prompt asks of an entity, and whether the readings of its picture show that."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stage.instruments.reading import Reading
from stage.world.scene import Item
from stage.world.vocabulary import (
    ACCESSORY_WORDS,
    ACTIONS,
    CREATURES,
    FACING_PHRASES,
    PATTERN_NOUNS,
    PATTERN_WORDS,
    SIZE_WORDS,
)


def _says(text: str, phrases: Iterable[str]) -> bool:
    return any(re.search(rf"\b{re.escape(phrase)}\b", text) for phrase in phrases)


def named_attributes(text: str, item: Item) -> tuple[str, ...]:
    """The attributes of an item that a text about it alone names, "kind" first; the kind is always named."""
    creature = item.kind in CREATURES
    phrases: dict[str, tuple[str, ...]] = {
        "colour": (item.colour,),
        "second": (item.second,) if item.second else (),
        "pattern": (*PATTERN_WORDS[item.pattern], *PATTERN_NOUNS.get(item.pattern, ())),
        "accessory": ACCESSORY_WORDS.get(item.accessory, ()),
        "size": SIZE_WORDS[item.size],
        "pose": ACTIONS[item.pose] if creature else (),
        "facing": FACING_PHRASES[item.facing] if creature else (),
    }
    return ("kind", *(name for name, words in phrases.items() if _says(text, words)))


class Answer(NamedTuple):
    """Per named attribute whether the picture shows it, the reading that was held against the prompt (None: nothing was
    found), and how many entities more than asked for were found.
    """

    right: dict[str, bool]
    reading: Reading | None
    surplus: int

    @property
    def success(self) -> bool:
        """Everything the prompt names is there."""
        return all(self.right.values())


def answer(readings: Sequence[Reading], text: str, item: Item) -> Answer:
    """Hold the picture of a prompt about one item against it: the reading of its kind with the best score counts, or
    the best one when its kind is not among them.
    """
    names = named_attributes(text, item)
    same = [reading for reading in readings if reading.kind == item.kind]
    shown = next(iter(sorted(same or readings, key=lambda reading: -reading.score)), None)
    right = {name: shown is not None and getattr(shown, name) == getattr(item, name) for name in names}
    return Answer(right, shown, max(0, len(readings) - 1))


def success_rates(answers: Sequence[Answer]) -> dict[str, float]:
    """Share of prompts with everything right ("all"), and per attribute of the prompts that name it."""
    names = dict.fromkeys(name for one in answers for name in one.right)
    rates = {name: [one.right[name] for one in answers if name in one.right] for name in names}
    return {"all": sum(one.success for one in answers) / len(answers)} | {k: sum(v) / len(v) for k, v in rates.items()}

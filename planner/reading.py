"""Reading a story before any model does: sentences, proper names, words outside the model's world.

Proper names carry no meaning for a plan, so a model of a closed world never sees them: each becomes a placeholder
(`#1`, `#2`, in order of
first appearance) and is put back after decoding. A name therefore works whether or not it was ever in training data.
"""

import re
import unicodedata
from dataclasses import dataclass

from raccord.planner.world import World

UNKNOWN = "?"
_SENTENCE_END = re.compile(r"(?:[.!?…。\uff01\uff1f]+[\"'\u201d\u2019)\]]*(?=\s|$)|\n+)")
_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+|,")
_POSSESSIVE = re.compile(r"['\u2019]s?$")
_NAME_LENGTH = 40
# Common words that open sentences with a capital letter; none is a name.
_NEVER_NAMES = frozenset(
    "a after again all an and another as at before both but by each eventually every everybody everyone "
    "finally first for from he her here his how i if in it its last later let long many meanwhile my next no "
    "nobody not now of on once one or our out over perhaps she so some somebody someone soon still suddenly "
    "that the their then there these they this those three to today together tomorrow two under until up we "
    "what when where which while who why with yesterday yet you your".split()
)


@dataclass(frozen=True)
class Reading:
    """A story as a model of a closed world reads it.

    Attributes:
        sentences: normalised sentences: lower case, names as `#1`, unknown words as `?`.
        names: the name behind `#1`, `#2`, ...
        nouns: words of the story that may stand for an entity without a name, in order of appearance.
        unknown: words of the story outside the world, as written, in order, without repetition.
    """

    sentences: tuple[str, ...]
    names: tuple[str, ...]
    nouns: tuple[str, ...]
    unknown: tuple[str, ...]


def split_sentences(story: str) -> list[str]:
    """The sentences of a story: parts between full stops, question and exclamation marks and line breaks that hold a
    letter or digit."""
    text = "".join(
        c if c.isspace() or unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", story)
    )
    parts = _SENTENCE_END.split(text)
    return [" ".join(part.split()) for part in parts if any(character.isalnum() for character in part)]


def _is_name(word: str, world: World) -> bool:
    lower = word.lower()
    return word[0].isupper() and lower not in world.words and lower not in _NEVER_NAMES and len(word) <= _NAME_LENGTH


def read_story(story: str, world: World) -> Reading:
    """Read a story for a model of `world`. Never raises for any text; a story without sentences gives an empty
    reading."""
    names: list[str] = []
    # Every part of a name of several words stands for the whole: "Captain Bo" may be called "Bo" later.
    placeholder: dict[str, str] = {}
    nouns: dict[str, None] = {}
    unknown: dict[str, None] = {}
    sentences: list[str] = []
    for sentence in split_sentences(story):
        words: list[str] = []
        previous_was_name = False
        for token in _TOKEN.findall(sentence):
            word = _POSSESSIVE.sub("", token) or token
            lower = word.lower()
            is_name = word in placeholder or _is_name(word, world)
            if word in placeholder:
                if words[-1:] != [placeholder[word]]:
                    words.append(placeholder[word])
            elif (
                is_name
                and previous_was_name
                and names
                and words[-1] == f"#{len(names)}"
                and len(names[-1]) < _NAME_LENGTH
            ):
                names[-1] = f"{names[-1]} {word}"
                placeholder[word] = words[-1]
            elif is_name and len(names) < world.max_names:
                names.append(word)
                placeholder[word] = f"#{len(names)}"
                words.append(placeholder[word])
            elif lower == "," or lower in world.words:
                words.append(lower)
                if lower in world.nouns:
                    nouns[lower] = None
            else:
                is_name = False
                unknown[word] = None
                if words[-1:] != [UNKNOWN]:
                    words.append(UNKNOWN)
            previous_was_name = is_name
        sentences.append(" ".join(words))
    return Reading(tuple(sentences), tuple(names), tuple(nouns), tuple(unknown))

"""Looks in the words of a story: roles, noun phrases ("a small red and white cat with a hat") and what is worn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from raccord.planner.reading import UNKNOWN
from raccord.planner.world import World

DEFINITE = ("the", "this", "that", "these", "those")
POSSESSIVES = ("his", "her", "its", "their", "'s")
COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "some": 3, "several": 3, "many": 3, "few": 3, "both": 2}
_INDEFINITE = ("a", "an", "one", "another", "no")
_LINKS = ("with", "wearing", "in", "carrying")
_COATS = ("fur", "feathers", "skin", "shell", "hair", "scales", "coat")
_PLAIN = "plain"
_DEGREES = ("very", "much", "so", "really", "quite", "rather", "pretty", "also", "all")
_SHADES = ("light", "dark", "bright", "pale", "deep")


@dataclass(frozen=True)
class Role:
    """Somebody or something of a story; None where the story does not say.

    Attributes:
        name: as the model writes it, `#1` or a noun.
        kind: canonical kind, "cat".
        colour, second, pattern, accessory, size: its looks.
    """

    name: str
    kind: str | None = None
    colour: str | None = None
    second: str | None = None
    pattern: str | None = None
    accessory: str | None = None
    size: str | None = None

    def cards(self, world: World, kinds: Sequence[str] = ()) -> tuple[str, ...]:
        """Looks the story allows: one if it says the kind, else one for each of `kinds` (none: all creatures)."""
        return tuple(self._card(kind, world) for kind in ((self.kind,) if self.kind else kinds or world.creatures))

    def _card(self, kind: str, world: World) -> str:
        """The words of the stage's `vocabulary.card`."""
        colours = f"{self.colour} and {self.second}" if self.colour and self.second else self.colour
        pattern = None if self.pattern == _PLAIN else self.pattern
        text = _article(" ".join(part for part in (self.size, pattern, colours, kind) if part))
        return text if kind in world.things or not self.accessory else f"{text} with {_article(self.accessory)}"

    def actions(self, world: World) -> tuple[str, ...]:
        """What it can do."""
        if self.kind is None:
            return world.creature_actions
        return world.thing_actions if self.kind in world.things else world.creature_actions

    def with_looks(self, looks: "Looks", *, kind: str | None = None) -> "Role":
        """The role with what `looks` says of it added; what is known already stays."""
        role = replace(
            self,
            kind=self.kind or kind,
            pattern=self.pattern or looks.pattern,
            accessory=self.accessory or looks.accessory,
            size=self.size or looks.size,
        )
        if role.colour is None:
            return replace(role, colour=looks.colour, second=looks.second)
        new = looks.second or (looks.colour if looks.colour != role.colour and looks.pattern else None)
        return replace(role, second=role.second or (new if new != role.colour else None))

    def fits(self, looks: "Looks") -> bool:
        """Whether `looks` can be those of this role."""
        pairs = ((self.colour, looks.colour), (self.pattern, looks.pattern), (self.size, looks.size))
        return all(told is None or said is None or told == said for told, said in pairs)


def _article(phrase: str) -> str:
    """ "a cat", "an orange cat", "glasses"."""
    last = phrase.split()[-1]
    return phrase if last.endswith("es") and " " not in phrase else f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


class Looks(NamedTuple):
    """Attributes that words name; None where they do not."""

    colour: str | None = None
    second: str | None = None
    pattern: str | None = None
    accessory: str | None = None
    size: str | None = None


class Phrase(NamedTuple):
    """A noun phrase of the tokens [start, end).

    `left_out` are words of it that the world cannot show ("blue hat"), `definite` whether it speaks of what is known.
    """

    start: int
    end: int
    noun: str
    count: int
    plural: bool
    determiner: str
    looks: Looks
    left_out: tuple[str, ...]

    @property
    def definite(self) -> bool:
        """Whether it speaks of something known ("the cat", "her cat")."""
        return self.determiner in DEFINITE or self.determiner in POSSESSIVES


def noun_phrase(words: Sequence[str], at: int, world: World) -> Phrase | None:
    """The noun phrase that begins at `at`, with what follows of its looks; None if none begins there."""
    place, determiner, count = at, "", 1
    while place < len(words) and words[place] in (*_INDEFINITE, *DEFINITE, *POSSESSIVES, *COUNTS, "other", "of"):
        word = words[place]
        # "gives her a ball" is no ball of hers.
        if determiner and word not in (*COUNTS, "other", "of"):
            return None
        if word in COUNTS:
            count = COUNTS[word]
            determiner = "the" if word == "both" else determiner
        elif word not in ("other", "of"):
            determiner = determiner or word
        elif place == at:
            return None
        determiner = "another" if word == "other" and determiner in ("", "an") else determiner
        place += 1
    looks, place = _adjectives(words, place, world)
    noun = words[place] if place < len(words) else ""
    plural = noun in world.plurals
    noun = world.plurals.get(noun, noun)
    if noun not in world.kinds or determiner == "no":
        return None
    count = max(count, 2) if plural else 1
    attire, end, left_out = attired(words, place + 1, world)
    return Phrase(at, end, noun, count, plural, determiner, _merged(looks, attire), left_out)


def _adjectives(words: Sequence[str], at: int, world: World) -> tuple[Looks, int]:
    """Colours, pattern and size in front of a noun or behind "is", and where they end; unknown words are passed
    over."""
    colours: list[str] = []
    pattern = size = None
    while at < len(words):
        word = words[at]
        following = words[at + 1] if at + 1 < len(words) else ""
        if word in world.colours:
            colours.append(word)
        elif word in world.patterns:
            pattern = world.patterns[word]
        elif word in world.sizes:
            size = world.sizes[word]
        elif word in _SHADES and following in world.colours:
            pass  # "light green" is green
        elif word in world.settings and (following in world.kinds or following in world.plurals):
            pass  # "a street lamp" is a lamp
        elif word not in (UNKNOWN, *_DEGREES, "and", ",") or (
            word in ("and", ",") and not _is_adjective(following, world) and not _is_very(words, at + 1, world)
        ):
            break
        at += 1
    first, second = (*colours, None, None)[:2]
    return Looks(first, second if second != first else None, pattern, None, size), at


def _is_very(words: Sequence[str], at: int, world: World) -> bool:
    return at < len(words) and words[at] in _DEGREES and at + 1 < len(words) and _is_adjective(words[at + 1], world)


def _is_adjective(word: str, world: World) -> bool:
    return word in world.colours or word in world.patterns or word in world.sizes or word == UNKNOWN


def predicate(words: Sequence[str], at: int, world: World) -> tuple[Looks, int] | None:
    """What "red and small" after "is" says of the subject, and where it ends; None if it is the start of a noun
    phrase or says nothing of looks."""
    looks, end = _adjectives(words, at, world)
    noun = words[end] if end < len(words) else ""
    if looks == Looks() or noun in world.kinds or noun in world.plurals:
        return None
    attire, end, _ = attired(words, end, world)
    return _merged(looks, attire), end


def attired(words: Sequence[str], at: int, world: World, *, verb: bool = False) -> tuple[Looks, int, tuple[str, ...]]:
    """What "with a hat and white stripes", "wearing a hat" or "without a hat" at `at` says, where it ends, and what
    the world cannot show of it; with `verb` what "wears a hat and a scarf" says."""
    looks, left_out, end = Looks(), [], at
    link = _LINKS[0] if verb else words[at] if at < len(words) else ""
    if link in ("who", "that", "which") and words[at + 1 : at + 2] and words[at + 1] in ("wears", "has", "is"):
        at += 1
        link = "wearing" if words[at] == "has" else words[at].replace("wears", "wearing").replace("is", "in")
    while link in _LINKS or link == "without":
        told, place, missing = worn(words, at + 1, world)
        if place is None:
            break
        end = place
        if link != "without":
            looks = _merged(looks, told)
            left_out += missing
            extra = told.accessory if told.accessory not in (None, looks.accessory) else None
            left_out += [extra] if extra else []
        following = words[end] if end < len(words) else ""
        if following in ("and", ","):
            at = end
            # "with a hat and in a scarf" repeats its link.
            if words[at + 1 : at + 2] and words[at + 1] in (*_LINKS, "without"):
                at += 1
                link = words[at]
        else:
            at, link = end, following
    return looks, end, tuple(left_out)


def worn(words: Sequence[str], at: int, world: World) -> tuple[Looks, int | None, tuple[str, ...]]:
    """What "a blue hat" or "white stripes" at `at` says, where it ends (None if it is neither), and what of it the
    world cannot show."""
    start = at
    told: list[str] = []
    while at < len(words) and words[at] in ("a", "an", "the", "his", "her", "its", "their", UNKNOWN, *world.colours):
        told += [words[at]] if words[at] in world.colours else []
        at += 1
    while at < len(words) and (
        words[at] in world.colours or words[at] in world.sizes or _is_patterned(words, at, world)
    ):
        told += [words[at]] if words[at] not in world.sizes else []
        at += 1
    word = words[at] if at < len(words) else ""
    if word in world.accessories:
        missing = (" ".join([*told, word]),) if told else ()
        return Looks(accessory=world.accessories[word]), at + 1, missing
    if word in _COATS and told:
        colours = [one for one in told if one in world.colours]
        pattern = next((world.patterns[one] for one in told if one in world.patterns), None)
        first, second = (*colours, None, None)[:2]
        return Looks(first, second, pattern), at + 1, ()
    if word in world.patterns and at > start and word.endswith("s"):
        return Looks(second=told[0] if told else None, pattern=world.patterns[word]), at + 1, ()
    if word in world.patterns and word.endswith("s"):
        return Looks(pattern=world.patterns[word]), at + 1, ()
    return Looks(), None, ()


def _is_patterned(words: Sequence[str], at: int, world: World) -> bool:
    """Whether "striped" at `at` is said of what is worn ("a striped bow tie"), and is no word for stripes."""
    return words[at] in world.patterns and not words[at].endswith("s")


def _merged(first: Looks, second: Looks) -> Looks:
    """Both together; the first one's words count where they differ."""
    return Looks(*(a if a is not None else b for a, b in zip(first, second, strict=True)))


def card_looks(card: str, world: World) -> tuple[str, str, str]:
    """(kind, accessory, size) that the words of a card name; "none" and "medium" where it names none."""
    body, _, attire = card.partition(" with ")
    words = body.split()
    accessory = next((what for what in dict.fromkeys(world.accessories.values()) if attire.endswith(what)), "none")
    size = next((world.sizes[word] for word in words if word in world.sizes), "medium")
    return words[-1], accessory, size

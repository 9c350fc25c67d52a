"""Reading a story before any model does: sentences, proper names, words outside the model's world.

Proper names carry no meaning for a plan, so a model of a closed world never sees them: each becomes a placeholder
(`#1`, `#2`, in order of
first appearance) and is put back after decoding. A name therefore works whether or not it was ever in training data.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass

from raccord.planner.given_names import TITLES, usual_gender
from raccord.planner.kinship import KIN
from raccord.planner.openers import NEVER_NAMES
from raccord.planner.spoken import shot_size, unquoted, without_heading, without_speech
from raccord.planner.world import World

UNKNOWN = "?"
_SENTENCE_END = re.compile(r"[.!?…。\uff01\uff1f]+[\"'\u201d\u2019)\]]*(?=\s|$)")
_LINE_END = re.compile(_SENTENCE_END.pattern.replace(r"(?=\s|$)", "$"))
_TOKEN = re.compile(r"[^\W\d_]+\d*(?:['\u2019][^\W\d_]+)*|\d+|,")
_CLAUSE_END = re.compile(";")
_PAUSE = re.compile(r":(?!\d)|\s[-\u2013\u2014]+\s|\u2014")
# "A star-shaped balloon" is no star.
_COMPOUND = re.compile(r"([^\W\d_]+)-(shaped|like|sized|coloured|colored|eyed|haired|tailed|footed)\b")
_POSSESSIVE = re.compile(r"['\u2019]s?$")
OWNS = "'s"
# "Smaller than he is": whoever is compared with need not be there. Names are placeholders by then.
_COMPARED = re.compile(
    r" than (?:she|he|it|they|him|her|them|#\d+|(?:the|a|an|his|her|its) \w+)(?: (?:is|are|does|do)\b)?"
)
# "Bo, meanwhile, sits".
_ASIDE = re.compile(r" , (?:meanwhile|however|though|also|still|then|finally|suddenly|at last|of course) ,")
_TITLES = re.compile(r"\b(Mr|Mrs|Ms|Dr)\.(?=\s)")
# An unknown word with such an end that opens a sentence is a name only if a sentence goes on as behind a name.
_NO_NAME_ENDS = ("ly", "ing", "ed")
# Beside verbs, what follows a name that opens a sentence.
_BEHIND_NAMES = (
    ", and or 's the is are has have had does did not never also then now still soon just who which with without can "
    "will would could never always quickly slowly happily quietly both in named called"
).split()
_BEFORE_KINDS = frozenset(
    "a an the this that his her their its my your our one and then now so but when while as if two three soon once "
    "every each at in on another some no".split()
)
# Behind a first word that is no name ("Beyond the hills").
_BEFORE_NOUNS = ("a", "an", "the", "his", "her", "their", "its")
_EPITHETS = ("little", "big", "tiny", "old", "young", "brave", "clever", "dear", "poor")
_NAME_LENGTH = 40
# Words that are read as others together ("goes to sleep").
_LONGEST_FORM = 4
_DETERMINERS = ("a", "an", "the", "his", "her", "its", "their", "some", "two", "three", "another")


@dataclass(frozen=True)
class Reading:
    """A story as a model of a closed world reads it.

    Attributes:
        sentences: normalised text of each frame, its sentences joined by "and": lower case, names as `#1`, unknown
            words as `?`.
        names: the name behind `#1`, `#2`, ...
        genders: "she" or "he" for names that are usually given to one, else None.
        nouns: words of the story that may stand for an entity without a name, in order of appearance.
        unknown: words of the story outside the world, as written, in order, without repetition.
        shots: how close the story wants each frame shown, "close" or "wide"; None where it does not say. Empty means
            that it says nothing of any.
        parts: the sentences of each frame apart.
    """

    sentences: tuple[str, ...]
    names: tuple[str, ...]
    nouns: tuple[str, ...]
    unknown: tuple[str, ...]
    genders: tuple[str | None, ...] = ()
    shots: tuple[str | None, ...] = ()
    parts: tuple[tuple[str, ...], ...] = ()

    @property
    def frames(self) -> tuple[str, ...]:
        """What plain code reads of each frame: its sentences with ". and" between them."""
        return tuple(" . and ".join(parts) for parts in self.parts) or self.sentences


def split_story(story: str) -> list[str]:
    """The texts of a story's frames: its lines if each of several ends like a sentence, else its sentences.

    Parts without a letter or digit are left out.
    """
    normal = unicodedata.normalize("NFC", story)
    normal = _TITLES.sub(r"\1", normal)
    text = "".join(c if c.isspace() or unicodedata.category(c)[0] != "C" else " " for c in normal)
    lines = [" ".join(line.split()) for line in text.splitlines() if _has_words(line)]
    if len(lines) > 1 and all(_LINE_END.search(line) for line in lines):
        return lines
    return _sentences(" ".join(lines))


def _sentences(text: str) -> list[str]:
    """The sentences of a text; what is said in quotation marks does not end the sentence around it."""
    straight = text.count('"') % 2 == 0
    parts, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        before = text[start : end.end()]
        quoting = (straight and before.count('"') % 2) or before.count("\u201c") > before.count("\u201d")
        goes_on = end.group()[-1] in '"\u201d\u2019' and text[end.end() :].lstrip()[:1].islower()
        if not quoting and not goes_on:
            parts.append(text[start : end.start()] + "".join(c for c in end.group() if c in '"\u201d'))
            start = end.end()
    return [part.strip() for part in (*parts, text[start:]) if _has_words(part)]


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _is_name(word: str, world: World) -> bool:
    lower = word.lower()
    known = lower in world.words or lower in NEVER_NAMES
    return word[0].isupper() and not known and len(word) <= _NAME_LENGTH


def _opens(tokens: list[str], capitals: Counter[str], world: World) -> bool:
    """Whether the first word of a sentence opens it ("Quickly Lina runs", "Tired, she sleeps", "Deep in the forest")
    and names nobody; `capitals` counts the story's words with a capital letter."""
    following = tokens[1] if len(tokens) > 1 else ""
    third = tokens[2] if len(tokens) > 2 else ""
    beginning = third if following == "," else following
    kind = any(token.lower() in world.kinds or token.lower() in world.colours for token in tokens[2:6])
    if following in _BEFORE_NOUNS and not kind and capitals[tokens[0]] < 2:
        return not _POSSESSIVE.search(tokens[0])
    goes_on = beginning[:1].isupper() or beginning in ("she", "he", "they", "it")
    if _POSSESSIVE.search(tokens[0]):
        return False
    if len(tokens) == 1 and capitals[tokens[0]] < 2 and usual_gender(tokens[0]) is None:
        # "Boom!"
        return True
    goes = following in (*_BEHIND_NAMES, "") or following in world.all_verbs or following not in world.words
    if not goes and following[0].islower() and capitals[tokens[0]] < 2 and usual_gender(tokens[0]) is None:
        return True
    return beginning in ("she", "he", "they") or (tokens[0].endswith(_NO_NAME_ENDS) and goes_on)


def read_story(story: str, world: World) -> Reading:
    """Read a story for a model of `world`. Never raises for any text; a story without words gives an empty reading."""
    reader = _Reader(world, story)
    shown = [shot_size(without_heading(text)) for text in split_story(story)]
    told = _narrated(story)
    parts = tuple(tuple(reader.sentence(without_speech(part, told)) for part in _sentences(text)) for text, _ in shown)
    frames = tuple(" and ".join(sentences) for sentences in parts)
    genders = tuple(usual_gender(name) for name in reader.names)
    shots = tuple(size for _, size in shown) if any(size for _, size in shown) else ()
    return Reading(frames, tuple(reader.names), tuple(reader.nouns), tuple(reader.unknown), genders, shots, parts)


def _narrated(story: str) -> frozenset[str]:
    """Words with a capital letter that the story says itself, outside quotation marks."""
    return frozenset(_POSSESSIVE.sub("", token) for token in _TOKEN.findall(unquoted(story)) if token[0].isupper())


def _named_like_words(story: str, world: World) -> frozenset[str]:
    """Words of places, times, weathers and deeds, and given names, that this story uses as names ("Sunny", "Hop",
    "Will"): always with a capital letter, more than once, and not only where a sentence begins."""
    found: dict[str, int] = {}
    inside: set[str] = set()
    small: set[str] = set()
    called: set[str] = set()
    for sentence in (part for text in split_story(story) for part in _sentences(text)):
        tokens = _TOKEN.findall(sentence)
        for at, token in enumerate(tokens):
            word = _POSSESSIVE.sub("", token) or token
            if not word[0].isupper() or word[1:] != word[1:].lower():
                small.add(word.lower())
            elif _is_bare_noun(tokens, at, world):
                # A noun for one thing needs an article, a name does not: "Poppy is a rabbit".
                found[word] = found.get(word, 0) + 2
                inside.add(word)
                called |= {word} if at and tokens[at - 1] in ("named", "called") else set()
            elif word.lower() not in NEVER_NAMES and (
                usual_gender(word) or (word.lower() in world.words and word.lower() not in world.kinds)
            ):
                named = at > 0 and tokens[at - 1] in ("named", "called", "am")
                found[word] = found.get(word, 0) + (2 if named else 1)
                inside |= {word} if at else set()
    return frozenset(word for word in inside if word in called or (found[word] > 1 and word.lower() not in small))


def _is_bare_noun(tokens: list[str], at: int, world: World) -> bool:
    """Whether the word with a capital letter at `at` is a noun of one thing, or a word of looks, that stands where a
    name does."""
    lower = tokens[at].lower()
    noun = lower in world.kinds and world.kinds[lower] in world.things
    looks = world.forms.get(lower, lower) in (*world.colours, *world.sizes, *world.patterns)
    before, following = tokens[at - 1].lower() if at else "", tokens[at + 1].lower() if at + 1 < len(tokens) else ""
    verb = following in ("is", "was", "has", "had") or world.forms.get(following, following) in world.all_verbs
    if before in ("named", "called") and tokens[at][0].isupper():
        return True
    if noun and at and before not in _BEFORE_KINDS and not tokens[at - 1][0].isupper():
        return True
    return (noun and before in ("", "and", "named", "called") and (verb or following in ("and", ","))) or (
        looks and ((not before and verb) or before in ("named", "called"))
    )


def _is_title(token: str) -> bool:
    """Whether "Grandpa" or "Old" with a capital letter belongs to the name behind it."""
    return token[0].isupper() and (token.lower() in KIN or token.lower() in _EPITHETS)


class _Reader:
    """Reads sentences one after the other and remembers names."""

    def __init__(self, world: World, story: str):
        self._world, self._known_names = world, _named_like_words(story, world)
        self._capitals = Counter(_POSSESSIVE.sub("", token) for token in _TOKEN.findall(story) if token[0].isupper())
        self.names: list[str] = []
        # Every part of a name of several words stands for the whole: "Captain Bo" may be called "Bo" later.
        self._placeholder: dict[str, str] = {}
        self.nouns: dict[str, None] = {}
        self.unknown: dict[str, None] = {}

    def sentence(self, text: str) -> str:
        """The normalised sentence."""
        words: list[str] = []
        previous_was_name = False
        tokens = self._folded(_TOKEN.findall(_COMPOUND.sub(r"\1\2", _PAUSE.sub(" , ", _CLAUSE_END.sub(" and ", text)))))
        for at, token in enumerate(tokens):
            word = _POSSESSIVE.sub("", token) or token
            owns = word != token
            title = self._title(tokens, at)
            read = self._placeholder.get(title or word)
            if title and read is None:
                read = self._name(title, None)
            is_name = word in self._known_names or _is_name(word, self._world)
            if read is None and is_name and not (at == 0 and _opens(tokens, self._capitals, self._world)):
                read = self._name(word, words[-1] if previous_was_name else None)
            if read is None and previous_was_name and word[0].isupper() and self.names[-1].lower() in TITLES:
                # "Mr Fox" is a fox of this name.
                self.names[-1] = f"{self.names[-1]} {word}"
            own = self.names[int(words[-1][1:]) - 1] if words and words[-1][0] == "#" else ""
            fresh = own and own == _POSSESSIVE.sub("", tokens[at - 1])
            if read is None and previous_was_name and word[0].isupper() and (own.endswith(word) or fresh):
                if fresh and word.lower() not in self._world.kinds:
                    self.names[int(words[-1][1:]) - 1] = f"{own} {word}"
                if word.lower() not in self._world.kinds:
                    # "Mrs Brown" is not brown.
                    continue
            previous_was_name = read is not None and not owns
            read = read or self._word(word)
            if read.startswith("#") and at and _is_title(tokens[at - 1]) and words[-1:] == [tokens[at - 1].lower()]:
                # "Grandpa Joe" is one name.
                words.pop()
            # A name said in parts, and unknown words in a row, are read once.
            if words[-1:] != [read] or read[0] not in f"#{UNKNOWN}":
                words.append(read)
            if owns and read.startswith("#"):
                words.append(OWNS)
        return _ASIDE.sub("", _COMPARED.sub("", " ".join(words)))

    def _title(self, tokens: list[str], at: int) -> str | None:
        """ "Little Bear" where "Little" and "Bear" at `at` and behind have capital letters: a bear of this name."""
        word, following = tokens[at], tokens[at + 1] if at + 1 < len(tokens) else ""
        noun = _POSSESSIVE.sub("", following)
        called = noun[:1].isupper() and noun.lower() in self._world.kinds and noun != noun.upper()
        known = word.lower() in self._world.words and word.lower() not in _BEFORE_KINDS
        return f"{word} {noun}" if called and known and word[:1].isupper() and word.lower() not in TITLES else None

    def _folded(self, tokens: list[str]) -> list[str]:
        """The tokens with each word, then each phrase, that the world reads as another one replaced by it."""
        for longest in (1, _LONGEST_FORM):
            folded: list[str] = []
            at = 0
            while at < len(tokens):
                length, form = self._form(tokens, at, longest)
                folded += tokens[at : at + 1] if form is None else form.split()
                at += length
            tokens = folded
        return tokens

    def _form(self, tokens: list[str], at: int, longest: int) -> tuple[int, str | None]:
        """How many tokens at `at` are read as what; None as they are."""
        for length in range(min(longest, len(tokens) - at), 0, -1):
            words = tokens[at : at + length]
            called = _is_title(words[0]) and at + 1 < len(tokens) and tokens[at + 1][0].isupper()
            known = called or words[0] in self._placeholder or words[0] in self._known_names or self._title(tokens, at)
            if length == 1 and (known or self._describes(tokens, at)):
                break
            form = self._world.forms.get(" ".join(words).lower().replace("\u2019", "'"))
            if form is not None:
                return length, form
        return 1, None

    def _describes(self, tokens: list[str], at: int) -> bool:
        """Whether "broken" at `at` is no verb but says which thing is meant: "a broken kite"."""
        before = tokens[at - 1].lower() if at else ""
        following = tokens[at + 1].lower() if at + 1 < len(tokens) else ""
        named = following in self._world.kinds or following in self._world.plurals or following in self._world.colours
        return before in _DETERMINERS and named and self._world.forms.get(tokens[at].lower()) in self._world.all_verbs

    def _name(self, word: str, before: str | None) -> str | None:
        """The placeholder of a new name or, if this is its next part, of the name `before`; None if too many."""
        if before == f"#{len(self.names)}" and len(self.names[-1]) < _NAME_LENGTH:
            self.names[-1] = f"{self.names[-1]} {word}"
        elif len(self.names) < self._world.max_names:
            self.names.append(word)
        else:
            return None
        self._placeholder[word] = f"#{len(self.names)}"
        return self._placeholder[word]

    def _word(self, word: str) -> str:
        lower = word.lower()
        noun = self._world.plurals.get(lower, lower)
        if noun in self._world.kinds:
            self.nouns[noun] = None
        if lower == "," or lower in self._world.words:
            return lower
        self.unknown[word] = None
        return UNKNOWN

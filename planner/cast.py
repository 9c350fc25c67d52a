"""Who is in a story, as far as its own words say it plainly: looks bound to names, settings and relations.

What is found here narrows the grammar a small model decodes with: it cannot give a red cat the looks of a tree, and
chooses only where the story leaves a choice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raccord.planner.reading import Reading
from raccord.planner.scene import MAX_ITEMS
from raccord.planner.world import World

_LINKS = ("with", "wearing", "in")
_DRESSING = ("wears", "wearing", "has", "on")
_PRONOUNS = ("she", "he", "it", "her", "him")
# Words that take whoever is named before them out of the frame.
EXITS = frozenset({"leaves", "leave", "home", "away", "off"})
_MAX_RELATIONS = 2
# "looks around" is an action, "looks at" is not.
_LOOKING = ("look", "looks", "looking")
# "Bo comes" stands there; "Bo comes to the beach" may be walking yet.
_TO = ("to", "into", "?")
# First match wins; "by" counts before a name or a noun only, since one can also be by the beach.
_RELATIONS = (
    ("left of", re.compile(r"\bleft of\b")),
    ("right of", re.compile(r"\bright of\b")),
    ("in front of", re.compile(r"\bin front of\b")),
    ("behind", re.compile(r"\bbehind\b")),
    ("above", re.compile(r"\b(?:above|over)\b")),
    ("next to", re.compile(r"\b(?:next to|beside|near|close to|by (?=#))")),
)


@dataclass(frozen=True)
class Role:
    """Somebody or something of a story.

    Attributes:
        name: as the model writes it, `#1` or a noun.
        kind: canonical kind, "cat"; None if the story does not say.
        colour, accessory: None if the story does not say.
    """

    name: str
    kind: str | None = None
    colour: str | None = None
    accessory: str | None = None

    def cards(self, world: World) -> tuple[str, ...]:
        """Looks the story allows: one if it says the kind."""
        if self.kind is None:
            return world.cards
        noun = f"{self.colour} {self.kind}" if self.colour else self.kind
        worn = f" with a {self.accessory}" if self.accessory and self.kind not in world.things else ""
        return (f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}{worn}",)

    def actions(self, world: World) -> tuple[str, ...]:
        """What it can do."""
        if self.kind is None:
            return world.actions
        return world.thing_actions if self.kind in world.things else world.creature_actions


@dataclass(frozen=True)
class Choice:
    """What one sentence says and leaves open.

    Attributes:
        backgrounds: settings it may play in.
        relations: (subject, relation, object) it states.
        required, possible: names of roles its frame must and can show, in order of the roles; the model chooses who of
            those that were there before is still there.
        actions: (role, action) for those of whom the sentence says what they do.
        several: whether it speaks of "they", so that two creatures at least must be there if there are two.
    """

    backgrounds: tuple[str, ...]
    relations: tuple[tuple[str, str, str], ...]
    required: tuple[str, ...]
    possible: tuple[str, ...]
    actions: tuple[tuple[str, str], ...]
    several: bool


@dataclass(frozen=True)
class Cast:
    """Roles of a story in order of appearance, choices of each sentence, and phrases that became no role."""

    roles: tuple[Role, ...]
    choices: tuple[Choice, ...]
    left_out: tuple[str, ...]


def cast_story(reading: Reading, world: World) -> Cast:
    """Find the roles and choices of a story."""
    roles: dict[str, Role] = {}
    left_out: list[str] = []
    choices: list[Choice] = []
    setting, topic = next(iter(world.backgrounds)), None
    around: list[str] = []
    for sentence in reading.sentences:
        words = sentence.split()
        mentions = _read_sentence(words, topic, roles, left_out, world)
        topic = mentions[0][1] if mentions else topic
        settings = tuple(dict.fromkeys(world.setting_words[word] for word in words if word in world.setting_words))
        moved = bool(settings) and setting not in settings
        setting = settings[-1] if settings else setting
        named = list(dict.fromkeys(name for _, name in mentions))[:MAX_ITEMS]
        leaving = _leaving(words, mentions)
        several = "they" in words
        # Whoever is not named stays behind when the setting changes; "they" are all the creatures.
        stay = [] if "alone" in words or (moved and not several) else around
        if moved:
            stay = [name for name in stay if roles[name].kind not in world.things]
        kept = [name for name in roles if name in (*stay, *named) and name not in leaving][:MAX_ITEMS]
        around = kept or [name for name in roles if name in around] or list(roles)[:MAX_ITEMS]
        choices.append(
            Choice(
                settings or (setting,),
                _relations(sentence, mentions, around),
                tuple(name for name in around if name in named and name not in leaving),
                tuple(around),
                _actions(words, mentions, around, roles, world),
                several,
            )
        )
    shown = list(roles.values())
    left_out += [role.name for role in shown[MAX_ITEMS:]]
    known = {role.name for role in shown[:MAX_ITEMS]}
    return Cast(tuple(shown[:MAX_ITEMS]), tuple(_among(choice, known) for choice in choices), tuple(left_out))


def _among(choice: Choice, known: set[str]) -> Choice:
    """The choice without roles that found no place in the cast."""
    return replace(
        choice,
        relations=tuple(relation for relation in choice.relations if {relation[0], relation[2]} <= known),
        required=tuple(name for name in choice.required if name in known),
        possible=tuple(name for name in choice.possible if name in known),
        actions=tuple(told for told in choice.actions if told[0] in known),
    )


def _actions(
    words: Sequence[str],
    mentions: Sequence[tuple[int, str]],
    around: Sequence[str],
    roles: Mapping[str, Role],
    world: World,
) -> tuple[tuple[str, str], ...]:
    """What a sentence says that somebody does: a verb speaks of whoever is named between it and the verb before."""
    told: dict[str, str] = {}
    subjects: list[str] = []
    start = 0
    for at, word in enumerate(words):
        action = world.action_words.get(word)
        following = words[at + 1] if at + 1 < len(words) else ""
        if action is None or (word in _LOOKING and following != "around") or (word == "comes" and following in _TO):
            continue
        named = [name for place, name in mentions if start <= place < at]
        # "She stays and waits": the last verb of one subject counts.
        subjects = list(around) if "they" in words[start:at] else named or subjects
        told |= {name: action for name in subjects if name in around and roles[name].kind not in world.things}
        start = at
    return tuple(told.items())


def _leaving(words: Sequence[str], mentions: Sequence[tuple[int, str]]) -> set[str]:
    """Who goes away in a sentence: whoever is named last before "leaves", "goes home", "walks away"."""
    exits = [at for at, word in enumerate(words) if word in EXITS]
    return {
        [name for at, name in mentions if at < leave][-1] for leave in exits if any(at < leave for at, _ in mentions)
    }


def _relations(
    sentence: str, mentions: Sequence[tuple[int, str]], around: Sequence[str]
) -> tuple[tuple[str, str, str], ...]:
    """Relations between the last one named before the words of a relation and the first one after them."""
    found: dict[frozenset[str], tuple[str, str, str]] = {}
    for relation, pattern in _RELATIONS:
        for match in pattern.finditer(sentence):
            at = len(sentence[: match.start()].split())
            subject = next((name for place, name in reversed(mentions) if place < at), None)
            other = next((name for place, name in mentions if place > at), None)
            if subject is not None and other is not None and subject != other and {subject, other} <= set(around):
                found.setdefault(frozenset((subject, other)), (subject, relation, other))
    return tuple(found.values())[:_MAX_RELATIONS]


def _read_sentence(
    words: list[str], topic: str | None, roles: dict[str, Role], left_out: list[str], world: World
) -> list[tuple[int, str]]:
    """Add the roles of a sentence; returns where it mentions which role."""
    mentions: list[tuple[int, str]] = []
    at = 0
    while at < len(words):
        word = words[at]
        after = at + 1
        latest = mentions[-1][1] if mentions else topic
        if word.startswith("#"):
            roles.setdefault(word, Role(word))
            mentions.append((at, word))
        elif word in world.kinds:
            who, after = _phrase(words, at, roles, left_out, world)
            mentions.append((at, who))
        elif word in _PRONOUNS and topic is not None:
            mentions.append((at, topic))
        elif word in _DRESSING and latest is not None:
            accessory, after = _worn(words, at, world)
            if accessory and roles[latest].accessory is None:
                roles[latest] = replace(roles[latest], accessory=accessory)
        at = max(after, at + 1)
    return mentions


def _phrase(
    words: Sequence[str], at: int, roles: dict[str, Role], left_out: list[str], world: World
) -> tuple[str, int]:
    """The role a noun phrase with its noun at `at` speaks of, and where the phrase ends."""
    start = at
    while start and (words[start - 1] in world.colours or words[start - 1] == "?"):
        start -= 1
    colour = next((word for word in words[start:at] if word in world.colours), None)
    determiner = words[start - 1] if start and words[start - 1] in ("a", "an", "the") else None
    begin = start - 1 if determiner else start
    accessory, end = _attire(words, at + 1, world)
    name: str | None = None
    if words[end : end + 1] and words[end] in ("named", "called") and words[end + 1 : end + 2]:
        if words[end + 1].startswith("#"):
            name, end = words[end + 1], end + 2
    elif determiner and words[end : end + 1] and words[end].startswith("#"):
        name, end = words[end], end + 1
    if name is None and determiner:
        before = begin - 1
        if before > 0 and words[before] in (",", "is"):
            before -= 1
        if before >= 0 and words[before].startswith("#"):
            name = words[before]
    if name and accessory is None:
        accessory, end = _attire(words, end, world)
    kind = world.kinds[words[at]]
    same_kind = [role.name for role in roles.values() if role.kind == kind]
    if name:
        role = roles.get(name, Role(name))
        roles[name] = replace(
            role, kind=role.kind or kind, colour=role.colour or colour, accessory=role.accessory or accessory
        )
        return name, end
    if same_kind and (determiner == "the" or words[at] in same_kind):
        alike = [other for other in same_kind if colour in (None, roles[other].colour)]
        if not alike:
            left_out.append(" ".join(words[start : at + 1]))
        return (alike or same_kind)[0], end
    roles[words[at]] = Role(words[at], kind, colour, accessory)
    return words[at], end


def _attire(words: Sequence[str], at: int, world: World) -> tuple[str | None, int]:
    """The accessory of "with a hat" or "without a hat" (none) at `at`, and where the words of it end."""
    link = words[at] if at < len(words) else ""
    if link not in (*_LINKS, "without"):
        return None, at
    accessory, end = _worn(words, at, world)
    return (None if link == "without" else accessory), end


def _worn(words: Sequence[str], at: int, world: World) -> tuple[str | None, int]:
    """The accessory of "with a top hat", where `at` is at "with", and where it ends; (None, at) if there is none."""
    for end in range(at + 1, min(at + 5, len(words))):
        if words[end] in world.accessories:
            return words[end], end + 1
        if words[end] not in ("a", "an", "the", "top", "?", *world.colours):
            break
    return None, at

"""What a story has said so far, and whom its pronouns stand for.

A pronoun is resolved as people do it in short stories: whoever was the subject last comes first, then those named
since, then the rest; gender, number and whether somebody can act rule candidates out; the object of a clause is not
its subject.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from raccord.planner.looks import Looks, Role
from raccord.planner.world import World

GENDERS = {"she": "she", "her": "she", "herself": "she", "he": "he", "him": "he", "himself": "he"}
IT = ("it", "itself")
OWNERS = {"her": "she", "his": "he", "its": "it"}
# What people carry about.
PORTABLE = ("ball", "kite", "book", "umbrella", "cake", "flower", "star", "balloon", "drum", "lamp")
# What others are carried on.
BODY = ("back", "head", "shoulder", "shoulders", "tail", "lap", "knee", "knees")
# What others are in front of, as well as of whom they belong to.
FACE = ("nose", "face", "eyes", "feet", "paws", "toes")
_SUBJECTS = ("she", "he", "it")
_REFLEXIVE = ("herself", "himself", "itself")


class Mention(NamedTuple):
    """Tokens [start, end) that speak of the roles `who`; `shown` is false for owners ("Lina's ball")."""

    start: int
    end: int
    who: tuple[str, ...]
    shown: bool = True


@dataclass
class Discourse:
    """What a story has said so far.

    Attributes:
        roles: everybody and everything, in order of appearance.
        genders: role -> "she", "he" or "it", once known.
        recent: roles, the last subject first, then by how lately they were spoken of.
        around: who may be in the present frame, before its sentence is read.
        left_out: phrases that have no effect.
        aliases: what somebody was called before their name was told -> the name.
        relatives: role -> whose relative it is; owners: thing -> who has it.
        noun: the noun of the world said last.
        seen: whoever an earlier frame shows; looks that change later cannot be shown.
    """

    world: World
    genders: dict[str, str]
    roles: dict[str, Role] = field(default_factory=dict)
    recent: list[str] = field(default_factory=list)
    around: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    relatives: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    noun: str = ""
    seen: set[str] = field(default_factory=set)

    def name(self, old: str, new: str) -> None:
        """Call a role by its proper name from now on."""
        told = self.roles.pop(new, Role(new))
        role = self.roles[old]
        looks = Looks(role.colour, role.second, role.pattern, role.accessory, role.size)
        renamed = told.with_looks(looks, kind=role.kind)
        self.roles = {new if name == old else name: renamed if name == old else r for name, r in self.roles.items()}
        self.recent = [new if name == old else name for name in self.recent]
        self.around = [new if name == old else name for name in self.around]
        if old in self.genders:
            self.genders.setdefault(new, self.genders.pop(old))
        self.aliases[old] = new
        self.owners = {a: new if b == old else b for a, b in self.owners.items()}
        self.relatives = {new if a == old else a: new if b == old else b for a, b in self.relatives.items()}

    def is_creature(self, name: str) -> bool:
        """Whether it can act."""
        return self.roles[name].kind not in self.world.things

    def things(self) -> set[str]:
        """Whatever cannot act."""
        return {name for name in self.roles if not self.is_creature(name)}

    def owners_of(self, kind: str) -> set[str]:
        """Who has something of this kind."""
        return {owner for thing, owner in self.owners.items() if thing in self.roles and self.roles[thing].kind == kind}

    def carried(self, thing: str) -> bool:
        """Whether it is something that people carry about."""
        return thing in self.roles and self.roles[thing].kind in PORTABLE

    def forget(self, names: Collection[str]) -> None:
        """Forget those of `names` that are nobody in particular ("nobody had ever seen a robot")."""
        for name in names:
            if not name.startswith("#") and self.is_creature(name) and name not in self.relatives:
                del self.roles[name]
        self.recent = [name for name in self.recent if name in self.roles]
        self.around = [name for name in self.around if name in self.roles]

    def spoken(self, mentions: Sequence[Mention], subjects: Sequence[str]) -> None:
        """Remember a sentence: its subjects first, then whoever else it speaks of."""
        named = [name for mention in mentions for name in mention.who if mention.shown]
        self.recent = list(dict.fromkeys([*subjects, *named, *self.recent]))

    def creatures_around(self, mentions: Sequence[Mention]) -> tuple[str, ...]:
        """Whoever "they" are: the creatures that are here or named in this sentence, two at least if there are two."""
        named = [name for mention in mentions for name in mention.who]
        group = [name for name in self.roles if name in (*self.around, *named) and self.is_creature(name)]
        others = [name for name in self.recent if self.is_creature(name) and name not in group]
        group += others[: max(0, 2 - len(group))]
        if len(group) < 2:
            group = [name for name in self.roles if name in (*self.around, *named)] or group
        return tuple(name for name in self.roles if name in group)

    def pronoun(
        self, word: str, mentions: Sequence[Mention], subject: tuple[str, ...], *, as_object: bool = False
    ) -> tuple[str, ...]:
        """The role a singular pronoun stands for, () if there is none; `as_object` tells whether an "it" is one."""
        if word in _REFLEXIVE:
            return subject
        gender = GENDERS.get(word, "it")
        inside = [name for mention in mentions for name in mention.who if mention.shown]
        # A new clause keeps the first one's subject; an object is somebody else than its own subject.
        is_subject = word in _SUBJECTS and not as_object
        order = [*subject, *inside, *self.recent] if is_subject else [*reversed(inside), *self.recent]
        # "Greta's birthday is today, and she dances."
        order += [name for mention in mentions for name in mention.who if not mention.shown]
        excluded = () if is_subject else subject
        candidates = [name for name in dict.fromkeys(order) if name not in excluded and self._allowed(name, gender)]
        if not candidates and len(excluded) > 1:
            # "They climb, Lina in front and Bo behind her": only Bo is not she.
            others = (name for name in order if name not in inside[-1:])
            candidates = [name for name in dict.fromkeys(others) if self._allowed(name, gender)]
        known = [name for name in candidates if self.genders.get(name) == gender]
        if gender == "it" and any(not self._is_one_of_many(name) for name in candidates):
            candidates = [name for name in candidates if not self._is_one_of_many(name)]
        if gender == "it":
            known = [name for name in candidates if name in known or not name.startswith("#")]
        chosen = next(iter(known or candidates), None)
        if chosen is None:
            return ()
        if chosen.startswith("#") or gender != "it":
            self.genders.setdefault(chosen, gender)
        return (chosen,)

    def _is_one_of_many(self, name: str) -> bool:
        """Whether it is one of "the flowers"."""
        role = self.roles[name]
        alike = [other for other in self.roles.values() if other.kind == role.kind and not other.name.startswith("#")]
        return not name.startswith("#") and len(alike) > 1 and role.colour is None and role.size is None

    def _allowed(self, name: str, gender: str) -> bool:
        if self.genders.get(name, gender) != gender:
            return False
        return gender == "it" or self.is_creature(name)

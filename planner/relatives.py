"""Relatives, friends and others: "her little brother", "his friend", "the other"."""

from collections.abc import Sequence

from raccord.planner.discourse import OWNERS, Discourse, Mention
from raccord.planner.introducing import named
from raccord.planner.kinship import KIN
from raccord.planner.looks import POSSESSIVES, Role
from raccord.planner.naming import is_name_at
from raccord.planner.reading import UNKNOWN

_FRIENDLY = ("best", "good", "great", "new", "dear", "old", "own", UNKNOWN)
_FRIENDS = ("friend", "neighbour", "companion", "guest", "visitor")
_COMPANY = ("friends", "guests", "visitors", "companions")


def others_than(
    words: Sequence[str], at: int, mentions: Sequence[Mention], subject: tuple[str, ...], story: Discourse
) -> Mention | None:
    """Whom "her friend", "the other" or "her guests" at `at` speaks of: creatures of the story that are not she."""
    place = at + 1
    while place < len(words) and (words[place] in _FRIENDLY or words[place] in story.world.sizes):
        place += 1
    noun = words[place] if place < len(words) else ""
    other = noun in ("other", "others") and words[at] == "the"
    if not other and (words[at] not in (*OWNERS, "'s", "their", "the") or noun not in (*_FRIENDS, *_COMPANY)):
        return None
    if words[at] in OWNERS:
        # "His friend" tells that somebody is a he.
        story.pronoun(OWNERS[words[at]], mentions, ())
    if is_name_at(words, place + 1) or (words[at] == "the" and noun in _FRIENDS and not subject):
        return None
    owner = story.pronoun(OWNERS[words[at]], mentions, ()) if words[at] in OWNERS else subject
    if words[at] == "'s" and mentions:
        owner = mentions[-1].who
    group = [name for name in story.creatures_around(mentions) if name not in owner]
    known = [name for name in story.recent if name in group] or group
    many = noun in ("others", *_COMPANY)
    return Mention(at, place + 1, tuple(group if many else known[:1])) if known else None


def relative_of(words: Sequence[str], at: int, mentions: Sequence[Mention], story: Discourse) -> Mention | None:
    """Whom "her little brother #2", "#1's cousin" or "his sister" at `at` speaks of; None if it is nobody's relative.

    A relative is of the kind of whoever it is related to, unless the story says what it is.
    """
    if words[at] not in POSSESSIVES or words[at] == "their":
        return None
    place = at + 1
    while place < len(words) and (words[place] in story.world.sizes or words[place] == UNKNOWN):
        place += 1
    kin = words[place] if place < len(words) else ""
    if kin not in KIN:
        return None
    last = mentions[-1] if mentions else None
    owner = last.who if words[at] == "'s" and last else story.pronoun(OWNERS.get(words[at], "it"), mentions, ())
    end = place + 1
    name = _kin_name(words, end)
    if name is not None:
        end = words.index(name, end)
        mention = named(words, end, story)
        who, end = name, mention.end
        if kin in story.roles and story.roles[who].kind is None:
            story.name(kin, who)
    elif (
        last is not None
        and len(last.who) == 1
        and last.who[0].startswith("#")
        and last.who != owner
        and (list(words[last.end : at]) in ([","], ["is"]))
    ):
        # "Flint, her brother," and "Flint is her brother".
        who = last.who[0]
    else:
        alike = [name for name, other in story.relatives.items() if other in owner and story.aliases.get(kin) == name]
        family = [] if alike or kin in story.roles else _family(kin, owner, story)
        who = alike[0] if alike else family[0] if len(family) == 1 else kin
        story.roles.setdefault(who, Role(who))
    if owner and owner[0] != who:
        story.relatives.setdefault(who, owner[0])
    gender = KIN[kin]
    if gender is not None:
        story.genders.setdefault(who, gender)
    return Mention(at, end, (who,), shown=words[end : end + 1] != ["'s"])


def _family(kin: str, owner: Sequence[str], story: Discourse) -> list[str]:
    """Named creatures of the story that may be this relative of `owner`: of its kind, and a she or a he like it."""
    kinds = {story.roles[name].kind for name in owner if name in story.roles}
    named = [name for name in story.roles if name.startswith("#") and name not in owner]
    fit = [name for name in named if story.roles[name].kind in kinds and None not in kinds]
    return [name for name in fit if KIN[kin] is None or story.genders.get(name, KIN[kin]) == KIN[kin]]


def _kin_name(words: Sequence[str], at: int) -> str | None:
    """The name behind "her brother": "her brother #2", "her brother, #2,", "her brother named #2"."""
    rest = list(words[at : at + 3])
    if rest[:1] and rest[0].startswith("#"):
        return rest[0]
    if rest[:1] in (["named"], ["called"]) and rest[1:2] and rest[1].startswith("#"):
        return rest[1]
    return rest[1] if len(rest) == 3 and rest[0] == rest[2] == "," and rest[1].startswith("#") else None

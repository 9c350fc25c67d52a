"""Where clauses begin, and who their subjects are, by the words around a mention."""

from collections.abc import Sequence

from raccord.planner.discourse import Mention
from raccord.planner.reading import UNKNOWN
from raccord.planner.world import World

BE = ("is", "are")


def fronted(words: Sequence[str], mention: Mention, world: World) -> bool:
    """Whether a sentence begins with a place and its verb comes before its subject ("behind the house sits Bo")."""
    following = words[mention.end] if mention.end < len(words) else ""
    return opened(words, mention.start) and (following in world.all_verbs or following in BE)


def following(words: Sequence[str], mentions: Sequence[Mention], at: int) -> tuple[str, ...]:
    """Everybody in "Cora the cat and Dan the dog" behind `at`."""
    chain: list[Mention] = []
    for mention in mentions:
        if mention.start > at and (not chain or list(words[chain[-1].end : mention.start]) in (["and"], [","])):
            chain.append(mention)
    return tuple(dict.fromkeys(name for mention in chain for name in mention.who))


def opened(words: Sequence[str], at: int) -> bool:
    """Whether a clause begins with the preposition before `at`."""
    if not at or words[at - 1] not in PREPOSITIONS or words[at - 1] in ("with", "at"):
        return False
    start = at - 1
    while start and words[start - 1] in PLACING:
        start -= 1
    return start == 0 or words[start - 1] in ("and", ",") or words[start - 1] in ADVERBS


def acts(words: Sequence[str], at: int, world: World) -> bool:
    """Whether a verb follows, so that whoever was named last is a subject."""
    while at < len(words) and (words[at] in (",", "?") or words[at] in ADVERBS):
        at += 1
    return at < len(words) and (words[at] in world.all_verbs or words[at] in BE or words[at] in ("has", "not"))


ADVERBS = frozenset(
    "also then now still soon both all just too again right very there here slowly quickly happily quietly together "
    "proudly bravely alone finally suddenly always often ever almost nearly even only really once never first last "
    "anywhere somewhere later already yet together ahead well sadly meanwhile everywhere nearby".split()
)


PREPOSITIONS = frozenset(
    "to with without of by near behind beside at for from over above on under below in into inside onto around "
    "between beneath underneath alongside towards toward through across against like than".split()
)


# Pronouns that are subjects only: with them a clause begins.
_CLAUSE_SUBJECTS = ("they", "she", "he")
# Words of prepositions of several words.
PLACING = frozenset("to the left right side of in front on top next close".split())


def coordinated(words: Sequence[str], mentions: Sequence[Mention], last: int, world: World) -> tuple[str, ...]:
    """Everybody in "Lina, Bo and Tim" that ends with mention number `last`; after a verb or preposition only the
    last one is meant ("Lina meets Bo and Tim waits")."""
    if words[mentions[last].start] in _CLAUSE_SUBJECTS:
        return mentions[last].who
    chain = [mentions[last]]
    for mention in reversed(mentions[:last]):
        between = _without_aside(words[mention.end : chain[0].start])
        if not between or any(word not in ("and", ",", "with", UNKNOWN) for word in between):
            break
        chain.insert(0, mention)
    before = words[chain[0].start - 1] if chain[0].start else ""
    if len(chain) > 1 and (before in PREPOSITIONS or before in world.all_verbs or before in BE):
        chain = chain[-1:]
    return tuple(dict.fromkeys(name for mention in chain for name in mention.who if mention.shown))


def _without_aside(between: Sequence[str]) -> Sequence[str]:
    """The words between two mentions without ", who is a pink cat,"."""
    if len(between) > 2 and between[0] == "," and between[1] in ("who", "which") and "," in between[2:]:
        return between[between.index(",", 2) :]
    return between

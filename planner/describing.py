"""What a sentence says of the looks of those it speaks of: "is red", "are two cats", "wears a hat"."""

from collections.abc import Sequence

from raccord.planner.discourse import OWNERS, Discourse, Mention
from raccord.planner.looks import Looks, Phrase, attired, noun_phrase, predicate, worn
from raccord.planner.naming import is_name_at, learn
from raccord.planner.syntax import BE, fronted
from raccord.planner.world import World

_DRESSING = ("wears", "wear", "wearing", "has", "have", "gets", "on", "carries", "carry")
_ARTICLES = ("a", "an", "the")
_GIVING = ("gives", "give", "brings", "bring", "buys", "hands", "lends")
_UNDRESSING = ("takes", "take", "loses", "removes")


def looks_told(
    words: Sequence[str], at: int, mentions: Sequence[Mention], subject: Sequence[str], story: Discourse
) -> int:
    """Learn from "is red", "are two cats", "wears a hat", "loses his hat" at `at`; returns where it ends."""
    word = words[at]
    before = words[at - 1] if at else ""
    told, end, missing = worn(words, at, story.world)
    if end is not None and told.accessory and word in (*_ARTICLES, *OWNERS):
        # "Gives the frog a hat" dresses the frog; a hat that is only found cannot be shown.
        given = mentions and mentions[-1].end == at and any(word in _GIVING for word in words[:at])
        # "Gives the frog his hat": he wears it, and goes on to.
        own = given and word in OWNERS and len(mentions) > 1
        _dress((mentions[0].who if own else mentions[-1].who) if given else (), told, "gives", story)
        story.left_out += [f"gives {told.accessory}"] if own else []
        wearing = any(role.accessory == told.accessory for role in story.roles.values())
        story.left_out += missing if wearing else [told.accessory]
        return end
    if not subject:
        return at + 1
    if word in BE:
        turned = any(mention.end == at and fronted(words, mention, story.world) for mention in mentions)
        return at + 1 if before == "there" or turned else _being(words, at, subject, story)
    if word in _UNDRESSING:
        told, end, _ = worn(words, at + (2 if words[at + 1 : at + 2] == ["off"] else 1), story.world)
        if end is not None and told.accessory:
            story.left_out.append(f"{word} {'off ' if word in ('takes', 'take') else ''}{told.accessory}")
            return end + (words[end : end + 1] == ["off"])
    if word in (*_DRESSING, "with"):
        # "She walks through the forest with a backpack."
        told, end, missing = attired(words, at, story.world, verb=True)
        others = [role for name, role in story.roles.items() if name not in subject]
        if words[at + 1 : at + 2] and words[at + 1] in OWNERS and any(r.accessory == told.accessory for r in others):
            # "Bo puts on his glasses": Grandpa's.
            return max(end, at + 1)
        if end > at and before != "not" and "no" not in words[at + 1 : end]:
            changed = word == "gets" or "now" in words[max(0, at - 3) : at]
            _dress(subject, told, "gets" if changed else "", story)
            story.left_out += missing
        return max(end, at + 1)
    return at + 1


def _dress(names: Sequence[str], told: Looks, changing: str, story: Discourse) -> None:
    """Add what is told to the looks of these; a change (how, "gives") to whom earlier frames show is left out."""
    for name in names:
        if changing and name in story.seen and story.roles[name].accessory != told.accessory:
            story.left_out.append(f"{changing} {told.accessory}")
        else:
            story.roles[name] = story.roles[name].with_looks(told)


def _respectively(words: Sequence[str], at: int, world: World) -> list[Phrase]:
    """The phrases of "an owl and a cat" at `at`; none where it is only one."""
    found: list[Phrase] = []
    phrase = noun_phrase(words, at, world)
    while phrase is not None and phrase.determiner in ("a", "an") and not is_name_at(words, phrase.end):
        found.append(phrase)
        at = phrase.end + (words[phrase.end : phrase.end + 1] == [","])
        at += words[at : at + 1] == ["and"]
        phrase = noun_phrase(words, at, world) if at > phrase.end else None
    return found if len(found) > 1 else []


def _being(words: Sequence[str], at: int, subject: Sequence[str], story: Discourse) -> int:
    """ "#1 is a red cat", "#1 and #2 are cats", "the cat is red"."""
    start = at + 2 if words[at + 1 : at + 2] == ["both"] else at + 1
    phrase = noun_phrase(words, start, story.world)
    new = [name for name in subject if name.startswith("#")]
    each = _respectively(words, start, story.world) if len(new) > 1 else []
    if each and len(each) == len(new):
        # "#1 and #2 are an owl and a cat."
        for name, one in zip(new, each, strict=True):
            learn(name, one, story)
        return each[-1].end
    if phrase and words[at - 1 : at] == ["it"] and new and story.world.kinds[phrase.noun] in story.world.things:
        # "It is a lamp" says nothing of Lina.
        return at + 1
    unknown = all(story.roles[name].kind is None for name in new)
    article = phrase is not None and (phrase.determiner in ("a", "an") or (phrase.definite and unknown))
    if phrase and new and (article or phrase.plural) and not is_name_at(words, phrase.end):
        behind, end = described(words, phrase.end, story.world)
        for name in new:
            learn(name, phrase, story)
            story.roles[name] = story.roles[name].with_looks(behind)
        return end
    told = predicate(words, start, story.world) if words[at + 1 : at + 2] != ["not"] else None
    if told is None or any(not story.roles[name].fits(told[0]) for name in subject):
        return at + 1
    for name in subject:
        story.roles[name] = story.roles[name].with_looks(told[0])
    return told[1]


def described(words: Sequence[str], at: int, world: World) -> tuple[Looks, int]:
    """What ", green with yellow spots," at `at` says, and where it ends."""
    told = predicate(words, at + 1, world) if words[at : at + 1] == [","] else None
    return told if told is not None and words[told[1] : told[1] + 1] in ([], [","], ["and"]) else (Looks(), at)

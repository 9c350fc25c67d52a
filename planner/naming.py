"""What noun phrases give to the roles of a story: looks, names, and new roles without a name."""

from collections.abc import Sequence

from raccord.planner.discourse import Discourse, Mention
from raccord.planner.looks import Looks, Phrase, Role, predicate
from raccord.planner.world import World

_ORDINALS = ("", "", *"second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split())


def learn(name: str, phrase: Phrase, story: Discourse) -> None:
    """Add what a phrase says of somebody to what is known; what contradicts it is left out and told."""
    role = story.roles.get(name, Role(name))
    told = story.world.kinds[phrase.noun]
    if role.kind not in (None, told) or not role.fits(phrase.looks):
        story.left_out.append(spelt(phrase))
    story.roles[name] = role.with_looks(phrase.looks, kind=told)
    story.left_out += phrase.left_out


def with_nouns(words: Sequence[str], story: Discourse) -> list[str]:
    """The words with "a red one" read as "a red balloon": the noun that was said last."""
    world, read = story.world, list(words)
    for at, word in enumerate(words):
        if word in world.kinds or word in world.plurals:
            noun = world.plurals.get(word, word)
            # "He likes the blue one" speaks of the flowers, not of him.
            thing = world.kinds[noun] in world.things
            kept = story.noun and world.kinds[story.noun] in world.things and (not thing or _several(story))
            # "Hugo is a frog, but a yellow one" speaks of him.
            ahead = words[at : words.index(".", at) if "." in words[at:] else len(words)]
            kept = kept and not ({"one", "ones"} & {*ahead} and words[at - 2 : at - 1] == ["is"])
            if word in world.plurals or not kept:
                story.noun = noun
        before = words[at - 1] if at else ""
        following = words[at + 1] if at + 1 < len(words) else ""
        if word == "one" and story.noun and (following in world.sizes or following in world.colours):
            # "Two kites, one large and one small."
            behind = words[at + 2] if at + 2 < len(words) else ""
            if behind not in world.kinds and behind not in world.plurals and behind not in world.colours:
                read[at : at + 2] = ["a", following]
                read[at + 1] = f"{following} {story.noun}"
                continue
        described = before in world.colours or before in world.sizes or before in world.patterns
        if word in ("one", "ones") and story.noun and (described or before in ("another", "other")):
            plural = next((many for many, noun in world.plurals.items() if noun == story.noun), story.noun)
            read[at] = story.noun if word == "one" else plural
    return " ".join(read).split()


def _several(story: Discourse) -> bool:
    """Whether there are more than one of what was last spoken of in the plural."""
    kind = story.world.kinds[story.noun]
    return sum(role.kind == kind for role in story.roles.values()) > 1


def member_of(words: Sequence[str], phrase: Phrase, mentions: Sequence[Mention], story: Discourse) -> str | None:
    """Which of "two balloons, a red one and a blue one" a phrase tells of."""
    if phrase.determiner not in ("a", "an", "one", "the") or phrase.plural or phrase.looks == Looks():
        return None
    alike = [role for role in story.roles.values() if role.kind == story.world.kinds[phrase.noun]]
    nameless = [role for role in alike if not role.name.startswith("#")]
    if phrase.determiner == "the" and len(alike) > 1 and phrase.looks.colour and nameless:
        # "Two robots" first, "the red one" later.
        told = any(role.colour == phrase.looks.colour for role in alike)
        return None if told else next((role.name for role in nameless if role.fits(phrase.looks)), None)
    last = mentions[-1] if mentions else None
    if last is not None and len(last.who) == 1 and last.who[0].startswith("#") and phrase.determiner in ("a", "an"):
        role, before = story.roles[last.who[0]], words[phrase.start - 1]
        says = "is" in words[last.end : phrase.start] and role.kind == story.world.kinds[phrase.noun]
        if before in ("but", ",") and says and role.fits(phrase.looks):
            # "Hugo is a frog, but a yellow one."
            return last.who[0]
    group = next((mention for mention in reversed(mentions) if len(mention.who) > 1), None)
    if group is None or any(not _lists(word, story.world) for word in words[group.end : phrase.start]):
        return None
    kind = story.world.kinds[phrase.noun]
    plain = [name for name in group.who if story.roles[name].kind == kind and not name.startswith("#")]
    told = "colour" if phrase.looks.colour else "size" if phrase.looks.size else "pattern"
    fit = [name for name in plain if story.roles[name].fits(phrase.looks)]
    return next((name for name in fit if getattr(story.roles[name], told) is None), None)


def _lists(word: str, world: World) -> bool:
    tables = (world.colours, world.sizes, world.patterns, world.kinds)
    return word in (",", "and", "a", "an", "one", "the", "other", "is") or any(word in table for table in tables)


def is_name_at(words: Sequence[str], at: int) -> bool:
    """Whether a name, or "named", is at `at`."""
    return at < len(words) and (words[at].startswith("#") or words[at] in ("named", "called"))


def names_after(words: Sequence[str], phrase: Phrase) -> tuple[tuple[str, ...], int]:
    """Names that a noun phrase introduces, and where they end: "a cat named #1", "her dog #1", "two cats, #1 and
    #2"."""
    at = phrase.end
    if words[at : at + 1] == [","] and words[at + 1 : at + 2] and words[at + 1].startswith("#"):
        at += phrase.plural or list(words[at + 2 : at + 3]) == [","]
    if words[at : at + 1] and words[at] in ("named", "called"):
        at += 1
    elif not phrase.determiner and not phrase.plural and not (words[at : at + 1] and words[at].startswith("#")):
        return (), phrase.end
    names: list[str] = []
    while at < len(words) and words[at].startswith("#") and len(names) < phrase.count:
        names.append(words[at])
        at += 1
        if len(names) < phrase.count and words[at : at + 1] and words[at] in ("and", ","):
            at += 1
    if len(names) == 1 < phrase.count:
        # "Between two trees Lina sees a house": the trees have no name.
        return (), phrase.end
    return tuple(names), at if names else phrase.end


def likened_to(words: Sequence[str], at: int, world: World) -> tuple[str, Looks] | None:
    """The name and the looks of "as green as #1" at `at`."""
    like = list(words[at : at + 4])
    told = predicate(words, at + 1, world) if like[:1] == ["as"] and like[2:3] == ["as"] else None
    return (like[3], told[0]) if told is not None and like[3:4] and like[3].startswith("#") else None


def new_role(phrase: Phrase, kind: str, story: Discourse) -> str:
    """A new role without a name: "ball", or "blue ball", "second ball" where there is one already."""
    noun = phrase.noun
    names = [noun, *([f"{phrase.looks.colour} {noun}"] if phrase.looks.colour and phrase.count == 1 else [])]
    names += [f"{ordinal} {noun}" for ordinal in _ORDINALS if ordinal]
    name = next(name for name in names if name not in story.roles)
    story.roles[name] = Role(name).with_looks(phrase.looks, kind=kind)
    story.left_out += phrase.left_out
    return name


def spelt(phrase: Phrase) -> str:
    """A phrase in short, for what is told to have no effect."""
    looks = phrase.looks
    return " ".join(part for part in (looks.size, looks.pattern, looks.colour, phrase.noun) if part)

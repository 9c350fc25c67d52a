"""Whom the words of a sentence speak of: names, noun phrases and pronouns, each resolved to roles of the story."""

from collections.abc import Sequence

from raccord.planner.describing import looks_told
from raccord.planner.discourse import BODY, FACE, GENDERS, IT, OWNERS, Discourse, Mention
from raccord.planner.introducing import named, told_of
from raccord.planner.kinship import KINSFOLK
from raccord.planner.looks import POSSESSIVES, noun_phrase
from raccord.planner.places import PlaceTold
from raccord.planner.relatives import others_than, relative_of
from raccord.planner.syntax import ADVERBS, BE, PLACING, PREPOSITIONS, acts, coordinated, fronted, opened
from raccord.planner.world import World

_GROUP = ("they", "them", "both", "everyone", "everybody", "friends", "animals", *KINSFOLK)
# With these behind it "her" is whom something is done to.
_NOT_OWNED = frozenset(
    "and or but , . a an the some that because when while if who which how what where so as until before after up down "
    "back out off away home again there here very one two three four his her its their is are not very".split()
)
_SIDES = ("left", "right", "side")
_IMPERSONAL = ("late", "early", "cold", "warm", "hot", "time", "quiet")
_HAVING = ("has", "have", "holds", "hold", "holding", "carries", "carry", "carrying", "gets", "with")


def read_mentions(words: Sequence[str], told: PlaceTold, story: Discourse) -> list[Mention]:
    """Whom a sentence speaks of, in order; adds its roles and their looks to `story`.

    Args:
        words: the sentence's tokens.
        told: where it plays; the words that say so speak of nobody ("under the stars", "it rains").
        story: what was said before.
    """
    mentions: list[Mention] = []
    known = set(story.roles)
    subject: tuple[str, ...] = ()
    taken = told.taken | {at for at in range(len(words)) if words[at] == "it" and _is_weather(words, at, told.ambient)}
    at = 0
    while at < len(words):
        found = None if at in taken else _mention(words, at, mentions, subject, story)
        if found is None:
            end = at + 1
            if at not in taken:
                who = subject or (mentions[-1].who if mentions else story.recent[:1])
                if mentions and at and words[at - 1] in ("who", "which", "that"):
                    who = mentions[-1].who
                end = looks_told(words, at, mentions, who, story)
            at = max(at + 1, end)
            continue
        if found.who:
            # Somebody may have been given a name: "its name is Tara".
            subject = _renamed(subject, story)
            mentions = [mention._replace(who=_renamed(mention.who, story)) for mention in mentions]
            before = words[found.start - 1] if found.start else ""
            playing = words[found.start - 2 : found.start - 1] in (["plays"], ["play"], ["playing"])
            if before in _HAVING and not playing and len(subject) == 1 and not story.is_creature(found.who[0]):
                story.owners |= dict.fromkeys(found.who, subject[0])
            mentions.append(found)
            there = found.start > 1 and words[found.start - 2] == "there" and before in BE
            if there or (acts(words, found.end, story.world) and not fronted(words, found, story.world)):
                subject = coordinated(words, mentions, len(mentions) - 1, story.world)
        at = found.end
    return _named_later(mentions, known, story)


def _named_later(mentions: list[Mention], known: set[str], story: Discourse) -> list[Mention]:
    """ "Two foxes are here: Rita is orange and Karl is brown": as many names as nameless ones told of together."""
    new = [name for name in story.roles if name not in known]
    names = [name for name in new if name.startswith("#") and story.roles[name].kind is None]
    several = [mention.who for mention in mentions if len(mention.who) > 1 and set(mention.who) <= set(new)]
    several = [who for who in several if not any(name.startswith("#") for name in who)]
    nameless = next((who for who in several if len(who) == len(names)), ())
    if not nameless or not story.is_creature(nameless[0]):
        return mentions
    for old, name in zip(nameless, names, strict=True):
        story.name(old, name)
    return [mention._replace(who=_renamed(mention.who, story)) for mention in mentions]


def _renamed(who: Sequence[str], story: Discourse) -> tuple[str, ...]:
    return tuple(story.aliases.get(name, name) for name in who)


def _is_weather(words: Sequence[str], at: int, ambient: frozenset[int]) -> bool:
    """Whether the "it" at `at` is that of "it rains", "it is getting dark" or "it is late"."""
    if list(words[at + 1 : at + 2]) == ["is"] and words[at + 2 : at + 3] and words[at + 2] in _IMPERSONAL:
        return True
    near = at + 1 if at + 1 in ambient else at + 2
    return near in ambient and (near == at + 1 or words[at + 1] in (*BE, "starts", "begins", "gets", "becomes", "?"))


def _mention(
    words: Sequence[str], at: int, mentions: Sequence[Mention], subject: tuple[str, ...], story: Discourse
) -> Mention | None:
    word = words[at]
    following = words[at + 1] if at + 1 < len(words) else ""
    # "Its name is", "whose name is"; "the bunny's name is" has lost its "'s".
    at_name = at if word == "name" else at + 1
    if list(words[at_name : at_name + 2]) == ["name", "is"] and word != "my" and words[at_name + 2 : at_name + 3]:
        owner = mentions[-1].who if mentions and word in ("whose", "name") else ()
        owner = owner or story.pronoun(OWNERS.get(word, "it"), mentions, ())
        name = words[at_name + 2]
        if owner and not owner[0].startswith("#") and name.startswith("#"):
            story.name(owner[0], name)
            return Mention(at, at_name + 3, (name,))
    if word in ("named", "called") and following.startswith("#") and following not in story.roles:
        # "It is called Shadow", "the puppy, now called Sunny".
        behind = mentions[-1] if mentions and "and" not in words[mentions[-1].end : at] else None
        close = behind is not None and at - behind.end <= 2 and len(behind.who) == 1
        nameless = [name for name in behind.who if not name.startswith("#")] if behind is not None else []
        if len(nameless) > 1 and "one" in words[max(0, at - 5) : at]:
            # "One of them is called Pit."
            story.name(nameless[0], following)
            return Mention(at, at + 2, (following,))
        if behind is not None and close and not behind.who[0].startswith("#"):
            story.name(behind.who[0], following)
            return Mention(at, at + 2, (following,))
    told = at + 2 if (word, following) == ("i", "am") else at + 3
    introduces = (word, following) == ("i", "am") or list(words[at : at + 3]) == ["my", "name", "is"]
    if introduces and words[told : told + 1] and words[told].startswith("#") and words[told] not in story.roles:
        # "I am Tilly, says the turtle": whoever has no name yet.
        around = [name for name in story.creatures_around(mentions) if not name.startswith("#")]
        nameless = [name for name in around if story.is_creature(name)]
        if nameless:
            story.name(nameless[-1], words[told])
            return Mention(at, told + 1, (words[told],))
    if word in OWNERS and (following in BODY or following in FACE):
        ahead = at and words[at - 1] in ("of", "above", "over", "behind", "under") and following in (*FACE, "head")
        return Mention(at, at + 1, story.pronoun(OWNERS[word], mentions, ()), shown=bool(ahead))
    if word == "their" and following in BODY:
        return Mention(at, at + 2, story.creatures_around(mentions))
    relative = relative_of(words, at, mentions, story)
    if relative is not None:
        return relative
    if word in OWNERS and following in _SIDES:
        # "Sits to his right."
        object_ = {"his": "him"}.get(word, word)
        return Mention(at, at + 1, story.pronoun(object_, mentions, subject))
    if word in POSSESSIVES and following in ("friends", "animals"):
        owner = story.pronoun(OWNERS.get(word, ""), mentions, ()) if word in OWNERS else ()
        return Mention(at, at + 2, tuple(name for name in story.creatures_around(mentions) if name not in owner))
    if word.startswith("#"):
        return named(words, at, story)
    denied = noun_phrase(words, at + 1, story.world) if word == "no" else None
    if denied is not None:
        kind = story.world.kinds[denied.noun]
        return Mention(at, denied.end, tuple(n for n in story.around if story.roles[n].kind == kind), shown=False)
    phrase = noun_phrase(words, at, story.world)
    if phrase is not None and at and words[at - 1] == "without" and not phrase.definite:
        return Mention(at, phrase.end, (), shown=False)
    if phrase is not None:
        return told_of(words, phrase, mentions, story)
    if word in ("both", "all") and list(words[at + 1 : at + 3]) == ["of", "them"]:
        return Mention(at, at + 3, story.creatures_around(mentions))
    if word in _GROUP and at and words[at - 1] in (*BE, "best", "good", "great"):
        # "They are best friends."
        return None
    others = others_than(words, at, mentions, subject, story)
    if others is not None:
        return others
    if word in _GROUP or (word == "the" and following in ("two", "three", "four", *_GROUP)):
        end = at + 1 if word in _GROUP else at + 2
        group = story.creatures_around(mentions)
        others = tuple(name for name in group if name not in subject)
        return Mention(at, end, (others or group) if word == "them" else group)
    if word == "it" and _is_attire(words, at, mentions, story.world):
        return Mention(at, at + 1, ())
    if word in GENDERS or word in IT:
        owner = word in POSSESSIVES and _owns(words, at + 1, story.world)
        before = words[at - 1] if at else ""
        governed = before in PREPOSITIONS or before in story.world.all_verbs
        beside = _placed(words, at, mentions)
        others = beside.who if beside is not None else () if owner or opened(words, at) else subject
        behind_self = before == "behind" and mentions and mentions[-1].end == at - 1 and len(subject) == 1
        if behind_self and mentions[-1].start and words[mentions[-1].start - 1] in ("puts", "put", "hides", "holds"):
            # "Bo puts the flower behind him."
            others = ()
            if story.genders.get(subject[0], GENDERS.get(word)) == GENDERS.get(word):
                return Mention(at, at + 1, subject)
        who = story.pronoun(word, mentions, others, as_object=word in IT and governed)
        if (
            beside is not None
            and subject
            and word in GENDERS
            and story.genders.get(subject[0], GENDERS[word]) == GENDERS[word]
        ):
            # "A fox sits with a drum in front of him": the fox.
            who = subject[:1] if story.is_creature(subject[0]) and subject[0] not in beside.who else who
            story.genders.update(dict.fromkeys(who, GENDERS[word]))
        return Mention(at, at + 1, who, shown=not owner)
    return None


def _is_attire(words: Sequence[str], at: int, mentions: Sequence[Mention], world: World) -> bool:
    """Whether "it" at `at` is what was just taken off: "takes off his scarf and puts it on Bo"."""
    worn = next((place for place in range(at - 1, -1, -1) if words[place] in world.accessories), None)
    last = max((mention.end for mention in mentions if mention.shown), default=0)
    return worn is not None and worn >= last - 1


def _owns(words: Sequence[str], at: int, world: World) -> bool:
    """Whether "her" at `at` - 1 is followed by what is hers."""
    return at < len(words) and not (
        words[at] in _NOT_OWNED
        or words[at] in PREPOSITIONS
        or words[at] in ADVERBS
        or words[at][0] == "#"
        or (words[at] in world.all_verbs and words[at] not in world.kinds)
    )


def _placed(words: Sequence[str], at: int, mentions: Sequence[Mention]) -> Mention | None:
    """What "with a drum in front of" or ", a kite above" before `at` speaks of; None where it is no such phrase."""
    start = at
    while start and (words[start - 1] in PREPOSITIONS or words[start - 1] in PLACING):
        start -= 1
    last = mentions[-1] if mentions else None
    if start == at or last is None or last.end != start or not last.shown or not last.start:
        return None
    return last if words[last.start - 1] in ("with", ",", "has", "have") and len(mentions) > 1 else None

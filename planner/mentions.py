"""Whom the words of a sentence speak of: names, noun phrases and pronouns, each resolved to roles of the story."""

from collections.abc import Sequence

from raccord.planner.describing import described, looks_told
from raccord.planner.discourse import BODY, FACE, GENDERS, IT, OWNERS, Discourse, Mention
from raccord.planner.kinship import KIN, KINSFOLK
from raccord.planner.looks import POSSESSIVES, Phrase, Role, attired, noun_phrase
from raccord.planner.naming import is_name_at, learn, likened_to, member_of, names_after, new_role, spelt
from raccord.planner.places import PlaceTold
from raccord.planner.reading import UNKNOWN
from raccord.planner.scene import MAX_ITEMS
from raccord.planner.syntax import ADVERBS, BE, PLACING, PREPOSITIONS, acts, coordinated, fronted, opened
from raccord.planner.world import World

_GROUP = ("they", "them", "both", "everyone", "everybody", "friends", "animals", *KINSFOLK)
_FRIENDLY = ("best", "good", "great", "new", "dear", "old", "own", UNKNOWN)
_FRIENDS = ("friend", "neighbour", "companion", "guest", "visitor")
_COMPANY = ("friends", "guests", "visitors", "companions")
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
    relative = _relative(words, at, mentions, story)
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
        return _named(words, at, story)
    denied = noun_phrase(words, at + 1, story.world) if word == "no" else None
    if denied is not None:
        kind = story.world.kinds[denied.noun]
        return Mention(at, denied.end, tuple(n for n in story.around if story.roles[n].kind == kind), shown=False)
    phrase = noun_phrase(words, at, story.world)
    if phrase is not None and at and words[at - 1] == "without" and not phrase.definite:
        return Mention(at, phrase.end, (), shown=False)
    if phrase is not None:
        return _told_of(words, phrase, mentions, story)
    if word in ("both", "all") and list(words[at + 1 : at + 3]) == ["of", "them"]:
        return Mention(at, at + 3, story.creatures_around(mentions))
    if word in _GROUP and at and words[at - 1] in (*BE, "best", "good", "great"):
        # "They are best friends."
        return None
    others = _others(words, at, mentions, subject, story)
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


def _others(
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


def _relative(words: Sequence[str], at: int, mentions: Sequence[Mention], story: Discourse) -> Mention | None:
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
        mention = _named(words, end, story)
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


def _owns(words: Sequence[str], at: int, world: World) -> bool:
    """Whether "her" at `at` - 1 is followed by what is hers."""
    return at < len(words) and not (
        words[at] in _NOT_OWNED
        or words[at] in PREPOSITIONS
        or words[at] in ADVERBS
        or words[at][0] == "#"
        or (words[at] in world.all_verbs and words[at] not in world.kinds)
    )


def _named(words: Sequence[str], at: int, story: Discourse) -> Mention:
    """A proper name, with the looks told right behind it: "#1 , a red cat with a hat ,", "#1 the cat", "#1 fox"."""
    name = words[at]
    story.roles.setdefault(name, Role(name))
    end = at + 1
    if words[end : end + 1] == ["'s"]:
        # Who rides on Bo's back is where Bo is.
        body = words[end + 1 : end + 2] and words[end + 1] in BODY
        carried = body and at > 0 and words[at - 1] in ("on", "onto", "over", "above", "behind", "of")
        return Mention(at, end, (name,), shown=bool(carried))
    # "Mr Fox, a fox with glasses," tells twice what he is.
    end = _apposed(words, name, _apposed(words, name, end, story), story)
    behind, end = described(words, end, story.world)
    looks, end, missing = attired(words, end, story.world)
    story.roles[name] = story.roles[name].with_looks(behind).with_looks(looks)
    story.left_out += missing
    return Mention(at, end, (name,))


def _apposed(words: Sequence[str], name: str, at: int, story: Discourse) -> int:
    """Learn what a phrase at `at` says of the name before it; returns where it ends, `at` if there is none."""
    start = at + 1 if words[at : at + 1] == [","] else at
    unknown = start + 1 if words[start : start + 1] and words[start] in ("a", "an", "the") else start
    if words[unknown : unknown + 1] == [UNKNOWN] and (unknown > start or start == at + 1):
        noun = words[unknown + 1 : unknown + 2]
        # "Leo the lion": what he is is unknown, and no verb.
        if unknown > start and not (noun and (noun[0] in story.world.kinds or noun[0] in story.world.colours)):
            return unknown + 1
    phrase = noun_phrase(words, start, story.world)
    if phrase is None or phrase.count != 1 or is_name_at(words, phrase.end):
        return at
    role, kind = story.roles[name], story.world.kinds[phrase.noun]
    if start == at and not phrase.determiner and role.kind == kind and phrase.end == at + 1:
        # "Mr Fox" said again.
        return phrase.end
    if role.kind not in (None, kind) or (not phrase.determiner and (role.kind or start > at)):
        return at
    if phrase.determiner not in ("", "a", "an", "the", "another"):
        return at
    learn(name, phrase, story)
    return phrase.end


def _named_before(words: Sequence[str], phrase: Phrase, mentions: Sequence[Mention], story: Discourse) -> str | None:
    """Whom "Dora comes, a pink owl," tells of: a name whose kind is unknown, with nothing but its verb between."""
    last = mentions[-1] if mentions else None
    if last is None or len(last.who) != 1 or phrase.determiner not in ("a", "an") or words[phrase.start - 1] != ",":
        return None
    between = words[last.end : phrase.start - 1]
    acts = len(between) in (1, 2) and any(word in story.world.all_verbs for word in between)
    return last.who[0] if acts and story.roles[last.who[0]].kind is None else None


def _told_of(words: Sequence[str], phrase: Phrase, mentions: Sequence[Mention], story: Discourse) -> Mention:
    """Whom a noun phrase speaks of: those with the names that follow, those known already, or new ones."""
    if list(words[phrase.end : phrase.end + 1]) == ["friend"] and is_name_at(words, phrase.end + 1):
        # "His mouse friend Dot."
        phrase = phrase._replace(end=phrase.end + 1)
    names, end = names_after(words, phrase)
    likened = likened_to(words, phrase.end, story.world)
    if likened is not None:
        # "A frog as green as #1": that is what #1 is.
        name, looks = likened
        learn(name, phrase._replace(looks=looks), story)
        return Mention(phrase.start, phrase.end + 4, (name,))
    if len(names) == 1 and phrase.definite and names[0] not in story.roles:
        # "The dog, Max," is the dog spoken of before.
        kind = story.world.kinds[phrase.noun]
        nameless = [r.name for r in story.roles.values() if r.kind == kind and not r.name.startswith("#")]
        fitting = [name for name in nameless if story.roles[name].fits(phrase.looks)]
        if fitting:
            story.name(fitting[-1], names[0])
    if names:
        for name in names:
            learn(name, phrase, story)
        if len(names) == 1:
            looks, end, missing = attired(words, end, story.world)
            story.roles[names[0]] = story.roles[names[0]].with_looks(looks)
            story.left_out += missing
        return Mention(phrase.start, end, names)
    named = _named_before(words, phrase, mentions, story)
    if named is not None:
        learn(named, phrase, story)
        return Mention(phrase.start, end, (named,))
    if phrase.determiner in OWNERS:
        # "Her ball" tells that somebody is a she.
        story.pronoun(OWNERS[phrase.determiner], mentions, ())
    member = member_of(words, phrase, mentions, story)
    if member is not None:
        learn(member, phrase, story)
        return Mention(phrase.start, end, (member,))
    kind = story.world.kinds[phrase.noun]
    alike = [role.name for role in story.roles.values() if role.kind == kind]
    known = [name for name in alike if story.roles[name].fits(phrase.looks)]
    if "other" in words[phrase.start : phrase.end]:
        named = {name for mention in mentions for name in mention.who if len(mention.who) == 1}
        known = [name for name in known if name not in named] or known
    new = phrase.determiner == "another"
    if phrase.definite and alike and not new:
        if not known:
            story.left_out.append(spelt(phrase))
        if len(known) == 1 and not phrase.plural:
            learn(known[0], phrase, story)
        # "Theo leaves with his kite": the one that is his, else the one spoken of last ("the ball" just found).
        own = [name for name in alike if story.owners.get(name) in (mentions[-1].who if mentions else ())]
        if own and phrase.determiner in OWNERS and not phrase.plural:
            return Mention(phrase.start, phrase.end, (own[0],))
        last = [name for name in story.recent if name in (known or alike)] or (known or alike)
        return Mention(phrase.start, end, tuple(known or alike) if phrase.plural else (last[0],))
    if phrase.plural and "only" in words[phrase.start - 1 : phrase.start + 1] and len(known) >= phrase.count:
        # "Now there are only two flowers": of those there were.
        here = {name for mention in mentions for name in mention.who}
        left = [name for name in known if name not in here] or known
        return Mention(phrase.start, end, tuple(left[: phrase.count]))
    # "A red cat" said again is the red cat, unless it is another one; a named one is not called "a cat".
    same = [name for name in known if not name.startswith("#")]
    if same and not new and not phrase.plural:
        learn(same[0], phrase, story)
        return Mention(phrase.start, end, (same[0],))
    who = tuple(new_role(phrase, kind, story) for _ in range(phrase.count) if len(story.roles) < 2 * MAX_ITEMS)
    return Mention(phrase.start, end, who)


def _placed(words: Sequence[str], at: int, mentions: Sequence[Mention]) -> Mention | None:
    """What "with a drum in front of" or ", a kite above" before `at` speaks of; None where it is no such phrase."""
    start = at
    while start and (words[start - 1] in PREPOSITIONS or words[start - 1] in PLACING):
        start -= 1
    last = mentions[-1] if mentions else None
    if start == at or last is None or last.end != start or not last.shown or not last.start:
        return None
    return last if words[last.start - 1] in ("with", ",", "has", "have") and len(mentions) > 1 else None

"""Names and noun phrases: whom they speak of, and what they tell of them."""

from collections.abc import Sequence

from raccord.planner.describing import described
from raccord.planner.discourse import BODY, OWNERS, Discourse, Mention
from raccord.planner.looks import Phrase, Role, attired, noun_phrase
from raccord.planner.naming import is_name_at, learn, likened_to, member_of, names_after, new_role, spelt
from raccord.planner.reading import UNKNOWN
from raccord.planner.scene import MAX_ITEMS


def named(words: Sequence[str], at: int, story: Discourse) -> Mention:
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


def told_of(words: Sequence[str], phrase: Phrase, mentions: Sequence[Mention], story: Discourse) -> Mention:
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

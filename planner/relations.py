"""Where a sentence says that somebody stands: prepositions, sides, and what is done with a thing."""

from collections.abc import Collection, Mapping, Sequence

from raccord.planner.clauses import FINDING, PLAYING, VEHICLES, Clause
from raccord.planner.discourse import BODY, PORTABLE, Mention
from raccord.planner.reading import UNKNOWN
from raccord.planner.syntax import ADVERBS, following

# Longest first. The second part says whether subject and object change places ("a ball under a tree": the tree is
# above), the third whether it counts only right before somebody ("by the beach" is no relation).
_RELATIONS = tuple(
    (tuple(words.split()), relation, swapped, close)
    for words, relation, swapped, close in (
        ("to the left side of", "left of", False, False),
        ("to the right side of", "right of", False, False),
        ("on the left side of", "left of", False, False),
        ("on the right side of", "right of", False, False),
        ("to the left of", "left of", False, False),
        ("to the right of", "right of", False, False),
        ("on the left of", "left of", False, False),
        ("on the right of", "right of", False, False),
        ("left of", "left of", False, False),
        ("right of", "right of", False, False),
        ("in front of", "in front of", False, False),
        ("on top of", "above", False, False),
        ("on the roof of", "above", False, False),
        ("next to", "next to", False, False),
        ("on the other side of", "next to", False, False),
        ("close to", "next to", False, False),
        ("side by side with", "next to", False, False),
        ("behind", "behind", False, True),
        ("beside", "next to", False, False),
        ("alongside", "next to", False, True),
        ("near", "next to", False, True),
        ("by", "next to", False, True),
        ("above", "above", False, True),
        ("over", "above", False, True),
        ("onto", "above", False, True),
        ("on", "above", False, True),
        ("under", "above", True, True),
        ("below", "above", True, True),
        ("beneath", "above", True, True),
        ("underneath", "above", True, True),
        ("against", "next to", False, True),
        ("around", "next to", False, True),
    )
)
_CLOSE = ("to", "in", "on", "into", "onto", "of", "above", "below", "under", "behind", "beside", "near", "for", "about")
# What is done with a thing shows where it is: (relation of the doer to it, or of it to the doer if swapped).
_DOING = {
    **dict.fromkeys(("holds", "carries", "reads", "hugs", "pushes", "kicks"), ("next to", False)),
    **dict.fromkeys(("hold", "carry", "holding", "carrying", "reading", "pushing"), ("next to", False)),
    **dict.fromkeys(("plays", "play", "playing", "beats", "beat", "bakes", "bake"), ("next to", False)),
    **dict.fromkeys(("flies", "fly", "flying"), ("above", True)),
    **dict.fromkeys(("climbs", "climb"), ("above", False)),
    **dict.fromkeys(("drives", "rides", "driving", "riding"), ("behind", False)),
}
# So does what is taken, if it can be carried.
_TAKING = frozenset("catches catch takes take grabs grab picks pick lifts lift gets get fetches".split())
_USING = frozenset("reads read reading eats eat eating plays play playing drinks drink paints paint beats beat".split())
_GIVING = ("gives", "give", "brings", "bring", "hands", "lends", "shows")
_HANDING = frozenset((*_GIVING, *"throws throw kicks kick rolls passes pass takes carries sends returns".split()))
# What is put somewhere stands there, not who puts it.
_PUTTING = frozenset(
    "puts put places place sets set lays drops drop hangs hang throws throw rolls roll kicks kick ties sticks stick "
    "leaves leave keeps keep".split()
)
# Who looks behind a tree does not stand there, but whom they find there does.
_LOOKING = frozenset(
    "looks look looking searches search peers peeks gazes stares glances points point waves wave calls call shouts "
    "shout squints hunts watches watch".split()
)
# Who plays on a drum sits at it.
_BEATING = ("plays", "play", "playing", "beats", "beat", "bangs", "bang", "taps", "drums", "hits")
_IN = ("in", "into", "inside")
# Nobody can be drawn beneath these.
_STANDING = ("tree", "house")
_ONE_EACH = ("behind", "in front of", "above")
MAX_RELATIONS = 4
Relation = tuple[str, str, str]


def relations_told(
    words: Sequence[str],
    mentions: Sequence[Mention],
    clauses: Sequence[Clause],
    taken: frozenset[int],
    kinds: Mapping[str, str | None],
    around: Collection[str] = (),
) -> list[Relation]:
    """Relations that a sentence states, in order, at most one a pair; `kinds` tells the kind of every role, `around`
    who is there."""
    found: list[Relation] = []
    done: list[Relation] = []
    ahead: list[Relation] = []
    sought: tuple[str, tuple[str, ...], bool] | None = None
    everybody = {mention.start: mention for mention in mentions}
    starts = {mention.start: mention for mention in mentions if mention.shown}
    at = 0
    while at < len(words):
        told = None if at in taken else _preposition(words, at, starts, taken)
        owner = _carrier(words, at, mentions)
        if _mutual(words, at):
            who = next((clause.subjects for clause in reversed(clauses) if clause.at < at and clause.subjects), ())
            found += _pairs(who[:1], "next to", who[1:2], False)
        elif owner is not None and _last(clauses, at).verb not in _PUTTING:
            riders = [name for name in _subjects(words, at, mentions, clauses, taken, ()) if name != owner]
            # "The bear carries the mouse on his back": his need not be said of the mouse.
            carriers = [owner] if riders else [name for clause in clauses[-1:] for name in clause.subjects]
            riders = riders or [owner]
            found += _pairs(riders, "above", carriers, False)
        elif _owned_side(words, at, everybody):
            owner = everybody[at + 1].who
            who = _subjects(words, at, mentions, clauses, taken, owner)
            found += _pairs(who[:1], f"{_owned_side(words, at, everybody)} of", owner, False)
        elif list(words[at : at + 3]) == ["in", "the", "middle"] and words[at + 3 : at + 4] != ["of"]:
            found += _in_the_middle(_subjects(words, at, mentions, clauses, taken, ())[:1], mentions, found)
        elif _both_sides(words, at):
            end = at + words[at:].index("of") + 1
            middle = _objects(words, end, mentions)[:1]
            who = [name for name in _subjects(words, at, mentions, clauses, taken, middle) if name not in middle]
            found += _pairs(who[:1], "left of", middle, False) + _pairs(middle, "left of", who[1:2], False)
            at = end - 1
        elif words[at] == "between" and at + 1 in starts:
            found += _between(words, at, mentions, clauses)
        elif told is not None:
            length, relation, swapped = told
            objects = _objects(words, at + length, mentions)
            subjects = _subjects(words, at, mentions, clauses, taken, objects)
            if swapped and _is_any(starts.get(at + length), _STANDING, kinds):
                # "Under a tree" is in front of it.
                relation, swapped = "in front of", False
            if relation == "above" and _last(clauses, at).verb in _BEATING:
                relation = "next to"
            if _looks_there(words, at, clauses):
                sought = (relation, objects, swapped)
            else:
                found += _pairs(subjects, relation, objects, swapped)
            at += length - 1
        elif words[at] in ("on", "onto") and _on_the_roof(words, at):
            houses = [name for name, kind in kinds.items() if kind == "house" and name in around][:1]
            found += _pairs(_subjects(words, at, mentions, clauses, taken, houses)[:1], "above", houses, False)
        elif words[at] in (*_IN, "from") and _is_any(starts.get(at + 1), (*VEHICLES, "drum"), kinds):
            inside = starts[at + 1].who[:1]
            found += [
                (name, "behind", inside[0])
                for name in _subjects(words, at, mentions, clauses, taken, inside)[:2]
                if name not in inside
            ]
        elif words[at] in _IN and _is_any(starts.get(at + 1), _STANDING[:1], kinds):
            tree = starts[at + 1].who[:1]
            found += _pairs(_subjects(words, at, mentions, clauses, taken, tree), "above", tree, False)
        elif words[at] in _IN and words[at - 1 : at] in (["gets"], ["get"], ["climbs"], ["hops"], ["jumps"]):
            # "Flora gets in": into the car that is there.
            there = [name for name, kind in kinds.items() if kind in VEHICLES and name in around]
            if starts.get(at + 1) is None and len(there) == 1:
                found += [(name, "behind", there[0]) for name in _last(clauses, at).subjects if name not in there]
        elif words[at] in ("on", "onto") and (part := _part_of(words, at, starts, kinds)) is not None:
            found += _pairs(_subjects(words, at, mentions, clauses, taken, part.who), "above", part.who[:1], False)
        elif list(words[at : at + 2]) == ["on", "top"] and words[at + 2 : at + 3] != ["of"]:
            who = _subjects(words, at, mentions, clauses, taken, ())[:1]
            below = [name for m in mentions if m.end <= at for name in m.who if kinds.get(name) and name not in who]
            found += _pairs(who, "above", [name for name in below if name[0] != "#"][-1:], False)
        elif list(words[at : at + 2]) == ["in", "front"] and words[at + 2 : at + 3] != ["of"]:
            who = _subjects(words, at, mentions, clauses, taken, ())[:1]
            ahead += _pairs(who, "in front of", _others(who, mentions), False)
        elif words[at] in ("on", "from") and words[at + 1 : at + 2] == ["the"] and _side(words, at + 2):
            who = _subjects(words, at, mentions, clauses, taken, ())[:1]
            found += _pairs(who, f"{words[at + 2]} of", _others(who, mentions), False)
        elif list(words[at : at + 2]) == ["to", "the"] and _side(words, at + 2) and found:
            # "Ping to the left of the tree, Pong to the right."
            who = _subjects(words, at, mentions, clauses, taken, ())[:1]
            found += _pairs(who, f"{words[at + 2]} of", found[-1][2:] if found[-1][1].endswith(" of") else (), False)
        at += 1
    placed = {name for a, _, b in found for name in (a, b)}
    for clause in clauses:
        behind = list(words[clause.at + 1 : clause.at + 2])
        passed = behind in (["up"], ["down"]) or (clause.verb in PLAYING and behind == ["with"])
        target = starts.get(clause.at + 1 + passed)
        if target is None or clause.negated:
            continue
        if sought is not None and clause.verb in FINDING:
            found += _pairs(target.who[:1], sought[0], sought[1], sought[2])
        given = _given(clause, target, starts, words)
        if given and given[0][2] not in placed:
            # Whoever had it before has it no longer.
            done = [one for one in done if given[0][2] not in (one[0], one[2])] + given
        how = _done(clause, target, words, kinds)
        if how is not None and not {*target.who} & (placed | {name for a, _, b in done for name in (a, b)}):
            done += _pairs(clause.subjects[:1], how[0], target.who[:2], how[1])
    return _once([*found, *done, *ahead])


def _done(
    clause: Clause, target: Mention, words: Sequence[str], kinds: Mapping[str, str | None]
) -> tuple[str, bool] | None:
    """Where what is done to `target` puts the doer, or it if the second is true; None if that says nothing."""
    playing = clause.verb in PLAYING and words[clause.at + 1 : clause.at + 2] == ["with"]
    if playing or (clause.verb in _TAKING and _is_any(target, PORTABLE, kinds)):
        return "next to", False
    return _DOING.get(clause.verb)


def _last(clauses: Sequence[Clause], at: int) -> Clause:
    """The clause whose verb is the last before `at`."""
    return next((clause for clause in reversed(clauses) if clause.at < at), Clause(0, "", (), False))


def _others(who: Sequence[str], mentions: Sequence[Mention]) -> list[str]:
    """Somebody else with a name whom the sentence speaks of."""
    named = [name for mention in mentions if mention.shown for name in mention.who if name[0] == "#"]
    return [name for name in named if name not in who][:1]


def _on_the_roof(words: Sequence[str], at: int) -> bool:
    """ "On the roof", of the house that is there."""
    return list(words[at + 1 : at + 3]) == ["the", "roof"] and words[at + 3 : at + 4] != ["of"]


def _part_of(
    words: Sequence[str], at: int, starts: dict[int, Mention], kinds: Mapping[str, str | None]
) -> Mention | None:
    """Whom "on a low branch of the tree" at `at` speaks of."""
    of = next((n for n in range(at + 2, min(at + 5, len(words))) if words[n] == "of"), None)
    within = of is not None and not any(start in starts for start in range(at, of))
    whole = starts.get(of + 1) if of is not None and within else None
    return whole if _is_any(whole, (*_STANDING, *VEHICLES), kinds) and "top" not in words[at:of] else None


def _looks_there(words: Sequence[str], at: int, clauses: Sequence[Clause]) -> bool:
    """Whether the place at `at` is only looked at."""
    last = next((clause for clause in reversed(clauses) if clause.at < at), None)
    return last is not None and last.verb in _LOOKING and all(word not in ("and", ",") for word in words[last.at : at])


def _given(clause: Clause, target: Mention, starts: dict[int, Mention], words: Sequence[str]) -> list[Relation]:
    """ "Pete gives Olive a flower", "gives it to Olive": the flower is next to her."""
    if clause.verb not in _HANDING:
        return []
    at = target.end + (list(words[target.end : target.end + 1]) in (["back"], ["down"], ["up"], ["over"]))
    if words[at : at + 1] == ["to"] and at + 1 in starts:
        gift, receiver = target, starts[at + 1]
    elif clause.verb in _GIVING and target.end in starts:
        gift, receiver = starts[target.end], target
    else:
        return []
    return _pairs(receiver.who, "next to", gift.who[:1], False) if len(receiver.who) == 1 else []


def _in_the_middle(who: Sequence[str], mentions: Sequence[Mention], told: Sequence[Relation]) -> list[Relation]:
    """ "Lina sits on the left, Bo on the right, a ball in the middle"."""
    others = list(dict.fromkeys(name for m in mentions if m.shown for name in m.who if name not in who))[:2]
    if len(others) < 2 or not who:
        return []
    if (others[1], "left of", others[0]) in told or (others[0], "right of", others[1]) in told:
        others.reverse()
    return [(others[0], "left of", who[0]), (who[0], "left of", others[1])]


def _both_sides(words: Sequence[str], at: int) -> bool:
    """ "Left and right of", "on the left and on the right of", "on either side of"."""
    rest = [word for word in words[at : at + 9] if word not in ("to", "on", "the")]
    if words[at] in ("left", "right", "to", "on") and rest[1:2] == ["and"] and rest[3:4] == ["of"]:
        return {rest[0], rest[2]} == {"left", "right"}
    rest = list(words[at : at + 4])
    return rest[0] == "on" and rest[1:] in (
        ["both", "sides", "of"],
        ["opposite", "sides", "of"],
        ["either", "side", "of"],
    )


def _owned_side(words: Sequence[str], at: int, starts: dict[int, Mention]) -> str:
    """ "left" or "right" in "to his right" or "on Lina's left side" at `at`, else nothing."""
    owner = starts.get(at + 1)
    if words[at] not in ("to", "on", "at") or owner is None or len(owner.who) != 1:
        return ""
    end = owner.end + (words[owner.end : owner.end + 1] == ["'s"])
    return words[end] if words[end : end + 1] in (["left"], ["right"]) else ""


def _side(words: Sequence[str], at: int) -> bool:
    """ "On the left", of nobody in particular."""
    return words[at : at + 1] in (["left"], ["right"]) and words[at + 1 : at + 2] not in (["of"], ["side"])


def _mutual(words: Sequence[str], at: int) -> bool:
    """ "Side by side", "next to each other" (which is read as "together")."""
    if list(words[at : at + 3]) == ["side", "by", "side"]:
        return words[at + 3 : at + 4] != ["with"]
    rest = list(words[at : at + 3])
    return rest in (["next", "to", "together"], ["close", "to", "together"]) or rest[:2] == ["beside", "together"]


def _carrier(words: Sequence[str], at: int, mentions: Sequence[Mention]) -> str | None:
    """Whose back it is in "on his back" or "onto Lina's shoulders" at `at`."""
    owner = next((mention for mention in mentions if mention.start == at + 1), None)
    if words[at] not in ("on", "onto") or owner is None or not owner.who:
        return None
    end = owner.end + (words[owner.end : owner.end + 1] == ["'s"])
    return owner.who[0] if words[end : end + 1] and words[end] in BODY else None


def _preposition(
    words: Sequence[str], at: int, starts: dict[int, Mention], taken: frozenset[int]
) -> tuple[int, str, bool] | None:
    for phrase, relation, swapped, close in _RELATIONS:
        end = at + len(phrase)
        # "On top of a hill" is a place.
        place = end not in starts and {end, end + 1} & taken
        if list(words[end : end + 1]) in (["they"], ["she"], ["he"]):
            # "From that day on they are friends."
            continue
        if tuple(words[at:end]) == phrase and not place and (not close or end in starts):
            return len(phrase), relation, swapped
    return None


def _is_any(mention: Mention | None, wanted: Sequence[str], kinds: Mapping[str, str | None]) -> bool:
    """Whether somebody or something of these kinds is spoken of."""
    return mention is not None and any(kinds.get(name) in wanted for name in mention.who)


def _objects(words: Sequence[str], at: int, mentions: Sequence[Mention]) -> tuple[str, ...]:
    """Who a preposition before `at` speaks of."""
    return next((mention.who for mention in mentions if mention.start >= at and mention.shown), ())


def _subjects(
    words: Sequence[str],
    at: int,
    mentions: Sequence[Mention],
    clauses: Sequence[Clause],
    taken: frozenset[int],
    objects: Sequence[str],
) -> tuple[str, ...]:
    """Who stands there: whoever is named right before, or the subject of the verb before; in a sentence that begins
    with its place ("behind the house sits Bo") whoever comes after it."""
    place = at
    used = next((mention for mention in mentions if mention.end == at and mention.shown), None)
    doing = used.start - 1 - (words[used.start - 1] == "with") if used is not None else -1
    if used is not None and doing >= 0 and words[doing] in _USING:
        # "Reads a book under a tree", "plays with a ball behind the house": whoever does is there.
        clause = next((clause for clause in clauses if clause.at == doing), None)
        if clause is not None and clause.subjects:
            return clause.subjects
    placed = [clause for clause in clauses if clause.at < at and clause.subjects]
    if placed and placed[-1].verb in _PUTTING:
        direct = next((mention for mention in mentions if mention.end == at and mention.shown and mention.who), None)
        put = next((m for m in mentions if placed[-1].at < m.start <= placed[-1].at + 2 and m.shown), None)
        attire = words[placed[-1].at + 1 : placed[-1].at + 2] not in ([], *([one] for one in (*ADVERBS, UNKNOWN, "up")))
        if direct is None and (put is not None or attire):
            # "Puts his hat on Bo's head": no hat is anybody.
            return put.who if put is not None and put.end <= at else ()
    if used is not None and placed and words[used.start - 1 : used.start] and words[used.start - 1] in _CLOSE:
        # "Sits above Bo on a tree": Bo does not.
        return placed[-1].subjects
    while place > 0 and (place - 1 in taken or words[place - 1] in ADVERBS or words[place - 1] in ("?", ",")):
        if any(mention.end == place for mention in mentions):
            break
        place -= 1
    direct = next((mention for mention in mentions if mention.end == place and mention.shown), None)
    if direct is not None and placed and words[direct.start - 1] == "to":
        # "Reads to Bo all day under a tree."
        return placed[-1].subjects
    if direct is not None:
        return direct.who
    last = next((clause for clause in reversed(clauses) if clause.at < at), None)
    if last is not None and not last.subjects and words[place - 1] not in ("and", ",", "."):
        # "There is a rainbow over the trees."
        return ()
    before = [clause for clause in clauses if clause.at < at and clause.subjects]
    if before and words[place - 1] != "and":
        object_ = next((m for m in mentions if m.start == before[-1].at + 1 and m.shown), None)
        # "Rick finds her on the beach under an umbrella": she is under it.
        return object_.who if object_ is not None and before[-1].verb in FINDING else before[-1].subjects
    after = [mention for mention in mentions if mention.start > at and mention.shown and mention.who != tuple(objects)]
    # "Behind a tree she finds Hugo": Hugo is there.
    finds = any(clause.verb in FINDING for clause in clauses if clause.at > at) and len(after) > 1
    if after and not finds and any(clause.at < after[0].start for clause in clauses if clause.at > at):
        return following(words, after, at)
    return after[finds].who if after else ()


def _pairs(subjects: Sequence[str], relation: str, objects: Sequence[str], swapped: bool) -> list[Relation]:
    """Every subject to every object; in depth and height one pair only, since a column holds two."""
    upper, lower = (objects, subjects) if swapped else (subjects, objects)
    if relation in _ONE_EACH:
        upper, lower = upper[:1], [name for name in lower if name not in upper[:1]][:1]
    return [(a, relation, b) for a in upper for b in lower if a != b]


def _between(words: Sequence[str], at: int, mentions: Sequence[Mention], clauses: Sequence[Clause]) -> list[Relation]:
    """ "A ball between Lina and Bo": Lina is left of it, Bo right of it; at most two are between."""
    after = [mention for mention in mentions if mention.start > at and mention.shown]
    count = 1 if after and len(after[0].who) > 1 else 2
    sides = tuple(dict.fromkeys(name for mention in after[:count] for name in mention.who))[:2]
    rest = [*(mention for mention in mentions if mention.start < at), *after[count:]]
    middle = [name for name in _subjects(words, at, rest, clauses, frozenset(), sides) if name not in sides][:2]
    if len(sides) < 2:
        return []
    return [pair for name in middle for pair in ((sides[0], "left of", name), (name, "left of", sides[1]))]


def _once(relations: Sequence[Relation]) -> list[Relation]:
    kept: dict[frozenset[str], Relation] = {}
    for relation in relations:
        kept.setdefault(frozenset((relation[0], relation[2])), relation)
    return list(kept.values())[:MAX_RELATIONS]

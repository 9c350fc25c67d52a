"""Who is in a frame and who is not, by what its verbs say: who goes away, stays behind, comes back or is elsewhere."""

import itertools
from collections.abc import Collection, Sequence

from raccord.planner.clauses import ASLEEP, BE, FINDING, MOVING, WISHING, Clause
from raccord.planner.discourse import Mention

_LEAVING = ("left", "leaves", "leave", "disappears", "disappear", "vanishes", "departs", "gone")
_AWAY = ("away", "off", "home")
_IN_PLACE = ("behind", "home", "where", "there", "here")
_STAYING = ("stays", "stay", "remains", "remain")
_RETURNING = ("returns", "return")
_GOING = ("comes", "come", "goes", "go", "runs", "run", "walks", "walk")
# With these "away", "off" and "home" tell where somebody goes.
_MOVING_OFF = MOVING | frozenset(
    "comes come goes go runs run walks walk hurries hurry rushes rush races race dashes darts sets heads wanders "
    "wander strolls stroll marches trots scampers scurries scurry jumps bounds zooms tiptoes tiptoe creeps creep moves "
    "move hops sails drives waddles stomps slips slip fades drifts soars gallops bounces speeds heads head "
    "is are has have ?".split()
)
# "Comes home" is there.
_COMING = ("comes", "come", "gets", "get", "returns", "return", "arrives")
_TAKING = frozenset("takes take carries carry picks steals catches holds".split())
# Verbs that leave a thing where it is.
_AT_REST = frozenset(
    "is are has have stands stand stays stay hangs hang lies lie lights shines shine glows glow remains remain "
    "holds hold holding carries carry carrying sees see looks look watches watch likes like loves love wants want "
    "reads read reading needs need finds find knows know hears hear remembers paints paint admires admire guards "
    "guard points point plays play beats beat waters twinkles belongs flies fly floats float sits sit rests rest "
    "keeps keep wears wear".split()
)
_SEEKING = ("find", "get", "fetch", "buy", "catch")
_ASKING = ("have", "has", "do", "does", "where", "who", "what", "why", "how", "can", "could", "will", "would", "which")
_PRESENT = ("is", "are", "comes", "come", "joins", "join", "follows", "follow", "stays")
_ABOARD = ("in", "on", "from", "into")
SAILING = ("sails", "sail", "rows", "row")
_BEHIND_IN = ("and", ",", ".", "from", "to", "for")
_DRIVING = ("drives", "drive", "sails", "sail", "rows", "row", "rides", "ride", "driving", "riding")
# Whoever is waited for, sought or thought of need not be there.
_LONGED_FOR = frozenset("wants want needs misses miss remembers forgets loses lose".split())
_LIKED = frozenset("loves love likes like".split())
_ELSEWHERE = {
    "for": ("waits", "wait", "waiting", "searches", "search", "looks", "look", "looking", "calls", "call", "asks"),
    "of": ("afraid", "thinks", "think", "dreams", "dream", "dreaming"),
    "about": ("thinks", "think", "dreams", "dream", "talks", "talk", "asks", "tells"),
}


def leaving(
    words: Sequence[str],
    mentions: Sequence[Mention],
    clauses: Sequence[Clause],
    settings: Sequence[tuple[int, str]],
    around: Sequence[str],
    *,
    moved: bool,
    things: Collection[str],
    afterwards: bool = False,
) -> set[str]:
    """Who of those `around` goes away; whoever "runs off into the forest" is seen in the forest, and whoever does
    something before, too, unless it is asked who is away `afterwards`."""
    gone: set[str] = set()
    for number, clause in enumerate(clauses):
        others = (other.at for other in clauses[number + 1 :] if other.subjects != clause.subjects)
        end = next(others, len(words))
        rest = words[clause.at : clauses[number + 1].at if number + 1 < len(clauses) else end]
        absent = clause.negated and clause.verb in _PRESENT
        there = any(word in ("there", "here", "with") for word in rest) or clause.verb not in ("is", "are")
        if (_goes(words, clause, rest, mentions, things) and not clause.negated) or (absent and there):
            # "Leaves the room" is where they were.
            # "Catches the ball and runs away" is seen; the next frame is without her.
            who = {*clause.subjects}
            earlier = [c for c in clauses[:number] if who and who <= {*c.subjects} and c.verb not in (*ASLEEP, "?")]
            shown = bool(earlier) and not earlier[-1].negated and not absent and not afterwards
            # "Lina thanks Bo, and he drives off."
            met = [m for m in mentions if m.end < clause.at and who & {*m.who} and _is_object(words, m, clauses)]
            shown = shown or (bool(met) and not absent and not afterwards)
            shown = shown and "alone" not in words and clause.verb not in BE[:2]
            later = shown or any(clause.at + (3 if clause.verb in _LEAVING[:3] else 0) < at < end for at, _ in settings)
            away = absent or (clause.verb in BE[:2])
            gone |= set(clause.subjects) if away else set() if later else {*clause.subjects} & {*around}
        if clause.verb in _STAYING and any(word in _IN_PLACE for word in rest[1:3]):
            left = {name for c in clauses if c.verb in _GOING for name in c.subjects} - {*clause.subjects}
            # "Lina goes to look for it, Bo stays behind": the picture stays where he is.
            gone |= left & {*around} if left and not moved else set(clause.subjects) if moved else set()
    return gone


def _is_object(words: Sequence[str], mention: Mention, clauses: Sequence[Clause]) -> bool:
    """Whether something is done to somebody: the word before is a verb of someone else."""
    own = next((clause for clause in clauses if clause.at == mention.start - 1), None)
    return own is not None and not own.negated and own.verb not in FINDING and not {*own.subjects} & {*mention.who}


def _goes(
    words: Sequence[str], clause: Clause, rest: Sequence[str], mentions: Sequence[Mention], things: Collection[str]
) -> bool:
    """Whether the verb says that its subjects go away ("turns off the lamp" and "leaves his hat at home" do not)."""
    if clause.verb in _LEAVING:
        left = next((m for m in mentions if m.start == clause.at + 1 and m.shown), None)
        owned = words[clause.at + 1 : clause.at + 2] in (["his"], ["her"], ["its"], ["their"])
        return not owned if left is None else not {*left.who} & {*things}
    if clause.verb in BE[:2]:
        return any(word in (*_AWAY[:2], "gone") for word in rest[1:3])
    object_ = min((mention.start for mention in mentions if mention.start > clause.at), default=len(words))
    near = rest[1 : min(4, object_ - clause.at)]
    if clause.verb in ("rides", "ride") and "on" in rest:
        # "Rides home on Bo's back."
        return False
    ways = _AWAY[:2] if clause.verb in _COMING else _AWAY
    return "gone" in rest[:3] or (clause.verb in _MOVING_OFF and any(word in ways for word in near))


def taken_along(
    words: Sequence[str], mentions: Sequence[Mention], clauses: Sequence[Clause], gone: set[str]
) -> set[str]:
    """What those who go away take with them."""
    takers = [c for c in clauses if c.verb in _TAKING and not c.negated and gone & set(c.subjects)]
    # "Leaves with the flowers."
    leavers = [c for c in clauses if c.verb in _LEAVING and gone & set(c.subjects)]
    starts = {c.at + 1 for c in takers} | {c.at + 2 for c in leavers if words[c.at + 1 : c.at + 2] == ["with"]}
    # "Flies away with it."
    goers = [c for c in clauses if gone & set(c.subjects) and c.verb in _MOVING_OFF]
    starts |= {n + 1 for c in goers for n in range(c.at, min(c.at + 4, len(words))) if words[n] == "with"}
    return {name for m in mentions if m.start in starts for name in m.who}


def disturbed(
    words: Sequence[str], mentions: Sequence[Mention], clauses: Sequence[Clause], things: Collection[str]
) -> set[str]:
    """Things that are no longer where they were: they do something that is no rest, or something is done to them."""
    moved = {name for c in clauses if c.verb not in _AT_REST and not c.negated for name in c.subjects}
    for clause in clauses:
        at = clause.at + 1 + (list(words[clause.at + 1 : clause.at + 2]) in (["up"], ["down"], ["off"], ["out"]))
        target = next((m for m in mentions if m.start == at), None)
        if target is not None and clause.verb not in _AT_REST and not clause.negated:
            moved |= {*target.who}
    return moved & {*things}


def eaten(words: Sequence[str], mentions: Sequence[Mention], clauses: Sequence[Clause]) -> set[str]:
    """What is eaten up, or blown away."""
    ends = [c.at for c in clauses if c.verb in ("eats", "eat", "finishes") and not c.negated]
    starts = {at + 1 for at in ends} | {at + 2 for at in ends if words[at + 1 : at + 2] == ["up"]}
    blown = {c.at + 1 for c in clauses if c.verb in ("takes", "carries", "blows", "sweeps") and not c.subjects}
    starts |= {m.start for m in mentions if m.start in blown and list(words[m.end : m.end + 1]) in (["away"], ["off"])}
    return {name for m in mentions if m.start in starts for name in m.who}


def excluded(
    words: Sequence[str],
    mentions: Sequence[Mention],
    clauses: Sequence[Clause],
    around: Sequence[str],
    things: set[str],
) -> set[str]:
    """Who is not there: "without Bo", "except for Bo", "cannot find Bo"; if it was not there before, "waits for Bo",
    "loves books"."""
    gone = {name for m in mentions if m.start and words[m.start - 1] == "except" for name in m.who}
    for m in mentions:
        own = next((clause for clause in reversed(clauses) if clause.at < m.start), None)
        # "Bo sails on without him": he stays.
        if words[m.start - 1 : m.start] == ["without"] and (own is None or own.verb not in (*MOVING, *_LEAVING)):
            gone |= {*m.who}
    gone |= {name for m in mentions if words[m.start] == "no" for name in m.who}
    gone |= {name for m in mentions if m.start and words[m.start - 1] in _LEAVING[:3] for name in m.who} & things
    apart_from = (*_LIKED, *_LONGED_FOR)
    others = {
        name
        for m in mentions
        for name in m.who
        if not _is_elsewhere(words, m.start)
        and not _is_denied(m, clauses)
        and not _is_told_of(words, m, clauses)
        and not _is_unreal(words, m, clauses)
        and not (m.start and words[m.start - 1] in apart_from)
    }
    away = {name for m in mentions if _is_elsewhere(words, m.start) or _is_unreal(words, m, clauses) for name in m.who}
    away |= {name for m in mentions if m.start and words[m.start - 1] in _LIKED for name in m.who if name in things}
    hidden = {name for c in clauses if c.verb in ("hides", "hide") for name in c.subjects}
    gone |= {
        name
        for m in mentions
        for c in clauses
        if c.negated and c.subjects and c.verb in FINDING and m.start == c.at + 1
        for name in m.who
        if name not in hidden
    }
    return gone | (away - others - set(around))


def _is_elsewhere(words: Sequence[str], at: int) -> bool:
    """Whether who is named at `at` is only waited for, thought of or loved."""
    if at and words[at - 1] in _LONGED_FOR:
        return True
    if at and words[at - 1] == "for" and {"small", "large", "also", "enough"} & {*words[max(0, at - 4) : at]}:
        # "Too small for a fox" ("too" is read as "also").
        return True
    return at > 1 and words[at - 2] in _ELSEWHERE.get(words[at - 1], ())


def _is_told_of(words: Sequence[str], mention: Mention, clauses: Sequence[Clause]) -> bool:
    """Whether somebody is only described ("he is a big robot") or asked after ("Have you seen Bo?")."""
    start = max((n + 2 for n in range(mention.start) if words[n] == "."), default=0)
    if words[start] in _ASKING and mention.start > start:
        return True
    own = next((clause for clause in clauses if clause.at >= mention.end), None)
    described = own is not None and own.at == mention.end and own.verb in BE[:2]
    return described and own is not None and list(words[own.at + 1 : own.at + 2]) in (["a"], ["an"])


def _is_denied(mention: Mention, clauses: Sequence[Clause]) -> bool:
    """ "It is not on the table"."""
    own = next((clause for clause in clauses if clause.at >= mention.end), None)
    return own is not None and own.negated and own.verb in BE[:2] and own.subjects == mention.who


def _is_unreal(words: Sequence[str], mention: Mention, clauses: Sequence[Clause]) -> bool:
    """Whether somebody is only spoken of in what is wished ("wants to fly a kite") or denied ("it is not on a car")."""
    before = [clause for clause in clauses if clause.at < mention.start]
    if not before:
        return False
    own = before[-1]
    if own.negated and all(word not in (",", "but", "and") for word in words[own.at : mention.start]):
        return mention.who != own.subjects
    for clause in before[-1:]:
        # "Goes away to find a lamp."
        aim = clause.verb in _SEEKING and words[clause.at - 1] == "to" and len(before) > 1
        if aim and before[-2].verb in (*_GOING, *_LEAVING) and mention.start == clause.at + 1:
            return mention.who != before[-2].subjects
    wish = next((clause for clause in reversed(before) if clause.verb in WISHING), None)
    if wish is None or wish.negated:
        return False
    between = words[wish.at : mention.start]
    return not {",", "and", "but", "so", "because", "when"} & {*between} and mention.who != wish.subjects


def apart(
    words: Sequence[str],
    clauses: Sequence[Clause],
    settings: Sequence[tuple[int, str]],
    before: str,
    indoors: Sequence[str],
) -> tuple[str, set[str]] | None:
    """The first setting and who is in another one, where different people are told to be in different settings ("Sam
    runs into the snow and Ruby waits inside"), or where some go in or away and others stay where they
    are, `before`; None where the sentence plays in one place."""
    people = [
        next((clause.subjects for clause in reversed(clauses) if clause.at < at and clause.subjects), ())
        for at, _ in settings
    ]
    if len(settings) == 1 and settings[0][1] in indoors and before not in indoors and people[0]:
        inside = set(people[0])
        stay = [c for c in clauses if c.verb in (*_STAYING, "waits", "wait") and c.at > settings[0][0]]
        return (before, inside) if any(c.subjects and not inside & set(c.subjects) for c in stay) else None
    if len(settings) == 1 and settings[0][1] != before and people[0]:
        at = settings[0][0]
        goes = next(clause for clause in reversed(clauses) if clause.at < at and clause.subjects)
        others = [c for c in clauses if c.at < goes.at and c.subjects and not set(c.subjects) & set(goes.subjects)]
        away = any(word in _AWAY[:2] for word in words[goes.at + 1 : at])
        joined = others and _is_own_sentence(words, others[-1].at, goes.at)
        if others and not others[-1].negated and (away or (joined and goes.verb in (*_GOING, *MOVING))):
            return before, set(goes.subjects)
    if len({what for _, what in settings}) < 2:
        return None
    first, last = people[0], people[-1]
    if not first or not last or set(first) & set(last):
        return None
    elsewhere = [
        name for who, (_, what) in zip(people, settings, strict=True) if what != settings[0][1] for name in who
    ]
    return settings[0][1], set(elsewhere) - set(first)


def driving(clauses: Sequence[Clause], kind: str = "") -> list[str]:
    """Who drives, sails or rides; in a vehicle of this kind if one is told."""
    verbs = {"car": _DRIVING[:2], "boat": _DRIVING[2:6]}.get(kind, ()) + _DRIVING[6:] if kind else _DRIVING
    return [name for clause in clauses if clause.verb in verbs and not clause.negated for name in clause.subjects]


def goes_out(words: Sequence[str], clauses: Sequence[Clause], things: Collection[str]) -> bool:
    """Whether somebody leaves a room: "they go outside", "she runs out of the house"."""
    verbs = (*_GOING, *MOVING, *BE[:2], "steps", "step", "play", "plays", "rushes", "hurries", "jumps", "climbs")
    leaving = [clause for clause in clauses if clause.verb in verbs and not clause.negated]
    ends = [clause.at + 1 for clause in leaving if not clause.subjects or not {*clause.subjects} <= {*things}]
    return any(words[at : at + 1] in (["outside"], ["out"], ["outdoors"]) for at in ends)


def afloat(words: Sequence[str], clauses: Sequence[Clause], boats: Collection[int]) -> bool:
    """Whether somebody sails, or is in or on the boat that is named at one of `boats`."""
    return any(clause.verb in SAILING for clause in clauses) or any(words[at - 1] in _ABOARD for at in boats if at)


def turns_outside(words: Sequence[str], mentions: Sequence[Mention]) -> bool:
    """Whether a sentence tells of somebody outside: "Outside the house a dog plays a drum"."""
    starts = [
        at for at, word in enumerate(words) if word == "outside" and (at == 0 or words[at - 2 : at] == [".", "and"])
    ]
    ends = [next((n for n in range(at, len(words)) if words[n] == "."), len(words)) for at in starts]
    return any(at < m.start < end for at, end in zip(starts, ends, strict=True) for m in mentions)


def goes_in(words: Sequence[str], mentions: Sequence[Mention], clauses: Sequence[Clause]) -> bool:
    """Whether somebody comes into a house: "Bo goes in", "lets her in", "invites them inside"."""
    ends = {mention.start: mention.end for mention in mentions}
    for clause in clauses:
        if clause.negated or clause.verb not in (*_GOING, "lets", "let", "invites", "brings", "hurries", "steps"):
            continue
        at = ends.get(clause.at + 1, clause.at + 1)
        at += words[at : at + 1] == ["back"]
        if clause.verb in ("comes", "come", "gets") and list(words[at : at + 1]) == ["home"]:
            return True
        others = any(c.at > clause.at and c.subjects and not {*c.subjects} & {*clause.subjects} for c in clauses)
        if clause.verb != "comes" and others and "inside" not in words and clause.verb in _GOING:
            # "Bo goes in, Lina walks on alone."
            continue
        if list(words[at : at + 1]) == ["in"] and words[at + 1 : at + 2] in ([], *([word] for word in _BEHIND_IN)):
            return True
    return False


def _is_own_sentence(words: Sequence[str], first: int, second: int) -> bool:
    """Whether what the second verb says goes on beside what the first one says ("Bo reads while Lina walks off")."""
    between = words[first:second]
    return any(a in ("while", "but") or (a, b) == (",", "and") for a, b in itertools.pairwise(between))


def returning(words: Sequence[str], clauses: Sequence[Clause]) -> set[str]:
    """Who goes back to where they were ("back to sleep" is no place)."""
    found: set[str] = set()
    for clause in clauses:
        rest = words[clause.at + 1 : clause.at + 4]
        back = rest[:1] == ["back"] and "sleep" not in rest
        if not clause.negated and (clause.verb in _RETURNING or (clause.verb in (*_GOING, "gets", "get") and back)):
            found |= set(clause.subjects)
    return found

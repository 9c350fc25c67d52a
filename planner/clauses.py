"""What the verbs of a sentence say: who does what, who goes away, who stays."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from raccord.planner.discourse import Mention
from raccord.planner.mentions import coordinated, fronted
from raccord.planner.world import World

_BE = ("is", "are", "has", "have", "does", "do", "not", "never", "will", "can", "starts", "begins", "wants", "to")
ADVERBS = frozenset(
    "also then now still soon both all just too again right very there here slowly quickly happily quietly together "
    "proudly bravely alone".split()
)
# "Looks around" is an action of its own; "looks at", "plays with" and "runs into Bo" are done standing.
_LOOKING = ("look", "looks", "looking")
# "Bo comes" stands there; "Bo comes to the beach" may be walking yet.
_TO = ("to", "into", "onto", "up", "inside", "indoors", "?")
PLAYING = ("plays", "play", "playing")
# Who does this neither sits nor sleeps any longer.
_MOVING = frozenset(
    "flies fly flying lands land dances dance dancing swims swim skates skate hops hop skips skip sails sail drives "
    "drive rides ride rows row swings swoops throws throw kicks kick pushes push pulls pull brings bring floats leaves "
    "leave departs sneaks crawls crosses passes digs builds gets rolls".split()
)
# Nor does anybody sleep who does anything but this.
_ASLEEP = frozenset(
    "snores snore dreams dream is are has have lives live likes like loves love needs remains holds hold holding "
    "carries carry carrying wears wear wearing puts put gets get".split()
)
_PARTICIPLES = frozenset("asleep sleeping sitting waiting resting standing napping dozing dreaming seated".split())
_WAKING = ("wakes", "wake", "wakes up", "lifts")
# Whoever is waited for, sought or thought of need not be there.
_LONGED_FOR = frozenset("wants want needs misses miss remembers forgets loses lose".split())
_LIKED = frozenset("loves love likes like".split())
_ELSEWHERE = {
    "for": ("waits", "wait", "waiting", "searches", "search", "looks", "look", "looking", "calls", "call", "asks"),
    "of": ("thinks", "think", "dreams", "dream", "dreaming"),
    "about": ("thinks", "think", "dreams", "dream", "talks", "talk", "asks", "tells"),
}
_LEAVING = ("left", "leaves", "leave", "disappears", "disappear", "vanishes", "departs", "gone")
_AWAY = ("away", "off", "home")
_IN_PLACE = ("behind", "home", "where", "there", "here")
_STAYING = ("stays", "stay", "remains", "remain")
_RETURNING = ("returns", "return")
_DREAMING = ("dreams", "dream", "dreaming")
_GOING = ("comes", "come", "goes", "go", "runs", "run", "walks", "walk")
# They come and go like people.
_SEASONS = ("winter", "summer", "spring", "autumn")
_NOT = ("not", "never")
_TAKING = frozenset("takes take carries carry picks steals catches holds".split())
FINDING = ("finds", "find", "sees", "see", "discovers", "meets", "meet")
_DRIVING = ("drives", "drive", "sails", "sail", "rows", "row", "rides", "ride", "driving", "riding")
# Who is in it is seen behind its side.
VEHICLES = ("car", "boat")


class Clause(NamedTuple):
    """A verb at position `at` and who does it."""

    at: int
    verb: str
    subjects: tuple[str, ...]
    negated: bool


def read_clauses(
    words: Sequence[str], mentions: Sequence[Mention], taken: frozenset[int], world: World
) -> list[Clause]:
    """The verbs of a sentence with their subjects, in order; unknown words right behind somebody count as verbs."""
    clauses: list[Clause] = []
    ends = {mention.end: number for number, mention in enumerate(mentions)}
    inside = {at for mention in mentions for at in range(mention.start, mention.end)}
    for at, word in enumerate(words):
        behind = at in ends or (words[at - 1 : at] == [","] and at - 1 in ends)
        unknown = word == "?" and behind and words[at + 1 : at + 2] != [","]
        if at in inside or at in taken or not (word in world.all_verbs or word in _BE[:2] or unknown):
            continue
        if word == "left" and at > 1 and words[at - 2] in ("to", "on", "at"):
            continue  # "on her left"
        if word == "left" and (
            (at not in ends and words[at - 1] not in (*ADVERBS, *_BE[2:], "?")) or words[at + 1 : at + 2] == ["of"]
        ):
            continue
        place = at
        while place > 0 and place not in ends and (words[place - 1] in ADVERBS or words[place - 1] in (*_BE, "?")):
            place -= 1
        if words[place - 1 : place] in (["who"], ["which"]):
            # "Grace, who is resting," is no subject of what follows her.
            place -= 1
        negated = any(word in _NOT for word in words[place:at]) or words[at + 1 : at + 2] == ["not"]
        if words[place - 1 : place] == [","] and place - 1 in ends:
            place -= 1
            acting = [clause for clause in clauses if clause.subjects and clause.at < place]
            if (
                acting
                and word in _PARTICIPLES
                and words[at - 1] == ","
                and mentions[ends[place]].who != acting[-1].subjects
            ):
                # "She lies next to him, asleep": she is.
                clauses.append(Clause(at, word, acting[-1].subjects, negated))
                continue
        if place in ends and fronted(words, mentions[ends[place]], world):
            after = next((mention for mention in mentions if mention.start > at), None)
            subjects = after.who if after else ()
        elif place in ends:
            subjects = coordinated(words, mentions, ends[place], world)
        elif clauses:
            subjects = clauses[-1].subjects
        elif words[place - 1 : place] and words[place - 1] in _SEASONS:
            subjects = ()
        else:
            after = next((mention for mention in mentions if mention.start >= at), None)
            subjects = after.who if after else ()
        clauses.append(Clause(at, word, subjects, negated))
    return clauses


def actions_told(
    words: Sequence[str], mentions: Sequence[Mention], clauses: Sequence[Clause], world: World
) -> tuple[dict[str, str], set[str]]:
    """Role -> action for those of whom the sentence says what they do, and those whose verb is unknown."""
    starts = {mention.start for mention in mentions}
    told: dict[str, str] = {}
    open_to_model: set[str] = set()
    for clause in clauses:
        following = words[clause.at + 1] if clause.at + 1 < len(words) else ""
        action = world.action_words.get(clause.verb)
        already = told.keys() & set(clause.subjects)
        if clause.negated or (already and clause.at and words[clause.at - 1] == "to"):
            # "Runs over to see it" is running.
            continue
        if already and clause.verb in _LOOKING and following == "at":
            # "Lies in the grass and looks at the stars" is lying.
            continue
        if clause.verb in _DREAMING and following in ("of", "about"):
            continue
        if clause.verb == "?":
            open_to_model |= set(clause.subjects)
        meets = following == "into" and clause.at + 2 in starts
        if clause.verb in _WAKING and not clause.negated:
            woken = next((m for m in mentions if m.start in (clause.at + 1, clause.at + 2) and m.shown), None)
            told |= dict.fromkeys(woken.who if woken else (), world.creature_actions[0])
        if (
            meets
            or (clause.verb in PLAYING and (following == "with" or clause.at + 1 in starts))
            or (clause.verb in _LOOKING and following == "at")
        ):
            action = world.creature_actions[0]
        elif action is None or (clause.verb in _LOOKING and following not in ("around", "for")):
            continue
        if clause.verb in ("comes", "come") and following in _TO:
            action = world.action_words.get("walks", action)
        # "She stays and waits": the last verb of one subject counts.
        told |= dict.fromkeys(clause.subjects, action)
    return told, open_to_model - told.keys()


def leaving(
    words: Sequence[str],
    clauses: Sequence[Clause],
    settings: Sequence[tuple[int, str]],
    around: Sequence[str],
    *,
    moved: bool,
    afterwards: bool = False,
) -> set[str]:
    """Who of those `around` goes away; whoever "runs off into the forest" is seen in the forest, and whoever does
    something before, too, unless it is asked who is away `afterwards`."""
    gone: set[str] = set()
    for number, clause in enumerate(clauses):
        others = (other.at for other in clauses[number + 1 :] if other.subjects != clause.subjects)
        end = next(others, len(words))
        rest = words[clause.at : clauses[number + 1].at if number + 1 < len(clauses) else end]
        stays = clause.verb in _STAYING and any(word in _IN_PLACE for word in rest[1:3])
        goes = clause.verb in _LEAVING or any(word in _AWAY for word in rest[1:4]) or "gone" in rest[:3]
        absent = clause.negated and clause.verb in (
            "is",
            "are",
            "comes",
            "come",
            "joins",
            "join",
            "follows",
            "follow",
            "stays",
        )
        there = any(word in ("there", "here", "with") for word in rest) or clause.verb not in ("is", "are")
        if (goes and not clause.negated and clause.verb != "takes") or (absent and there):
            # "Leaves the room" is where they were.
            # "Catches the ball and runs away" is seen; the next frame is without her.
            earlier = [c for c in clauses[:number] if c.subjects == clause.subjects and c.verb not in (*_ASLEEP, "?")]
            shown = bool(earlier) and not earlier[-1].negated and not absent and not afterwards
            later = shown or any(clause.at + (3 if clause.verb in _LEAVING[:3] else 0) < at < end for at, _ in settings)
            gone |= set(clause.subjects) if absent else set() if later else {*clause.subjects} & {*around}
        if stays and (moved or len(clauses) > 1):
            gone |= set(clause.subjects)
    return gone


def roused(clauses: Sequence[Clause]) -> tuple[set[str], set[str], set[str]]:
    """Who surely sleeps no longer, who is on the way no longer, and who neither sits nor sleeps any longer, by what
    the sentence says they do, or for the second do not."""
    told = [clause for clause in clauses if not clause.negated]
    awake = {name for clause in told if clause.verb not in _ASLEEP for name in clause.subjects}
    busy = {name for clause in clauses if clause.verb not in _ASLEEP for name in clause.subjects}
    return awake, busy, {name for clause in told if clause.verb in _MOVING for name in clause.subjects}


def taken_along(
    words: Sequence[str], mentions: Sequence[Mention], clauses: Sequence[Clause], gone: set[str]
) -> set[str]:
    """What those who go away take with them."""
    takers = [c for c in clauses if c.verb in _TAKING and not c.negated and gone & set(c.subjects)]
    # "Leaves with the flowers."
    leavers = [c for c in clauses if c.verb in _LEAVING and gone & set(c.subjects)]
    starts = {c.at + 1 for c in takers} | {c.at + 2 for c in leavers if words[c.at + 1 : c.at + 2] == ["with"]}
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
    gone = {name for m in mentions if m.start and words[m.start - 1] in ("without", "except") for name in m.who}
    gone |= {name for m in mentions if words[m.start] == "no" for name in m.who}
    gone |= {name for m in mentions if m.start and words[m.start - 1] in _LEAVING[:3] for name in m.who} & things
    apart_from = (*_LIKED, *_LONGED_FOR)
    others = {
        name
        for m in mentions
        for name in m.who
        if not _is_elsewhere(words, m.start) and not (m.start and words[m.start - 1] in apart_from)
    }
    away = {name for m in mentions if _is_elsewhere(words, m.start) for name in m.who}
    away |= {name for m in mentions if m.start and words[m.start - 1] in _LIKED for name in m.who if name in things}
    gone |= {
        name
        for m in mentions
        for c in clauses
        if c.negated and c.verb in FINDING and m.start == c.at + 1
        for name in m.who
    }
    return gone | (away - others - set(around))


def _is_elsewhere(words: Sequence[str], at: int) -> bool:
    """Whether who is named at `at` is only waited for, thought of or loved."""
    if at and words[at - 1] in _LONGED_FOR:
        return True
    return at > 1 and words[at - 2] in _ELSEWHERE.get(words[at - 1], ())


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
        if others and not others[-1].negated and (away or (joined and goes.verb in (*_GOING, *_MOVING))):
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


def driving(clauses: Sequence[Clause]) -> list[str]:
    """Who drives, sails or rides."""
    return [name for clause in clauses if clause.verb in _DRIVING and not clause.negated for name in clause.subjects]


def goes_out(words: Sequence[str], clauses: Sequence[Clause]) -> bool:
    """Whether somebody leaves a room: "they go outside", "she runs out of the house"."""
    verbs = (*_GOING, *_BE[:2], "steps", "play", "plays")
    ends = [clause.at + 1 for clause in clauses if clause.verb in verbs and not clause.negated]
    return any(words[at : at + 1] in (["outside"], ["out"], ["outdoors"]) for at in ends)


def goes_in(words: Sequence[str], mentions: Sequence[Mention], clauses: Sequence[Clause]) -> bool:
    """Whether somebody comes into a house: "Bo goes in", "lets her in", "invites them inside"."""
    ends = {mention.start: mention.end for mention in mentions}
    for clause in clauses:
        if clause.negated or clause.verb not in (*_GOING, "lets", "let", "invites", "brings", "hurries", "steps"):
            continue
        at = ends.get(clause.at + 1, clause.at + 1)
        at += words[at : at + 1] == ["back"]
        if list(words[at : at + 1]) == ["in"] and words[at + 1 : at + 2] in ([], ["and"], [","], ["from"], ["to"]):
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
        if not clause.negated and (clause.verb in _RETURNING or (clause.verb in _GOING and back)):
            found |= set(clause.subjects)
    return found

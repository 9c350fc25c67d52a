"""The verbs of a sentence: who does what."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from raccord.planner.discourse import Mention
from raccord.planner.reading import UNKNOWN
from raccord.planner.syntax import ADVERBS, PREPOSITIONS, coordinated, following, fronted
from raccord.planner.world import World

BE = ("is", "are", "has", "have", "does", "do", "not", "never", "will", "can", "starts", "begins", "wants", "to")
# "Looks around" is an action of its own; "looks at", "plays with" and "runs into Bo" are done standing.
_LOOKING = ("look", "looks", "looking")
# "Bo comes" stands there; "Bo comes to the beach" may be walking yet.
_TO = ("to", "into", "onto", "up", "inside", "indoors", "?")
PLAYING = ("plays", "play", "playing")
# Who does this neither sits nor sleeps any longer.
MOVING = frozenset(
    "flies fly flying lands land dances dance dancing swims swim skates skate hops hop skips skip sails sail drives "
    "drive rides ride rows row swings swoops throws throw kicks kick pushes push pulls pull brings bring floats leaves "
    "leave departs sneaks crawls crosses passes digs builds gets rolls reaches reach arrives arrive climbs "
    "overtakes".split()
)
# Nor does anybody sleep who does anything but this.
ASLEEP = frozenset(
    "snores snore dreams dream is are has have lives live likes like loves love needs remains holds hold holding "
    "carries carry carrying wears wear wearing puts put gets get".split()
)
_PARTICIPLES = frozenset("asleep sleeping sitting waiting resting standing napping dozing dreaming seated".split())
_WAKING = ("wakes", "wake", "wakes up", "lifts")
_DREAMING = ("dreams", "dream", "dreaming")
# They come and go like people.
_SEASONS = ("winter", "summer", "spring", "autumn")
# What follows these has not happened.
WISHING = frozenset(
    "wants want wishes wish hopes hope plans plan dreams dream decides decide promises promise imagines imagine needs "
    "need pretends wonders thinks think".split()
)
_NOT = ("not", "never")
_NOBODY = ("nobody", "somebody", "someone", "something", "nothing", "none", "no-one")
# Between a verb and the one before it that has the same subject.
_LINKING = (
    frozenset(
        "and , . but or so to then when while because as that until after before where if who which whose not never "
        "will can could would should must may might let lets help helps too also there it by together".split()
    )
    | ADVERBS
    | {*BE, "?"}
)
_RELATIVE = ("who", "which", "that")
# "The ?" is something that the world has no word for.
_OPEN_NOUNS = ("a", "an", "the", "his", "her", "its", "their", "'s", "some")
FINDING = ("finds", "find", "sees", "see", "discovers", "meets", "meet")
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
        unknown = word == UNKNOWN and behind and list(words[at + 1 : at + 2]) not in ([","], ["and"])
        if at in inside or at in taken or not (word in world.all_verbs or word in BE[:2] or unknown):
            continue
        if _is_side(words, at, ends) or _is_noun(words, at, world):
            continue
        place = at
        while place > 0 and place not in ends and _precedes_verbs(words, place - 1):
            place -= 1
        negated = any(word in _NOT for word in words[place:at]) or words[at + 1 : at + 2] == ["not"]
        started = max((n for n in range(at) if words[n] in (".", "but")), default=0)
        negated = negated or ("nobody" in words[started:at] and not any(started <= m.start < at for m in mentions))
        who = _depicted(words, at, mentions, clauses)
        if who is None:
            who = _subjects(words, at, _without_aside(words, place, ends), mentions, clauses, world, taken)
        clauses.append(Clause(at, word, who, negated))
    return clauses


def _is_side(words: Sequence[str], at: int, ends: Mapping[int, int]) -> bool:
    """Whether "left" at `at` is a side: "on her left", "looks left", "left of"."""
    if words[at] != "left":
        return False
    if at > 1 and words[at - 2] in ("to", "on", "at"):
        return True
    verbs = at in ends or words[at - 1] in (*ADVERBS, *BE[2:], UNKNOWN)
    return not verbs or words[at + 1 : at + 2] == ["of"] or list(words[at + 1 : at + 3]) == ["and", "right"]


def _is_noun(words: Sequence[str], at: int, world: World) -> bool:
    """Whether the verb's word at `at` is a noun: "a walk", "her big dream"."""
    before = at - 1
    if words[at].endswith("s") and words[before] == UNKNOWN:
        # "The wind takes the balloon."
        return False
    while before > 0 and (words[before] in world.sizes or words[before] in world.colours or words[before] == UNKNOWN):
        before -= 1
    owner = words[before] in ("his", "her", "their", "its", "my", "your", "our")
    return at > 0 and (owner or words[before] in ("a", "an", "the", "no", "this", "that", "every", "each", "some"))


def _precedes_verbs(words: Sequence[str], at: int) -> bool:
    """Whether the word at `at` may stand between a subject and its verb; "the ?" is a subject of its own."""
    if words[at] == UNKNOWN:
        return not (at and words[at - 1] in _OPEN_NOUNS)
    return words[at] in ADVERBS or words[at] in BE


def _without_aside(words: Sequence[str], place: int, ends: Mapping[int, int]) -> int:
    """Where the subject before a verb ends, with "who is resting" or ", who is resting," behind it left out."""
    if words[place - 1 : place] in (["who"], ["which"], ["that"]) and place - 1 in ends:
        return place - 1
    if words[place - 1 : place] and words[place - 1] in _RELATIVE and words[place - 2] == "," and place - 2 in ends:
        return place - 2
    if words[place - 1 : place] != [","]:
        return place
    opening = next((at for at in range(place - 2, 0, -1) if words[at] in _RELATIVE and words[at - 1] == ","), None)
    if opening is not None and opening - 1 in ends and place not in ends:
        return opening - 1
    return place - 1 if place - 1 in ends else place


def _depicted(
    words: Sequence[str], at: int, mentions: Sequence[Mention], clauses: Sequence[Clause]
) -> tuple[str, ...] | None:
    """Who is "asleep" at `at` in "she lies next to him, asleep" (she) and "she finds Bo, asleep" (Bo); None where that
    word follows its own subject."""
    acting = [clause for clause in clauses if clause.subjects]
    if not acting or words[at] not in _PARTICIPLES:
        return None
    last = next((mention for mention in reversed(mentions) if mention.end <= at and mention.shown), None)
    gap = words[last.end : at] if last is not None else ()
    if last is None or any(word not in (",", "fast", UNKNOWN) for word in gap):
        return None
    if acting[-1].verb in FINDING and last.who != acting[-1].subjects:
        return last.who
    return acting[-1].subjects if "," in gap and last.who != acting[-1].subjects else None


def _subjects(
    words: Sequence[str],
    at: int,
    place: int,
    mentions: Sequence[Mention],
    clauses: Sequence[Clause],
    world: World,
    taken: frozenset[int],
) -> tuple[str, ...]:
    """Who does what the verb at `at` says, with nothing but adverbs between it and `place`."""
    ends = {mention.end: number for number, mention in enumerate(mentions)}
    if place in ends and fronted(words, mentions[ends[place]], world):
        return following(words, mentions, at)
    acting = [clause for clause in clauses if clause.subjects]
    if place in ends:
        start = mentions[ends[place]].start
        object_ = start and (words[start - 1] in PREPOSITIONS or words[start - 1] in world.all_verbs)
        if acting and object_ and words[place : place + 1] == [","] and words[place + 1] not in _RELATIVE:
            # "She sits next to a lamp, reading."
            return acting[-1].subjects
        return coordinated(words, mentions, ends[place], world)
    before = words[place - 1] if place else ""
    nobody = before in world.accessories or before in (*_SEASONS, *_NOBODY, UNKNOWN)
    if nobody and words[place : place + 1] not in ([","], ["and"]):
        # "Her hat flies away", "the wind takes the balloon".
        return ()
    if words[at - 1 : at] == ["there"] and (at < 2 or words[at - 2] in ("and", ",", ".")):
        # "There lies the moon", "there is a cake".
        after = next((mention for mention in mentions if mention.start in (at + 1, at + 2)), None)
        return after.who if after else ()
    if place - 1 in taken and not any(mention.start == at + 1 for mention in mentions):
        # "A storm comes up", but "in the forest sits Bo".
        governed = any(word in PREPOSITIONS for word in words[max(0, place - 4) : place])
        return clauses[-1].subjects if governed and clauses else ()
    if before and before not in _LINKING and before not in world.all_verbs:
        # "The light goes out", but "along comes Ping".
        return following(words, mentions, at) if any(mention.start == at + 1 for mention in mentions) else ()
    if any(word in _NOBODY for word in words[:at]) and not any(mention.end <= at for mention in mentions):
        return ()
    if clauses and not ("." in words[clauses[-1].at : at] and any(m.start == at + 1 for m in mentions)):
        return clauses[-1].subjects
    after = next((mention for mention in mentions if mention.start >= at), None)
    return after.who if after else ()


def actions_told(
    words: Sequence[str],
    mentions: Sequence[Mention],
    clauses: Sequence[Clause],
    world: World,
    drummers: Collection[str] = (),
) -> tuple[dict[str, str], set[str]]:
    """Role -> action for those of whom the sentence says what they do, and those whose verb is unknown; `drummers` play
    their drum."""
    starts = {mention.start for mention in mentions}
    told: dict[str, str] = {}
    open_to_model: set[str] = set()
    for clause in clauses:
        behind = words[clause.at + 1] if clause.at + 1 < len(words) else ""
        action = world.action_words.get(clause.verb)
        already = told.keys() & set(clause.subjects)
        wished = [c for c in clauses if c.verb in WISHING and c.at < clause.at and "to" in words[c.at : clause.at]]
        if wished and not {",", "and", "but", "so"} & {*words[wished[-1].at : clause.at]}:
            continue
        if clause.negated or (already and clause.at and words[clause.at - 1] == "to"):
            # "Runs over to see it" is running.
            continue
        if already and clause.verb in _LOOKING and behind == "at":
            # "Lies in the grass and looks at the stars" is lying.
            continue
        if clause.verb in _DREAMING and behind in ("of", "about"):
            continue
        if clause.verb == "?":
            open_to_model |= set(clause.subjects)
        meets = behind == "into" and clause.at + 2 in starts
        if clause.verb in _WAKING and not clause.negated:
            woken = next((m for m in mentions if m.start in (clause.at + 1, clause.at + 2) and m.shown), None)
            told |= dict.fromkeys(woken.who if woken else (), world.creature_actions[0])
        if (
            meets
            or (clause.verb in PLAYING and (behind == "with" or clause.at + 1 in starts))
            or (clause.verb in _LOOKING and behind == "at")
            or (clause.verb in PLAYING and {*clause.subjects} & {*drummers})
        ):
            action = world.creature_actions[0]
        elif action is None or (clause.verb in _LOOKING and behind not in ("around", "for")):
            continue
        if clause.verb in ("comes", "come") and behind in _TO:
            action = world.action_words.get("walks", action)
        # "She stays and waits": the last verb of one subject counts.
        told |= dict.fromkeys(clause.subjects, action)
    return told, open_to_model - told.keys()


def roused(clauses: Sequence[Clause]) -> tuple[set[str], set[str], set[str]]:
    """Who surely sleeps no longer, who is on the way no longer, and who neither sits nor sleeps any longer, by what
    the sentence says they do, or for the second do not."""
    told = [clause for clause in clauses if not clause.negated]
    awake = {name for clause in told if clause.verb not in ASLEEP for name in clause.subjects}
    busy = {name for clause in clauses if clause.verb not in ASLEEP for name in clause.subjects}
    return awake, busy, {name for clause in told if clause.verb in MOVING for name in clause.subjects}

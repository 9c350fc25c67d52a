"""Who is in a story and what each sentence shows, as far as its own words say it.

What is found here narrows the grammar a small model decodes with: it cannot give a red cat the looks of a tree, and
chooses only where the story leaves a choice.

What a frame shows: whoever its sentence speaks of, and whoever was there before, unless they left, the named ones
moved to another setting, or are there alone. "They" are the creatures that are there. A setting, a time and a weather
hold until another one is told; what somebody does, until they do something else.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from raccord.planner.clauses import VEHICLES, Clause, actions_told, read_clauses, roused
from raccord.planner.comings import (
    afloat,
    apart,
    disturbed,
    driving,
    eaten,
    excluded,
    goes_in,
    goes_out,
    leaving,
    returning,
    taken_along,
    turns_outside,
)
from raccord.planner.discourse import PORTABLE, Discourse, Mention
from raccord.planner.kinship import kind_by_kinship
from raccord.planner.looks import Role as Role
from raccord.planner.mentions import read_mentions
from raccord.planner.naming import with_nouns
from raccord.planner.places import Place, PlaceTold, read_place
from raccord.planner.reading import Reading
from raccord.planner.relations import MAX_RELATIONS, Relation, relations_told
from raccord.planner.scene import MAX_BEINGS, MAX_ITEMS
from raccord.planner.spoken import CLOSE
from raccord.planner.world import World

# Place, relations, who is shown, what they do.
Frame = tuple[str, tuple[Relation, ...], list[str], dict[str, str]]
_ON_THE_WAY = ("walking", "running")
# What ends when somebody does anything else.
_PASSING = (*_ON_THE_WAY, "waiting", "looking around")
# Those in depth would let boxes overlap without a word of it.
_LASTING = ("above", "next to", "left of", "right of")
_REFLEXIVE = ("herself", "himself", "itself")
_ALL = ("they", "everyone", "everybody", "both")


@dataclass(frozen=True)
class Choice:
    """What one sentence says and leaves open.

    Attributes:
        background: the place it plays in, a key of the world's backgrounds.
        relations: (subject, relation, object) it states.
        shown: names of the roles its frame shows, in order of the roles.
        actions: (role, action) for those whose action is known; the model chooses that of the others.
    """

    background: str
    relations: tuple[Relation, ...]
    shown: tuple[str, ...]
    actions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cast:
    """Roles of a story in order of appearance, choices of each sentence, and phrases that have no effect."""

    roles: tuple[Role, ...]
    choices: tuple[Choice, ...]
    left_out: tuple[str, ...]


def cast_story(reading: Reading, world: World) -> Cast:
    """Find the roles and choices of a story."""
    names = enumerate(reading.genders, start=1)
    story = Discourse(world, {f"#{number}": gender for number, gender in names if gender is not None})
    place, doing = Place(*world.usual), {}
    left: tuple[Place, list[str]] | None = None
    frames: list[Frame] = []
    relations: list[Relation] = []
    hidden: set[str] = set()
    settled = False
    outdoors = place.setting
    for number, frame in enumerate(reading.frames):
        words = with_nouns(frame.split(), story)
        told = read_place(words, place, world, settled=settled)
        first = not settled
        if not settled and told.moved and told.furnished:
            # Only now is it said where they are.
            place = told.place
            told = told._replace(moved=False)
        back = _back(words, told, story) if left is not None and not told.settings else set()
        if left is not None and back:
            # Whoever the pictures followed goes back to those who stayed.
            told = told.at(left[0].setting, place)
            story.around = [name for name in story.roles if name in (*left[1], *back)]
        known = {*story.roles, *story.aliases.values()}
        mentions = read_mentions(words, told, story)
        clauses = read_clauses(words, mentions, told.taken, world)
        split = apart(words, clauses, told.settings, place.setting, world.indoors)
        if split is not None:
            told = told.at(split[0], place)
        elif (
            not (told.settings or told.furnished)
            and place.setting in world.indoors
            and (goes_out(words, clauses, story.things()) or turns_outside(words, mentions))
        ):
            told = told.at(outdoors, place)
        elif not told.settings and place.setting not in world.indoors and goes_in(words, mentions, clauses):
            told = told.at(world.indoors[0], place)
            if not settled:
                # Who comes in comes to those that were there before.
                place = place._replace(setting=world.indoors[0])
                frames = [(world.place_of(*place), *then[1:]) for then in frames]
                told = told._replace(moved=False)
            settled = True
        elif not (settled or told.settings) and afloat(
            words, clauses, [m.start for m in mentions for name in m.who if story.roles[name].kind == VEHICLES[1]]
        ):
            # Whoever sails is at sea unless the story says where.
            place = place._replace(setting=world.settings["sea"])
            told = told.at(place.setting, place)
        settled = settled or bool(told.settings)
        if told.moved and frames:
            left = (place, story.around)
        place = told.place
        outdoors = outdoors if place.setting in world.indoors else place.setting
        before = story.around
        close = reading.shots[number : number + 1] == (CLOSE,)
        shown = _shown(
            words, mentions, clauses, told, story, absent=split[1] if split else set(), close=close, first=first
        )
        unseen = [] if told.moved else [name for name in before if name not in shown]
        actions = actions_told(words, mentions, clauses, world, story.owners_of("drum"))
        doing = _doing(actions, shown, doing if not told.moved else {}, story, roused(clauses))
        kinds = {name: role.kind for name, role in story.roles.items()}
        standing = [] if told.moved else relations
        relations = relations_told(words, mentions, clauses, told.taken, kinds, shown)
        for vehicle in VEHICLES:
            there = [name for name in shown if kinds[name] == vehicle]
            relations += _driven(relations, driving(clauses, vehicle), there)
        hidden = {name for clause in clauses if clause.verb in ("hides", "hide") for name in clause.subjects} | {
            name for name in hidden if name not in actions[0]
        }
        moving = roused(clauses)[2] | disturbed(words, mentions, clauses, story.things())
        inside = {a for a, word, b in standing if word == "behind" and kinds.get(b) in VEHICLES}
        going = {name for clause in clauses if clause.verb in ("goes", "go", "travels") for name in clause.subjects}
        walking = {name: action for name, action in actions[0].items() if name not in inside & going}
        relations += _lasting(standing, relations, walking, moving, hidden, kinds)
        relations = [relation for relation in relations if {relation[0], relation[2]} <= set(shown)][:MAX_RELATIONS]
        riding = {a for a, word, b in relations if word == "behind" and kinds.get(b) in VEHICLES}
        doing = {
            n: story.world.creature_actions[0] if n in riding and a in _ON_THE_WAY else a for n, a in doing.items()
        }
        story.spoken(mentions, next((clause.subjects for clause in clauses if clause.subjects), ()))
        # Whoever came and went in this frame is not there in the next.
        things = story.things()
        went = leaving(words, mentions, clauses, told.settings, shown, moved=told.moved, things=things, afterwards=True)
        went |= taken_along(words, mentions, clauses, went)
        went |= {thing for thing, owner in story.owners.items() if owner in went and story.carried(thing)}
        went |= eaten(words, mentions, clauses)
        rest = [name for name in shown if name not in went]
        story.around = rest if any(story.is_creature(name) for name in rest) else shown
        # Whoever a close-up leaves out is there still.
        story.around = [name for name in story.roles if name in story.around or (close and name in unseen)]
        story.seen |= {*shown}
        story.forget({name for name in story.roles if name not in (*known, *shown)})
        frames.append((world.place_of(*place), tuple(relations), shown, doing))
    return _cast(frames, story)


def _driven(told: Sequence[Relation], drivers: Sequence[str], vehicles: Sequence[str]) -> list[Relation]:
    """Whoever drives is seen behind the side of the vehicle that is there; there is room for two."""
    if len(vehicles) != 1:
        return []
    inside = [a for a, _, b in told if b == vehicles[0]]
    free = [name for name in dict.fromkeys(drivers) if name not in (*inside, *vehicles)]
    return [(name, "behind", vehicles[0]) for name in free][: max(0, 2 - len(inside))]


def _lasting(
    before: Sequence[Relation],
    told: Sequence[Relation],
    actions: Mapping[str, str],
    moving: set[str],
    hidden: set[str],
    kinds: Mapping[str, str | None],
) -> list[Relation]:
    """The relations of the frame before that still hold: whoever stands in them has not moved, nor stands elsewhere,
    and nobody has taken it."""
    gone = moving | {name for name, action in actions.items() if action in _ON_THE_WAY}
    gone |= {subject for subject, _, _ in told}
    gone |= {name for a, _, b in told for name in (a, b) if kinds.get(name) in PORTABLE}
    pairs = [{a, b} for a, _, b in told]
    return [
        (a, word, b)
        for a, word, b in before
        if (word in _LASTING or a in hidden or (word == "behind" and kinds.get(b) in VEHICLES))
        and not {a, b} & gone
        and {a, b} not in pairs
    ]


def _back(words: Sequence[str], told: PlaceTold, story: Discourse) -> set[str]:
    """Who goes back to where they were, of those the last frame shows."""
    trial = copy.deepcopy(story)
    mentions = read_mentions(words, told, trial)
    return returning(words, read_clauses(words, mentions, told.taken, story.world)) & set(story.around)


def _cast(frames: Sequence[Frame], story: Discourse) -> Cast:
    """Only those count whom some frame shows; a frame before anybody is named shows whoever comes first."""
    _named_at_last(story)
    frames = [_renamed(frame, story.aliases) for frame in frames]
    everybody = [name for name in story.roles if any(name in shown for _, _, shown, _ in frames)] or list(story.roles)
    known, rest = everybody[:MAX_BEINGS], everybody[MAX_BEINGS:]
    choices = []
    for place, relations, shown, doing in frames:
        kept = [name for name in shown if name in known]
        if not kept:
            kept = known[:1]
            doing = {name: story.world.creature_actions[0] for name in kept if story.is_creature(name)}
        choices.append(
            Choice(
                place,
                tuple(relation for relation in relations if {relation[0], relation[2]} <= set(kept)),
                tuple(kept),
                tuple((name, doing[name]) for name in kept if name in doing),
            )
        )
    kinds = {name: role.kind for name, role in story.roles.items()}
    related = {name: kind_by_kinship(name, kinds, story.relatives) for name in known if kinds[name] is None}
    roles = tuple(replace(story.roles[name], kind=related.get(name) or kinds[name]) for name in known)
    missing = [f"{role.second} {role.pattern or ''}".strip() for role in roles if role.second and not role.colour]
    return Cast(roles, tuple(choices), tuple(dict.fromkeys([*story.left_out, *missing, *rest])))


def _named_at_last(story: Discourse) -> None:
    """A name of which the story never says what it is, and one creature that it never names, are the same."""
    strangers = [name for name, role in story.roles.items() if name[0] == "#" and role.kind is None]
    nameless = [name for name in story.roles if name[0] != "#" and story.is_creature(name)]
    if len(strangers) == len(nameless) == 1 and not {*strangers, *nameless} & {*story.relatives}:
        story.name(nameless[0], strangers[0])


def _renamed(frame: Frame, names: Mapping[str, str]) -> Frame:
    """The frame with those called by the names they got later."""
    place, relations, shown, doing = frame
    return (
        place,
        tuple(
            dict.fromkeys(
                (names.get(a, a), relation, names.get(b, b))
                for a, relation, b in relations
                if names.get(a, a) != names.get(b, b)
            )
        ),
        list(dict.fromkeys(names.get(name, name) for name in shown)),
        {names.get(name, name): action for name, action in doing.items()},
    )


def _shown(
    words: Sequence[str],
    mentions: Sequence[Mention],
    clauses: Sequence[Clause],
    told: PlaceTold,
    story: Discourse,
    *,
    absent: set[str],
    close: bool,
    first: bool,
) -> list[str]:
    """Who is in the frame, in order of the roles; whoever is `absent` is elsewhere, whatever else is said; a `close`
    one shows only those it speaks of, and the `first` to say where it plays has what is theirs."""
    things = story.things()
    gone = leaving(words, mentions, clauses, told.settings, story.around, moved=told.moved, things=things)
    if gone and gone.intersection(driving(clauses)):
        gone |= {name for name in story.around if story.roles[name].kind in VEHICLES}
    gone |= taken_along(words, mentions, clauses, gone) & things
    spoken = {name for m in mentions for name in m.who}
    gone |= {t for t, owner in story.owners.items() if owner in gone and story.carried(t) and t not in spoken}
    leavers = gone
    gone = gone | excluded(words, mentions, clauses, [] if told.moved else story.around, things) | absent
    named = [name for name in dict.fromkeys(name for m in mentions if m.shown for name in m.who) if name not in gone]
    if told.moved and driving(clauses):
        named += [name for name in story.around if story.roles[name].kind in VEHICLES and name not in (*named, *gone)]
    if told.moved and first:
        # Only now is it said where they are, with what is theirs.
        owned = [name for name in story.around if story.owners.get(name) in named and name not in gone]
        named += [name for name in owned if story.carried(name) or story.roles[name].kind in VEHICLES]
    alone = "alone" in words or any(
        before == "only" and (word[0] == "#" or word in ("the", "she", "he", "it"))
        for before, word in itertools.pairwise(words)
    )
    alone = (
        alone
        or (close and bool(mentions))
        or any(before == "by" and word in _REFLEXIVE for before, word in itertools.pairwise(words))
    )
    stay = [] if alone or (told.moved and not any(word in _ALL for word in words)) else story.around
    if told.moved:
        stay = [name for name in stay if story.is_creature(name)]
    if {name for m in mentions for name in m.who} <= things & {*story.around}:
        # "The car stops in the mountains": with those that are in it.
        stay = story.around
    kept = [name for name in story.roles if (name in stay or name in named) and name not in gone]
    kept = _without_a_crowd(kept, named, story)
    left_behind = "gone" in words and any(name in things for name in named)
    if leavers and not left_behind and not any(story.is_creature(name) for name in kept):
        # Nobody left: whoever leaves is seen leaving.
        kept = [name for name in story.roles if name in kept or name in leavers]
    kept = [name for name in kept if name in named] if left_behind and "only" in words else kept
    kept = kept or [name for name in story.roles if name in story.around]
    # Of those not spoken of, things go first.
    others = sorted((name for name in kept if name not in named), key=story.is_creature)
    while len(kept) > MAX_ITEMS:
        things_kept = [name for name in kept if name in things]
        dropped = others.pop(0) if others else (things_kept or kept)[-1]
        kept.remove(dropped)
        if dropped in named:
            story.left_out.append(dropped)
    return kept


def _without_a_crowd(kept: list[str], named: Sequence[str], story: Discourse) -> list[str]:
    """Whoever finds room; things not spoken of go first, the longest not spoken of before others, a kind at a time."""
    last = {name: place for place, name in enumerate(story.recent)}
    while len(kept) > MAX_ITEMS:
        spare = [name for name in kept if name not in named and not story.is_creature(name)]
        if not spare:
            break
        oldest = max(spare, key=lambda name: last.get(name, len(last)))
        kind = story.roles[oldest].kind
        kept = [name for name in kept if name not in spare or story.roles[name].kind != kind]
    return kept


def _doing(
    told: tuple[Mapping[str, str], set[str]],
    shown: Sequence[str],
    before: Mapping[str, str],
    story: Discourse,
    roused: tuple[set[str], set[str], set[str]],
) -> dict[str, str]:
    """What everybody shown does: as told, else as before; those of unknown verbs are left to the model."""
    actions, left_open = told
    awake, busy, moving = roused
    usual = story.world.creature_actions[0]
    doing = {}
    for name in shown:
        if not story.is_creature(name):
            doing[name] = story.world.thing_actions[0]
        elif name in actions:
            doing[name] = actions[name]
        elif name not in left_open:
            lasting = before.get(name, usual)
            lying = story.world.poses[lasting] == "sleeping"
            still = story.world.poses[lasting] in ("sitting", "sleeping")
            ended = (name in awake and lying) or (name in busy and lasting in _PASSING)
            doing[name] = usual if ended or (name in moving and still) else lasting
    return doing

"""What a scene got right, measured against the scene its story tells."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence

from raccord.planner.framing import arrangements
from raccord.planner.geometry import (
    MAX_OVERLAP,
    REAR_GROUND,
    Constraint,
    faults,
    holds,
    inside,
    overlap,
    overlap_allowed,
)
from raccord.planner.looks import card_looks
from raccord.planner.scene import GRID, Placed, Scene, Shot
from raccord.planner.world import World
from raccord.sampler.plan import Plan

# Counted things: (right, all) by name.
Score = dict[str, tuple[float, int]]


def score(scene: Scene, truth: Scene) -> Score:
    """Count what a scene got right.

    Returns:
        entities: beings of the story with the right name and looks (all: those of either scene).
        frames_cast: frames that show exactly the right beings.
        backgrounds: frames with the right setting; actions: beings in the right frames that do the right thing.
        relations_said: relations of the story that the scene states; relations_hold: those that the boxes of the
            scene satisfy.
        frames_without_fault: frames that need no repair; overlaps: pairs of items in one frame that keep apart as far
            as they should; inside: boxes in the frame and large enough.
    """
    right: Counter[str] = Counter()
    count: Counter[str] = Counter()

    def add(name: str, good: int, total: int = 1) -> None:
        right[name] += good
        count[name] += total

    told = {being.name: being.card for being in truth.entities}
    found = {being.name: being.card for being in scene.entities}
    add("entities", len(told.items() & found.items()), len(told.keys() | found.keys()))
    for shot, true in itertools.zip_longest(scene.frames, truth.frames):
        if true is None:
            continue
        present = {} if shot is None else {item.entity: item for item in shot.items}
        expected = {item.entity: item for item in true.items}
        add("frames_cast", present.keys() == expected.keys())
        add("backgrounds", shot is not None and shot.background == true.background)
        add(
            "actions",
            sum(present[name].action == item.action for name, item in expected.items() if name in present),
            len(expected),
        )
        said = set() if shot is None else {(r.subject, r.relation, r.object) for r in shot.relations}
        for relation in true.relations:
            add("relations_said", (relation.subject, relation.relation, relation.object) in said)
            both = relation.subject in present and relation.object in present
            add(
                "relations_hold",
                both and holds(relation.relation, present[relation.subject].box, present[relation.object].box),
            )
        if shot is not None:
            _boxes(shot, add)
    return {name: (right[name], total) for name, total in count.items()}


def _boxes(shot: Shot, add) -> None:
    names = [item.entity for item in shot.items]
    boxes = [item.box for item in shot.items]
    constraints = [
        Constraint(names.index(r.subject), r.relation, names.index(r.object))
        for r in shot.relations
        if {r.subject, r.object} <= set(names)
    ]
    faultless = all(inside(box) == box for box in boxes) and faults(boxes, constraints) == ([], [])
    add("frames_without_fault", faultless and len(constraints) == len(shot.relations))
    for i, j in itertools.combinations(range(len(boxes)), 2):
        add("overlaps", overlap(boxes[i], boxes[j]) <= overlap_allowed(i, j, constraints))
    for box in boxes:
        add("inside", inside(box) == box)


def score_plan(plan: Plan, truth: Scene, world: World) -> Score:
    """Count what a plan got right: the four predicates of LMD (arXiv 2305.13655) and what else an issue asks for.

    Returns:
        numeracy: (frame, kind) pairs with as many items of the kind as the story tells.
        attribution: entities with exactly the looks told.
        spatial: relations told that the boxes of the plan satisfy.
        negation: entities told to wear nothing that wear nothing, and those absent from a frame that are not in it.
        coreference: frames that show exactly the right entities; actions: items that do what is told.
        places: frames in the right setting, at the right time, in the right weather.
        no_overlap: pairs of items that keep apart; in_frame: boxes inside the frame.
    """
    right: Counter[str] = Counter()
    count: Counter[str] = Counter()

    def add(name: str, good: int, total: int = 1) -> None:
        right[name] += good
        count[name] += total

    names = {entity.id: entity.name for entity in plan.entities}
    found = {entity.name: entity.card for entity in plan.entities}
    told = {being.name: being.card for being in truth.entities}
    kinds = {name: card_looks(card, world)[0] for name, card in (found | told).items()}
    add("attribution", sum(found.get(name) == card for name, card in told.items()), len(told))
    bare = [name for name, card in told.items() if " with " not in card]
    add("negation", sum(" with " not in found.get(name, " with ") for name in bare), len(bare))
    for frame, true in zip(plan.frames, truth.frames, strict=True):
        present = {names[item.entity]: item for item in frame.items}
        expected = {item.entity: item for item in true.items}
        counted = Counter(kinds[name] for name in present)
        wanted = Counter(kinds[name] for name in expected)
        add("numeracy", sum(counted[kind] == wanted[kind] for kind in counted | wanted), len(counted | wanted))
        absent = told.keys() - expected.keys()
        add("negation", len(absent - present.keys()), len(absent))
        add("coreference", present.keys() == expected.keys())
        add("places", frame.background == world.backgrounds[true.background])
        add("actions", sum(n in present and present[n].action == i.action for n, i in expected.items()), len(expected))
        boxes = {name: _cells(item.box) for name, item in present.items()}
        for relation in true.relations:
            both = {relation.subject, relation.object} <= boxes.keys()
            add("spatial", both and holds(relation.relation, boxes[relation.subject], boxes[relation.object]))
        shown = [Placed(entity=name, action="standing", box=box) for name, box in boxes.items()]
        _boxes(true.model_copy(update={"items": tuple(shown)}), add)
    return {name: (right[name], total) for name, total in count.items()}


def score_layout(plan: Plan, written: Scene, truth: Scene, sizes: Sequence[str], world: World) -> Score:
    """Count what the adapters for crowds and framing are there for.

    Args:
        written: the scene as the model wrote it.
        sizes: frame -> the shot size wanted (`corpus.shot_size`).

    Returns:
        shot_size: frames of the plan in the size wanted. crowd_apart_as_written: pairs of four or more items that keep
        apart as the model wrote them; crowd_overlap_as_written: their shared area, of that of the smaller box;
        crowd_in_two_rows: such frames of the plan in two rows; crowd_box_area: share of the frame that an item of such
        a frame of the plan gets.
    """
    right: defaultdict[str, float] = defaultdict(float)
    count: Counter[str] = Counter()
    names = {entity.id: entity.name for entity in plan.entities}
    cards = {entity.name: entity.card for entity in plan.entities}
    for frame, shot, true, size in zip(plan.frames, written.frames, truth.frames, sizes, strict=True):
        boxes = {names[item.entity]: _cells(item.box) for item in frame.items}
        if boxes.keys() != {item.entity for item in true.items}:
            continue
        items = tuple(
            item.model_copy(update={"box": boxes[item.entity]}) for item in shot.items if item.entity in boxes
        )
        drawn = shot.model_copy(update={"items": items})
        same = [a for a in arrangements(drawn, cards, world) if a.boxes == tuple(item.box for item in items)]
        right["shot_size"] += any(one.size == size for one in same)
        count["shot_size"] += 1
        if len(items) < 4:
            continue
        for one, other in itertools.combinations(shot.items, 2):
            shared = overlap(inside(one.box), inside(other.box))
            right["crowd_apart_as_written"] += shared <= MAX_OVERLAP
            right["crowd_overlap_as_written"] += shared
            count["crowd_apart_as_written"] += 1
            count["crowd_overlap_as_written"] += 1
        right["crowd_in_two_rows"] += any(item.box[1] + item.box[3] == REAR_GROUND for item in items)
        count["crowd_in_two_rows"] += 1
        right["crowd_box_area"] += sum(item.box[2] * item.box[3] for item in items)
        count["crowd_box_area"] += len(items) * GRID * GRID
    return {name: (right[name], total) for name, total in count.items()}


def _cells(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    left, top, right, bottom = (round(side * GRID) for side in box)
    return left, top, right - left, bottom - top


def total(scores: list[Score]) -> dict[str, float]:
    """Percentages over many scenes, one decimal."""
    names = dict.fromkeys(name for score in scores for name in score)
    sums = {
        name: [sum(values) for values in zip(*(score.get(name, (0, 0)) for score in scores), strict=True)]
        for name in names
    }
    return {name: round(100 * good / every, 1) for name, (good, every) in sums.items() if every}

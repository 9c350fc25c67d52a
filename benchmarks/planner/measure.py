"""What a scene got right, measured against the scene its story tells."""

import itertools
from collections import Counter

from raccord.planner.geometry import Constraint, holds, inside, overlap, overlap_allowed
from raccord.planner.scene import Scene, Shot

# Counted things: (right, all) by name.
Score = dict[str, tuple[int, int]]


def score(scene: Scene, truth: Scene) -> Score:
    """Count what a scene got right.

    Returns:
        entities: beings of the story with the right name and looks (all: those of either scene).
        frames_cast: frames that show exactly the right beings.
        backgrounds: frames with the right setting; actions: beings in the right frames that do the right thing.
        relations_said: relations of the story that the scene states; relations_hold: those that the boxes of the
            scene satisfy.
        overlaps: pairs of items in one frame that keep apart as far as they should; inside: boxes in the frame and
            large enough.
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
    for i, j in itertools.combinations(range(len(boxes)), 2):
        add("overlaps", overlap(boxes[i], boxes[j]) <= overlap_allowed(i, j, constraints))
    for box in boxes:
        add("inside", inside(box) == box)


def total(scores: list[Score]) -> dict[str, float]:
    """Percentages over many scenes, one decimal."""
    names = dict.fromkeys(name for score in scores for name in score)
    sums = {
        name: [sum(values) for values in zip(*(score.get(name, (0, 0)) for score in scores), strict=True)]
        for name in names
    }
    return {name: round(100 * good / every, 1) for name, (good, every) in sums.items() if every}

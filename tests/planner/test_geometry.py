"""Relations between boxes, the arrangement that satisfies them, and the repair of whole scenes."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raccord.planner.geometry import Constraint, arrange, faults, holds, inside, overlap, overlap_allowed
from raccord.planner.reading import Reading
from raccord.planner.repair import repair
from raccord.planner.scene import GRID, MAX_ITEMS, Being, Placed, Relation, Scene, Shot

RELATIONS = ("left of", "right of", "next to", "behind", "in front of", "above")
CONVERSE = {
    "left of": "right of",
    "right of": "left of",
    "behind": "in front of",
    "in front of": "behind",
    "next to": "next to",
}

cells = st.integers(0, GRID - 1)
extents = st.integers(1, GRID)
boxes = st.tuples(cells, cells, extents, extents)
sizes = st.tuples(st.integers(1, GRID), st.integers(1, GRID))


@given(boxes, boxes)
def test_overlap_is_symmetric_and_a_share(a, b):
    assert overlap(a, b) == overlap(b, a)
    assert 0 <= overlap(a, b) <= 1
    assert overlap(a, a) == 1


@given(boxes, boxes)
def test_relations_and_their_converses_agree(a, b):
    for relation, converse in CONVERSE.items():
        assert holds(relation, a, b) == holds(converse, b, a)
    assert not (holds("left of", a, b) and holds("right of", a, b))
    assert not (holds("behind", a, b) and holds("in front of", a, b))


def test_relations_mean_what_the_words_say():
    left, right, far = (2, 14, 10, 16), (16, 14, 10, 16), (26, 14, 6, 16)
    assert holds("left of", left, right)
    assert holds("next to", left, right)
    assert not holds("next to", left, far)
    assert holds("above", (4, 2, 8, 8), (4, 12, 10, 16))
    assert not holds("above", (4, 2, 8, 8), (20, 12, 10, 16))
    assert holds("behind", (6, 8, 10, 16), (10, 14, 10, 16))


def test_an_unknown_relation_is_refused():
    with pytest.raises(ValueError, match="relation"):
        holds("inside", (0, 0, 8, 8), (0, 0, 8, 8))


@given(boxes)
def test_inside_gives_a_box_in_the_frame_and_changes_no_good_one(box):
    left, top, width, height = moved = inside(box)
    assert left >= 0
    assert top >= 0
    assert left + width <= GRID
    assert top + height <= GRID
    assert inside(moved) == moved


@settings(max_examples=60, derandomize=True)
@given(st.lists(sizes, min_size=1, max_size=MAX_ITEMS))
def test_items_without_relations_always_find_room(item_sizes):
    arranged = arrange(item_sizes, [])
    assert arranged is not None
    assert all(inside(box) == box for box in arranged)
    assert all(overlap(a, b) == 0 for a, b in itertools.combinations(arranged, 2))


@settings(max_examples=60, derandomize=True)
@given(st.lists(sizes, min_size=2, max_size=3), st.sampled_from(RELATIONS), st.data())
def test_one_relation_always_finds_room(item_sizes, relation, data):
    subject, other = data.draw(st.permutations(range(len(item_sizes))))[:2]
    constraints = [Constraint(subject, relation, other)]
    arranged = arrange(item_sizes, constraints)
    assert arranged is not None
    assert faults(arranged, constraints) == ([], [])
    assert all(inside(box) == box for box in arranged)


@pytest.mark.parametrize(
    "constraints",
    [
        # Three on top of each other; a balloon above somebody in front of a tree; three in depth.
        [Constraint(0, "above", 1), Constraint(1, "above", 2)],
        [Constraint(1, "in front of", 0), Constraint(2, "above", 1)],
        [Constraint(1, "in front of", 0), Constraint(1, "behind", 2)],
    ],
)
def test_three_in_one_column_find_room(constraints):
    arranged = arrange([(12, 12), (10, 10), (8, 8)], constraints)
    assert arranged is not None
    assert faults(arranged, constraints) == ([], [])
    assert all(inside(box) == box for box in arranged)
    # The same boxes every time.
    assert arrange([(12, 12), (10, 10), (8, 8)], constraints) == arranged


def test_left_and_right_stand_in_one_of_two_rows():
    for subject, other in itertools.permutations(range(4), 2):
        boxes = arrange([(10, 10)] * 4, [Constraint(subject, "left of", other)], rows=2)
        assert boxes is not None
        assert boxes[subject][1] + boxes[subject][3] == boxes[other][1] + boxes[other][3]
        assert len({box[1] + box[3] for box in boxes}) == 2


def test_contradicting_relations_find_none():
    assert arrange([(10, 10), (10, 10)], [Constraint(0, "left of", 1), Constraint(1, "left of", 0)]) is None


NAMES = ("Ann", "Bo", "cat", "Dot")
names = st.sampled_from(NAMES)
relations = st.builds(Relation, subject=names, relation=st.sampled_from(RELATIONS), object=names)
items = st.builds(Placed, entity=names, action=st.just("standing"), box=boxes)
shots = st.builds(
    Shot,
    sentence=st.just("She sits"),
    background=st.just("snow"),
    relations=st.lists(relations, max_size=4).map(tuple),
    items=st.lists(items, min_size=1, max_size=MAX_ITEMS).map(tuple),
)
beings = st.lists(
    st.builds(Being, name=st.sampled_from(NAMES[:3]), card=st.just("a cat")), min_size=1, max_size=MAX_ITEMS
)
scenes = st.builds(Scene, entities=beings.map(tuple), frames=st.lists(shots, min_size=1, max_size=4).map(tuple))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(scenes)
def test_repair_leaves_no_fault_and_is_idempotent(scene):
    fixed, repairs = repair(scene)
    declared = [being.name for being in fixed.entities]
    assert len(set(declared)) == len(declared)
    for shot in fixed.frames:
        present = [item.entity for item in shot.items]
        assert present
        assert len(set(present)) == len(present)
        assert set(present) <= set(declared)
        constraints = [
            Constraint(present.index(r.subject), r.relation, present.index(r.object)) for r in shot.relations
        ]
        placed = [item.box for item in shot.items]
        assert all(inside(box) == box for box in placed)
        assert all(holds(c.relation, placed[c.subject], placed[c.object]) for c in constraints)
        for i, j in itertools.combinations(range(len(placed)), 2):
            assert overlap(placed[i], placed[j]) <= overlap_allowed(i, j, constraints)
    room = any(len(shot.items) < MAX_ITEMS for shot in fixed.frames)
    assert not room or set(declared) == {item.entity for shot in fixed.frames for item in shot.items}
    assert (fixed == scene) == (repairs == ())
    assert repair(fixed) == (fixed, ())


def test_every_repair_is_told():
    ann = Placed(entity="Ann", action="standing", box=(18, 12, 10, 16))
    bo = Placed(entity="Bo", action="standing", box=(2, 12, 10, 16))
    scene = Scene(
        entities=(
            Being(name="Ann", card="a cat"),
            Being(name="Bo", card="a dog"),
            Being(name="Bo", card="a red dog"),
            Being(name="Dot", card="a ball"),
        ),
        frames=(
            Shot(
                sentence="She sits",
                background="snow",
                relations=(Relation(subject="Ann", relation="left of", object="Bo"),),
                items=(ann, bo),
            ),
            Shot(
                sentence="She sits",
                background="snow",
                relations=(Relation(subject="Ann", relation="behind", object="Bo"),),
                items=(bo, bo),
            ),
            Shot(
                sentence="She sits",
                background="snow",
                relations=(),
                items=(bo.model_copy(update={"box": (30, 12, 10, 16)}),),
            ),
            Shot(
                sentence="She sits",
                background="snow",
                relations=(),
                items=(bo.model_copy(update={"box": (2, 12, 2, 2)}), ann.model_copy(update={"box": (4, 14, 8, 8)})),
            ),
        ),
    )
    reading = Reading(("#1 left of #2", "she", "#2 behind", "the #3"), ("Ann", "Bo", "Dot"), (), ())
    assert repair(scene, reading=reading).repairs == (
        '"Bo" was declared twice; kept the looks "a dog"',
        'frame 2: "Bo" stood there twice; kept the first',
        'frame 2: dropped "Ann" behind "Bo", since both must be in the frame',
        'frame 4: added "Dot", whom no frame showed',
        'frame 1: moved "Ann" left of "Bo"',
        'frame 3: moved "Bo" into the frame',
        'frame 4: resized "Bo" to 6 x 8 cells',
        'frame 4: separated "Bo" and "Ann"',
        'frame 4: separated "Ann" and "Dot"',
    )

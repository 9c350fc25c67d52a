"""Framing: nothing shrinks, order and relations stay, large frames are left alone; staging gives a world's sides."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raccord.planner.framing import SHOT_SIZES, arrangements, framed, natural_size, staged
from raccord.planner.geometry import Constraint, faults, overlap
from raccord.planner.repair import repair
from raccord.planner.scene import GRID, Being, Placed, Relation, Scene, Shot
from raccord.planner.world import read_world

WORLD = read_world(Path(__file__).resolve().parents[2] / "models" / "planner" / "world.json")
NAMES = ("Ann", "Bo", "Cy", "Di")
WORDS = ("left of", "right of", "next to", "behind", "above")


@st.composite
def scenes(draw):
    count = draw(st.integers(1, len(NAMES)))
    boxes = [
        (draw(st.integers(0, 26)), draw(st.integers(0, 24)), draw(st.integers(6, 20)), draw(st.integers(8, 20)))
        for _ in range(count)
    ]
    relations = ()
    if count > 1 and draw(st.booleans()):
        relations = (Relation(subject=NAMES[0], relation=draw(st.sampled_from(WORDS)), object=NAMES[1]),)
    items = [Placed(entity=n, action="standing", box=b) for n, b in zip(NAMES, boxes, strict=False)]
    beings = [Being(name=name, card="a cat") for name in NAMES[:count]]
    shot = Shot(sentence="ann and bo", background="a meadow", relations=relations, items=items)
    return repair(Scene(entities=beings, frames=(shot,))).scene


@given(scenes())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_nothing_shrinks_and_what_held_still_holds(scene):
    result = framed(scene)
    before, after = scene.frames[0], result.scene.frames[0]
    assert (before != after) == bool(result.repairs)
    boxes = {item.entity: item.box for item in after.items}
    for item in before.items:
        left, top, width, height = boxes[item.entity]
        assert width >= item.box[2]
        assert height >= item.box[3]
        assert left >= 0
        assert top >= 0
        assert left + width <= GRID
        assert top + height <= GRID
    position = {item.entity: index for index, item in enumerate(after.items)}
    constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in after.relations]
    assert faults([item.box for item in after.items], constraints) == ([], [])


def test_two_small_ones_fill_the_frame_in_their_order():
    items = [
        Placed(entity="Bo", action="standing", box=(20, 20, 8, 11)),
        Placed(entity="Ann", action="standing", box=(2, 20, 8, 11)),
    ]
    shot = Shot(sentence="ann and bo", background="a meadow", relations=(), items=items)
    scene = Scene(entities=[Being(name=name, card="a cat") for name in NAMES[:2]], frames=(shot,))
    bo, ann = framed(scene).scene.frames[0].items
    assert ann.box[0] + ann.box[2] <= bo.box[0]
    assert max(ann.box[2:]) >= 13
    assert max(bo.box[2:]) >= 13


def test_large_ones_are_left_alone():
    items = [Placed(entity="Ann", action="standing", box=(4, 10, 14, 18))]
    shot = Shot(sentence="ann and bo", background="a meadow", relations=(), items=items)
    scene = Scene(entities=[Being(name="Ann", card="a cat")], frames=(shot,))
    assert framed(scene).scene == scene
    assert framed(scene).repairs == ()


def _shot(*placed, relations=()):
    items = [Placed(entity=name, action=action, box=box) for name, action, box in placed]
    return Shot(sentence="ann and bo", background="meadow", relations=relations, items=items)


CARDS = {
    "Ann": "a red cat with a hat",
    "Bo": "a small owl",
    "Cy": "a large striped white dragon",
    "Di": "a yellow kite",
}


@given(scenes())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_staging_keeps_relations_and_gives_the_worlds_proportions(scene):
    beings = tuple(being.model_copy(update={"card": CARDS[being.name]}) for being in scene.entities)
    scene = scene.model_copy(update={"entities": beings})
    before, after = scene.frames[0], staged(scene, WORLD).frames[0]
    boxes = [item.box for item in after.items]
    position = {item.entity: index for index, item in enumerate(after.items)}
    constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in after.relations]
    assert faults(boxes, constraints) == ([], [])
    assert all(
        0 <= left <= left + width <= GRID and 0 <= top <= top + height <= GRID for left, top, width, height in boxes
    )
    if not constraints:
        middles = {item.entity: item.box[0] + item.box[2] / 2 for item in before.items}
        order = sorted(after.items, key=lambda item: item.box[0] + item.box[2] / 2)
        # A tie leaves the order open.
        assert all(middles[a.entity] <= middles[b.entity] for a, b in itertools.pairwise(order))
        for item in after.items:
            width, height = natural_size(CARDS[item.entity], item.action, len(after.items), WORLD)
            # Everything shrinks together, sides are whole cells and no smaller than 6 x 8.
            if item.box[2] > 6 and item.box[3] > 8:
                assert item.box[2] / item.box[3] == pytest.approx(width / height, rel=0.25)


def test_sizes_said_are_sizes_drawn():
    small, plain, large = (natural_size(f"a {size}owl", "standing", 1, WORLD) for size in ("small ", "", "large "))
    assert small[1] < plain[1] < large[1]
    assert natural_size("a cat", "sleeping", 1, WORLD) != natural_size("a cat", "sitting", 1, WORLD)


def test_what_floats_hangs_above_those_on_the_ground():
    shot = _shot(("Ann", "standing", (2, 14, 10, 16)), ("Di", "standing there", (18, 14, 10, 16)))
    beings = tuple(Being(name=name, card=CARDS[name]) for name in ("Ann", "Di"))
    ann, kite = (item.box for item in staged(Scene(entities=beings, frames=(shot,)), WORLD).frames[0].items)
    assert kite[1] + kite[3] < ann[1] + ann[3]
    assert overlap(ann, kite) == 0


@given(scenes())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_arrangement_is_without_fault_and_a_scene_in_one_of_them_stays_in_it(scene):
    beings = tuple(being.model_copy(update={"card": CARDS[being.name]}) for being in scene.entities)
    scene = scene.model_copy(update={"entities": beings})
    (shot,) = scene.frames
    position = {item.entity: index for index, item in enumerate(shot.items)}
    constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in shot.relations]
    found = arrangements(shot, CARDS, WORLD)
    assert {one.size for one in found} <= SHOT_SIZES.keys()
    assert any(one.rows == 2 for one in found) == (len(shot.items) == 4)
    for one in found:
        assert faults(one.boxes, constraints) == ([], [])
        items = tuple(item.model_copy(update={"box": box}) for item, box in zip(shot.items, one.boxes, strict=True))
        written = scene.model_copy(update={"frames": (shot.model_copy(update={"items": items}),)})
        assert tuple(item.box for item in staged(scene, WORLD, written=written).frames[0].items) == one.boxes


def test_the_models_boxes_say_how_close_the_camera_is():
    areas = []
    for box in ((12, 18, 13, 11), (10, 17, 17, 13), (6, 8, 22, 18)):
        scene = Scene(entities=[Being(name="Ann", card=CARDS["Ann"])], frames=(_shot(("Ann", "standing", box)),))
        _, _, width, height = staged(scene, WORLD).frames[0].items[0].box
        areas.append(width * height)
    assert areas == sorted(set(areas))

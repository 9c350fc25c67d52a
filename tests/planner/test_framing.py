"""Framing: nothing shrinks, order and relations stay, large frames are left alone."""

from hypothesis import given, settings
from hypothesis import strategies as st

from raccord.planner.framing import framed
from raccord.planner.geometry import Constraint, faults
from raccord.planner.repair import repair
from raccord.planner.scene import GRID, Being, Placed, Relation, Scene, Shot

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

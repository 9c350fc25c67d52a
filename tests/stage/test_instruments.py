"""Prompts held against readings."""

import pytest
from stage.draws import Draws
from stage.instruments.prompts import answer, named_attributes, success_rates
from stage.instruments.reading import Reading, code_of
from stage.world.captions import caption
from stage.world.scene import Item, sample_scene

FOX = Item("fox", "red", "white", "striped", "bow tie", "small", (0.1, 0.5, 0.4, 0.9), 0, "left", "sitting")
TREE = Item("tree", "green", None, "plain", "none", "large", (0.1, 0.1, 0.6, 0.8), 0, "left", "standing")


def read(item: Item, **changes) -> Reading:
    fields = {name: getattr(item, name) for name in Reading._fields if name not in ("score", "sharpness")}
    return Reading(**(fields | {"score": 0.9, "sharpness": 2.0} | changes))


@pytest.mark.parametrize(
    ("text", "item", "names"),
    [
        ("a fox", FOX, ("kind",)),
        ("a red fox", FOX, ("kind", "colour")),
        ("a little striped fox", FOX, ("kind", "pattern", "size")),
        ("a red fox with white stripes and a bow tie", FOX, ("kind", "colour", "second", "pattern", "accessory")),
        ("a fox, resting and looking left", FOX, ("kind", "pose", "facing")),
        # A thing does nothing that could be seen, and "largely" is no size.
        ("a green tree standing there", TREE, ("kind", "colour")),
        ("a plain big tree", TREE, ("kind", "pattern", "size")),
        ("a largely greenish tree", TREE, ("kind",)),
    ],
)
def test_named_attributes(text, item, names):
    assert named_attributes(text, item) == names


def test_captions_are_answered_by_their_own_truth_and_by_no_other():
    checked = 0
    for number in range(120):
        scene = sample_scene(21, number)
        if len(scene.items) != 1:
            continue
        (item,) = scene.items
        text = caption(scene, Draws(21, "caption", number))
        names = named_attributes(text, item)
        assert answer([read(item)], text, item).success
        for name in names[1:]:
            assert not answer([read(item, **{name: "another"})], text, item).success
            checked += 1
        assert answer([read(item, kind="another")], text, item).right["kind"] is False
    assert checked > 100


def test_the_best_reading_of_the_kind_counts():
    wrong, right = read(FOX, kind="cat", score=0.99), read(FOX, score=0.5)
    found = answer([wrong, right, read(FOX, colour="blue", score=0.4)], "a red fox", FOX)
    assert found.reading == right
    assert found.success
    assert found.surplus == 2
    assert answer([], "a red fox", FOX) == ({"kind": False, "colour": False}, None, 0)


def test_rates_count_prompts_that_name_the_attribute():
    answers = [answer([read(FOX, colour="blue")], text, FOX) for text in ("a fox", "a red fox", "a fox, resting")]
    assert success_rates(answers) == pytest.approx({"all": 2 / 3, "kind": 1.0, "colour": 0.0, "pose": 1.0})


def test_codes_of_readings_and_truths_agree():
    assert code_of(FOX) == read(FOX).code == ("fox", "red", "white", "striped", "bow tie", "small")

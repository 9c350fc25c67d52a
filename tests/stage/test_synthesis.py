"""Analysis by synthesis finds what was drawn, and believes the namer where a picture says nothing."""

import math

import numpy as np
import pytest
from stage.instruments import degrade, synthesis
from stage.instruments.metrics.matching import iou
from stage.instruments.networks import HEADS
from stage.world.scene import render, sample_scene
from stage.world.vocabulary import CREATURES

LOOKS = ("kind", "colour", "second", "pattern", "accessory", "pose", "facing")


def flat(**likelier):
    """Beliefs that know nothing, but that these values are three times as likely as others."""
    beliefs = {}
    for name, values in HEADS.items():
        weights = [3.0 if name in likelier and value == likelier[name] else 1.0 for value in values]
        beliefs[name] = {v: math.log(w / sum(weights)) for v, w in zip(values, weights, strict=True)}
    return beliefs


def alone(seed, count, *, creature):
    """Scenes of one item."""
    scenes = (sample_scene(seed, number) for number in range(10_000))
    found = (s for s in scenes if len(s.items) == 1 and (s.items[0].kind in CREATURES) is creature)
    return [next(found) for _ in range(count)]


@pytest.mark.parametrize("creature", [True, False])
def test_a_wrong_reading_is_put_right(creature):
    for number, scene in enumerate(alone(61, 3, creature=creature)):
        (item,) = scene.items
        truth = {name: getattr(item, name) for name in LOOKS}
        wrong = truth | {"accessory": "none"}
        if item.pattern != "plain":
            wrong["pattern"] = "spotted" if item.pattern == "checked" else "checked"
        # every side off by up to a twenty-fifth of the box
        size = np.tile(np.subtract(item.box[2:], item.box[:2]), 2)
        start = item.box + size * np.random.default_rng(number).uniform(-0.04, 0.04, 4)
        fit = synthesis.fitted(render(scene), tuple(start), wrong, flat(pose=item.pose, kind=item.kind))
        kept = [name for name in LOOKS if not (name == "facing" and item.kind == "lamp")]
        assert {name: fit.looks[name] for name in kept} == {name: truth[name] for name in kept}
        assert iou(fit.box, item.box) > 0.9


def test_a_right_reading_stays_and_is_the_same_twice():
    (scene,) = alone(62, 1, creature=True)
    (item,) = scene.items
    truth = {name: getattr(item, name) for name in LOOKS}
    picture = render(scene)
    before = picture.copy()
    fit = synthesis.fitted(picture, item.box, truth, flat())
    assert fit.looks == truth
    assert iou(fit.box, item.box) > 0.98
    assert synthesis.fitted(picture, item.box, truth, flat()) == fit
    assert (picture == before).all()


def test_where_nothing_can_be_seen_the_namer_is_believed():
    (scene,) = alone(63, 1, creature=True)
    (item,) = scene.items
    smear = degrade.blurred(render(scene), 12.0)
    # certain of everything but the accessory, for which the smear has no evidence
    for accessory in ("none", "scarf", "glasses"):
        looks = {name: getattr(item, name) for name in LOOKS} | {"accessory": accessory}
        beliefs = {
            name: {value: math.log(0.98 if value == looks[name] else 0.02 / len(values)) for value in values}
            for name, values in HEADS.items()
        }
        assert synthesis.fitted(smear, item.box, looks, beliefs).looks["accessory"] == accessory


@pytest.mark.parametrize("facing", ["left", "right"])
def test_a_box_is_carried_with_its_drawing_and_back(facing):
    box = np.array([10.0, 20.0, 50.0, 70.0])
    plain = {"kind": "cat", "pose": "standing", "accessory": "none", "facing": facing}
    crowned = plain | {"accessory": "crown"}
    carried = synthesis._carried(box, plain, crowned)
    assert carried[1] < box[1]
    assert carried[3] == pytest.approx(box[3])
    assert synthesis._carried(carried, crowned, plain) == pytest.approx(box)


@pytest.mark.parametrize(
    "box", [(-0.1, -0.1, 0.2, 0.2), (0.7, 0.8, 1.1, 1.1), (-0.1, -0.1, 1.1, 1.1), (0.5, 0.5, 0.5, 0.5)]
)
def test_any_box_can_be_fitted(box):
    picture = render(sample_scene(3, 3))
    looks = {"kind": "cat", "colour": "red", "second": None, "pattern": "plain"}
    looks |= {"accessory": "none", "pose": "standing", "facing": "left"}
    fit = synthesis.fitted(picture, box, looks, flat())
    assert np.isfinite(fit.box).all()
    assert fit.box[0] <= fit.box[2]
    assert fit.box[1] <= fit.box[3]

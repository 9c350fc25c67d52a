"""Every metric on constructed cases with answers that follow from its definition."""

import itertools
import math

import numpy as np
import pytest
from stage.draws import Draws
from stage.instruments.metrics.binding import attribute_accuracy, attribute_leaks
from stage.instruments.metrics.copying import copy_score, likeness
from stage.instruments.metrics.counts import count_scores, occm
from stage.instruments.metrics.identity import identity_agreement, pose_diversity
from stage.instruments.metrics.layout import (
    Placement,
    accuracy_area,
    accuracy_at,
    mean_iou,
    placements,
    success_rate,
)
from stage.instruments.metrics.locality import edit_locality, identities_changed
from stage.instruments.metrics.matching import assign, iou, match, shown
from stage.instruments.metrics.paraphrase import paraphrase_variance
from stage.instruments.metrics.sharpness import relative_sharpness, sharpness
from stage.instruments.reading import Reading
from stage.world.scene import Item
from stage.world.vocabulary import COLOURS

LEFT, RIGHT = (0.0, 0.5, 0.4, 1.0), (0.6, 0.5, 1.0, 1.0)


def truth(kind="fox", colour="red", box=LEFT, **changes) -> Item:
    looks = {"second": None, "pattern": "plain", "accessory": "none", "size": "medium"}
    free = {"z": 0, "facing": "left", "pose": "standing"}
    return Item(**(looks | free | {"kind": kind, "colour": colour, "box": box} | changes))


def read(item: Item, **changes) -> Reading:
    fields = {name: getattr(item, name) for name in Reading._fields if name not in ("score", "sharpness")}
    return Reading(**(fields | {"score": 1.0, "sharpness": 2.0} | changes))


# Matching.


def test_iou_of_known_boxes():
    assert iou((0, 0, 1, 1), (0, 0, 1, 1)) == 1
    assert iou((0, 0, 1, 1), (0.5, 0, 1.5, 1)) == pytest.approx(1 / 3)
    assert iou((0, 0, 0.5, 1), (0.5, 0, 1, 1)) == 0
    assert iou((0.2, 0.2, 0.2, 0.2), (0.2, 0.2, 0.2, 0.2)) == 0


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (3, 2), (4, 4), (5, 3), (2, 6), (0, 3), (3, 0)])
def test_assignment_equals_the_best_of_all_assignments(rows, columns):
    for number in range(10):
        draws = Draws(5, "assignment", rows, columns, number)
        worth = np.array([[draws.uniform() for _ in range(columns)] for _ in range(rows)]).reshape(rows, columns)
        allowed = np.array([[draws.chance(0.7) for _ in range(columns)] for _ in range(rows)], bool)
        allowed = allowed.reshape(rows, columns)
        pairs = assign(worth, allowed)
        assert all(allowed[pair] for pair in pairs)
        assert len({r for r, _ in pairs}) == len({c for _, c in pairs}) == len(pairs)
        best = 0.0
        for count in range(min(rows, columns) + 1):
            for chosen in itertools.combinations(range(rows), count):
                for targets in itertools.permutations(range(columns), count):
                    if all(allowed[pair] for pair in zip(chosen, targets, strict=True)):
                        best = max(best, sum(worth[pair] for pair in zip(chosen, targets, strict=True)))
        assert sum(worth[pair] for pair in pairs) == pytest.approx(best)


def test_matching_prefers_the_greatest_total_over_the_greatest_pair():
    items = [truth(box=(0.0, 0.0, 0.5, 1.0)), truth(box=(0.3, 0.0, 0.8, 1.0))]
    # The first reading is nearest to item 1 but item 0 has no other.
    readings = [read(items[0], box=(0.2, 0.0, 0.7, 1.0)), read(items[0], box=(0.42, 0.0, 0.92, 1.0))]
    assert [(pair.item, pair.reading) for pair in match(readings, items, least=0.3)] == [(0, 0), (1, 1)]
    assert [(pair.item, pair.reading) for pair in match(readings, items, least=0.6)] == [(1, 0)]
    assert match([], items) == ()


def test_matching_can_keep_to_kinds():
    items = [truth("fox"), truth("owl", box=RIGHT)]
    readings = [read(items[1], box=LEFT), read(items[0], box=RIGHT)]
    assert {(p.item, p.reading) for p in match(readings, items)} == {(0, 0), (1, 1)}
    assert match(readings, items, same_kind=True) == ()
    assert {(p.item, p.reading) for p in match(readings, items, same_kind=True, least=0)} == {(0, 1), (1, 0)}
    assert shown(readings, items) == tuple(readings)
    assert shown(readings[:1], items) == (readings[0], None)


def test_too_many_on_both_sides_are_refused():
    with pytest.raises(ValueError, match="at most 16"):
        assign(np.ones((17, 17)), np.ones((17, 17), bool))


# Layout.


def picture(*painted: tuple[str, tuple[float, float, float, float]]) -> np.ndarray:
    canvas = np.full((20, 20, 3), (190, 205, 200), np.uint8)
    for colour, box in painted:
        x0, y0, x1, y1 = (round(20 * value) for value in box)
        canvas[y0:y1, x0:x1] = COLOURS[colour]
    return canvas


def test_success_needs_kind_place_and_colour():
    items = [truth("fox", "red"), truth("owl", "blue", RIGHT)]
    right = [read(item) for item in items]
    shown_ = picture(("red", LEFT), ("blue", RIGHT))
    assert success_rate(placements(shown_, right, items)) == 1
    assert mean_iou(placements(shown_, right, items)) == pytest.approx(1)
    wrong_kind = [right[0]._replace(kind="cat"), right[1]]
    assert [p.success for p in placements(shown_, wrong_kind, items)] == [False, True]
    assert placements(shown_, wrong_kind, items)[0].iou is None
    # 0.4 of 0.5 high: IoU 0.8 succeeds; 0.2 of 0.5: IoU 0.4 does not, and its IoU counts as 0.
    lower = [right[0]._replace(box=(0.0, 0.6, 0.4, 1.0)), right[1]._replace(box=(0.6, 0.8, 1.0, 1.0))]
    found = placements(shown_, lower, items)
    assert [p.iou for p in found] == pytest.approx([0.8, 0.4])
    assert [p.success for p in found] == [True, False]
    assert mean_iou(found) == pytest.approx(0.4)


def test_success_needs_a_fifth_of_the_box_in_the_colour():
    item = truth("ball", "red")
    # The box is 8 by 10 pixels: one column is 1/8, two are 2/8 of it.
    for columns, success in ((1, False), (2, True), (8, True)):
        shown_ = picture(("blue", LEFT), ("red", (0.0, 0.5, columns / 20, 1.0)))
        (found,) = placements(shown_, [read(item)], [item])
        assert found.colour_share == pytest.approx(columns / 8)
        assert found.success is success
    assert not placements(picture(("green", LEFT)), [read(item)], [item])[0].success


def test_accuracy_at_k_and_its_area():
    found = [Placement(1.0, 1.0), Placement(0.55, 0.0), Placement(None, 0.0), Placement(0.0, 0.0)]
    assert accuracy_at(found, 0.0) == 0.75
    assert accuracy_at(found, 0.5) == 0.5
    assert accuracy_at(found, 0.6) == 0.25
    # 0.75 at 0, 0.5 at 0.1 to 0.5, 0.25 at 0.6 to 1.
    by_hand = 0.1 * ((0.75 + 0.5) / 2 + 4 * 0.5 + (0.5 + 0.25) / 2 + 4 * 0.25)
    assert accuracy_area(found) == pytest.approx(by_hand)
    assert accuracy_area([Placement(1.0, 1.0)]) == pytest.approx(1)
    assert accuracy_area([Placement(None, 0.0)]) == 0


# Counts.


def test_counts():
    items = [truth("fox"), truth("fox", box=RIGHT), truth("owl")]
    readings = [read(items[0]), read(items[2]), read(truth("cat")), read(truth("owl"))]
    # Right: one fox, one owl; found 4, wanted 3.
    scores = count_scores([(readings, items)])
    assert scores == pytest.approx((0.5, 2 / 3, 2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3)))
    # Sums over pictures, not means of pictures.
    assert count_scores([(readings, items), ([], [])]) == scores
    assert count_scores([([], [])]) == (1, 1, 1)
    assert count_scores([([], items)]) == (1, 0, 0)
    assert count_scores([(readings, [])]) == (0, 1, 0)


def test_occm():
    assert occm(3, 3) == 100
    assert occm(0, 0) == 100
    assert occm(1, 2) == pytest.approx(100 * math.exp(-0.5), rel=1e-5)
    assert occm(3, 2) == occm(1, 2)
    assert occm(1, 0) == pytest.approx(0, abs=1e-9)


# Binding.


def test_attribute_accuracy_counts_found_entities_only():
    item = truth("fox", "red", accessory="hat")
    found = attribute_accuracy([(read(item), item), (read(item, colour="blue"), item), (None, item)])
    assert found["colour"] == 0.5
    assert found["kind"] == found["accessory"] == found["pose"] == 1
    assert all(math.isnan(value) for value in attribute_accuracy([(None, item)]).values())


def test_leaks_name_giver_and_taker():
    items = [truth("fox", "red"), truth("owl", "blue", RIGHT)]
    clean = ([read(item) for item in items], items)
    leaked = ([read(items[0], colour="blue"), read(items[1])], items)
    other = ([read(items[0], colour="pink"), None], items)
    leaks = attribute_leaks([clean, leaked, leaked, other], "colour", entities=2)
    assert leaks.trials.tolist() == [[4, 4], [3, 3]]
    assert leaks.rate == pytest.approx(np.array([[0.25, 0.5], [0.0, 1.0]]))
    assert leaks.leak == pytest.approx(2 / 7)
    # Entities of one colour cannot leak it.
    same = [truth("fox", "red"), truth("owl", "red", RIGHT)]
    alike = attribute_leaks([([read(item) for item in same], same)], "colour", entities=2)
    assert alike.trials.tolist() == [[1, 0], [0, 1]]
    assert math.isnan(alike.leak)
    assert math.isnan(alike.rate[0, 1])


# Identity.


def test_agreement_over_pairs_of_frames():
    fox = read(truth("fox", "red", accessory="hat"))
    moved = fox._replace(box=RIGHT, pose="running", facing="right", score=0.4, sharpness=1.0)
    bare = fox._replace(accessory="none")
    assert identity_agreement([[fox, moved]]).exact == 1
    agreement = identity_agreement([[fox, moved, bare]])
    assert agreement.pairs == 3
    assert agreement.exact == agreement.attributes["accessory"] == pytest.approx(1 / 3)
    assert agreement.attributes["colour"] == 1
    # Two pairs with a missing frame disagree, or are left out.
    assert identity_agreement([[fox, moved, None]]).exact == pytest.approx(1 / 3)
    assert identity_agreement([[fox, moved, None]], found_only=True).exact == 1
    assert identity_agreement([[None, None]]).exact == 0
    assert math.isnan(identity_agreement([[fox]]).exact)


def test_pose_diversity():
    fox = read(truth())
    assert pose_diversity([[fox, fox, fox]]) == 0
    assert pose_diversity([[fox, fox._replace(pose="sitting"), fox._replace(facing="right")]]) == 1
    assert pose_diversity([[fox, fox._replace(pose="sitting"), fox], [fox, None]]) == pytest.approx(2 / 3)
    assert math.isnan(pose_diversity([[fox, None]]))


def noise(number: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(number)).integers(0, 256, (24, 24, 3)).astype(np.uint8)


def test_copies_and_their_score():
    one, other = noise(1), noise(2)
    assert likeness(one, one) == pytest.approx(1)
    # Zero-mean and normalised: half the contrast is the same picture, up to rounding.
    assert likeness(one, one // 2 + 60) == pytest.approx(1, abs=1e-3)
    assert likeness(one, 255 - one) == pytest.approx(-1)
    # 1,728 independent values: the correlation has a standard deviation of 1 / sqrt(1728) = 0.024.
    assert abs(likeness(one, other)) < 0.12
    assert likeness(one, np.zeros_like(one)) == 0
    with pytest.raises(ValueError, match="resize"):
        likeness(one, one[:12])
    poses = [("standing", "left"), ("sitting", "left"), ("standing", "left")]
    assert copy_score([one, one, other], poses) == pytest.approx(0.5, abs=0.07)
    assert math.isnan(copy_score([one, one], [poses[0], poses[2]]))


# Pixels.


def edge(sigma: float, *, low: int = 40, high: int = 220) -> np.ndarray:
    """An upright edge in the middle of a 128-pixel picture, blurred with this sigma."""
    x = np.arange(128) + 0.5 - 64
    profile = np.array([0.5 * (1 + math.erf(value / (sigma * math.sqrt(2)))) for value in x])
    return np.repeat(np.rint(low + (high - low) * profile).astype(np.uint8)[None, :, None], 128, 0).repeat(3, 2)


BOX = (0.25, 0.25, 0.75, 0.75)


def test_sharpness_follows_its_law_and_ignores_contrast():
    for sigma in (1.5, 2.0, 4.0):
        # The steepest 2 % of a box 64 pixels wide lie in the two middle columns: the law of the peak holds nearly.
        assert sharpness(edge(sigma), BOX) == pytest.approx(math.hypot(sigma, 2) / sigma, rel=0.06)
    assert sharpness(edge(1.5), BOX) == pytest.approx(sharpness(edge(1.5, low=100, high=160), BOX), rel=0.03)
    values = [sharpness(edge(sigma), BOX) for sigma in (0.4, 0.8, 1.5, 3.0, 6.0)]
    assert values == sorted(values, reverse=True)
    assert sharpness(np.full((64, 64, 3), 90, np.uint8), (0.1, 0.1, 0.9, 0.9)) == 1
    # What lies outside the box plays no part beyond the reach of the blur.
    changed = edge(2.0)
    changed[:, :20] = noise(3).repeat(6, 0)[:128, :20]
    assert sharpness(changed, BOX) == sharpness(edge(2.0), BOX)
    assert sharpness(edge(2.0), (-0.2, 0.5, 1.3, 0.5)) >= 1


def test_relative_sharpness():
    assert relative_sharpness([3.0, 2.0], [3.0, 2.0]) == 1
    assert relative_sharpness([2.0, 1.0], [3.0, 2.0]) == pytest.approx(0.25)


def test_locality_separates_inside_from_outside():
    before = np.full((10, 10, 3), 100, np.uint8)
    after = before.copy()
    after[:5, :5] = 151
    after[9, 9] = 49
    found = edit_locality(before, after, [(0.0, 0.0, 0.5, 0.5)])
    assert found.inside == pytest.approx(51 / 255)
    assert found.outside == pytest.approx(51 / 255 / 75)
    union = edit_locality(before, after, [(0.0, 0.0, 0.5, 0.5), (0.9, 0.9, 1.0, 1.0)])
    assert union.outside == 0
    assert math.isnan(edit_locality(before, after, []).inside)
    assert math.isnan(edit_locality(before, after, [(0, 0, 1, 1)]).outside)


def test_identities_that_an_edit_changed():
    fox, owl = read(truth("fox")), read(truth("owl", box=RIGHT))
    assert identities_changed([fox, owl], [fox._replace(pose="sitting", box=RIGHT), owl]) == 0
    assert identities_changed([fox, owl], [fox._replace(colour="blue"), None]) == 1
    assert identities_changed([fox, None], [fox, owl]) == 0
    assert math.isnan(identities_changed([None], [fox]))


def test_paraphrase_variance():
    found = paraphrase_variance([[True, True, False, False], [True, True, True, True]])
    # Of the six pairs of the first group four differ; unbiased variance of 1, 1, 0, 0 is 1/3.
    assert found.variance == pytest.approx((1 / 3 + 0) / 2)
    assert found.flips == pytest.approx((4 / 6 + 0) / 2)
    assert found.variance == pytest.approx(found.flips / 2)
    assert found.mean == pytest.approx(0.75)
    assert found.spread == pytest.approx(0.5)
    # Prompts of different success are no sensitivity to wording.
    assert paraphrase_variance([[1.0, 1.0], [0.0, 0.0]]).variance == 0
    with pytest.raises(ValueError, match=r"groups \[1\]"):
        paraphrase_variance([[1.0, 0.0], [1.0]])

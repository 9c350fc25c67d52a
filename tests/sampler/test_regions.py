"""Laws of the region maps."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.regions import LEAST_CELLS, latent_box, region_maps


def frame_of(*boxes, z=None):
    z = z or [0] * len(boxes)
    names = [f"e{i:02d}" for i in range(len(boxes))]
    items = [Item(entity=n, box=box, z=depth) for n, box, depth in zip(names, boxes, z, strict=True)]
    frame = Frame(id="f", prompt="a picture", items=items)
    return Plan(entities=[Entity(id=n, card="a cat") for n in names], frames=[frame]).frames[0]


@st.composite
def boxes(draw):
    x0, y0 = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return [x0, y0, draw(st.floats(x0 + 0.05, 1.0)), draw(st.floats(y0 + 0.05, 1.0))]


@given(
    found=st.lists(boxes(), max_size=4),
    height=st.integers(4, 24),
    width=st.integers(4, 24),
    feather=st.sampled_from([0.0, 0.02, 0.1]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_shares_sum_to_one_and_every_item_has_its_cells(found, height, width, feather):
    maps = region_maps(frame_of(*found, z=list(range(len(found)))), height, width, feather=feather)
    assert maps.owner.dtype == np.uint8
    assert maps.owner.shape == (height * width,)
    assert (maps.share >= 0).all()
    assert (maps.share.sum(0) == 1.0).all()
    for index in range(len(found)):
        if index not in maps.hidden:
            assert (maps.owner == index + 1).sum() >= 1


def test_plain_area_coverage_without_feather():
    maps = region_maps(frame_of([0.0, 0.0, 0.5, 0.625]), 4, 4, feather=0.0)
    expected = np.zeros((4, 4))
    expected[:2, :2], expected[2, :2] = 1.0, 0.5
    np.testing.assert_array_equal(maps.share[1].reshape(4, 4), expected)


@given(box=boxes(), feather=st.sampled_from([0.02, 0.07]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_feather_is_the_convolved_box_averaged_over_the_cell(box, feather):
    scipy_stats = pytest.importorskip("scipy.stats")
    cells, fine = 8, 4096
    found = region_maps(frame_of(box), cells, cells, feather=feather).share[1].reshape(cells, cells)
    centres = (np.arange(fine) + 0.5) / fine
    # the frame's own edge is hard: a box that touches it does not fade into the outside
    edges = [
        -np.inf if e <= 0 else np.inf if e >= 1 else e
        for e in Frame.model_validate({"id": "f", "prompt": "p", "items": [{"entity": "e", "box": box}]}).items[0].box
    ]

    def profile(low, high):
        inside = scipy_stats.norm.cdf((high - centres) / feather) - scipy_stats.norm.cdf((low - centres) / feather)
        return inside.reshape(cells, -1).mean(1)

    expected = np.outer(profile(edges[1], edges[3]), profile(edges[0], edges[2]))
    untouched = region_maps(frame_of(box), cells, cells, feather=feather).owner.reshape(cells, cells)
    enough = (expected >= 0.5).sum() >= LEAST_CELLS
    if enough and (untouched > 0).sum() == (expected >= 0.5).sum():
        # half a rounding step of the share, and the error of a midpoint sum over 512 points a cell
        np.testing.assert_allclose(found, expected, atol=0.5 / 1024 + 1e-5)


def test_the_upper_box_takes_from_the_lower():
    frame = frame_of([0.0, 0.0, 0.75, 1.0], [0.25, 0.0, 1.0, 1.0], z=[0, 5])
    maps = region_maps(frame, 4, 4, feather=0.0)
    np.testing.assert_array_equal(maps.owner.reshape(4, 4)[0], [1, 2, 2, 2])


@pytest.mark.parametrize("grid", [4, 8, 16])
def test_a_tiny_item_owns_its_cells_on_the_coarsest_grid(grid):
    frame = frame_of([0.0, 0.0, 1.0, 1.0], [0.4, 0.4, 0.46, 0.46], z=[0, 1])
    maps = region_maps(frame, grid, grid, feather=0.03)
    assert (maps.owner == 2).sum() >= 1
    assert (maps.owner == 1).sum() >= LEAST_CELLS


def test_an_item_behind_another_of_the_same_box_is_reported():
    frame = frame_of([0.2, 0.2, 0.4, 0.4], [0.0, 0.0, 1.0, 1.0], z=[0, 1])
    maps = region_maps(frame, 8, 8, feather=0.0)
    assert maps.hidden == ()
    assert (maps.owner == 1).sum() >= 1


@given(box=boxes(), pixels=st.sampled_from([16, 24, 40]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_mask_of_a_box_is_that_box(box, pixels):
    item = frame_of(box).items[0].box
    snapped = [round(edge * pixels) / pixels for edge in item]
    assume(snapped[2] - snapped[0] >= 1 / 32 and snapped[3] - snapped[1] >= 1 / 32)
    centres = (np.arange(pixels) + 0.5) / pixels
    inside = [(centres > snapped[axis]) & (centres < snapped[axis + 2]) for axis in (0, 1)]
    mask = np.outer(inside[1], inside[0]).astype(float)
    by_mask = region_maps(frame_of(item), 8, 8, feather=0.0, masks={"e00": mask})
    by_box = region_maps(frame_of(snapped), 8, 8, feather=0.0)
    # Which cells a thin item is given depends on the last bit of its coverage.
    assume(not by_mask.starved and not by_box.starved)
    # the plan's boxes lie on a grid of 1/1024, the mask's edges need not
    np.testing.assert_allclose(by_mask.share, by_box.share, atol=8 * 2 / 1024 + 1 / 1024)


@given(box=boxes(), cells=st.integers(1, 40))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_latent_boxes_are_not_empty_and_inside(box, cells):
    x0, y0, x1, y1 = latent_box(box, cells, cells)
    assert 0 <= x0 < x1 <= cells
    assert 0 <= y0 < y1 <= cells

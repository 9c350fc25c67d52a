"""The kind reader's plumbing: crops, boxes, keyed training examples."""

import numpy as np
import pytest
import torch
from stage.instruments.kinds import CROP, build_reader, crop, kinds_of, largest_box
from stage.world.vocabulary import KINDS


def test_crop_of_the_middle_shows_the_middle_and_of_the_border_shows_grey():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[16:48, 16:48] = (255, 0, 0)
    # The margin is 6 % of the picture on each side, so this box is widened to exactly the red square.
    middle = crop(picture, (0.31, 0.31, 0.69, 0.69))
    assert middle.shape == (CROP, CROP, 3)
    assert (middle[2:-2, 2:-2] == (255, 0, 0)).all()
    assert (crop(picture, (-0.5, -0.5, -0.2, -0.2)) == 128).all()


def test_largest_box_is_tight_and_ignores_a_stray_pixel():
    mask = np.zeros((100, 100), bool)
    assert largest_box(mask) is None
    mask[20:60, 30:80] = True
    clean = largest_box(mask)
    # 2 % of the pixels may be cut at each side: one of 40 rows, one of 50 columns.
    assert clean == pytest.approx((0.3, 0.2, 0.8, 0.6), abs=0.011)
    mask[99, 0] = True
    assert largest_box(mask) == pytest.approx(clean, abs=0.011)


def test_reader_is_keyed_and_names_kinds():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = build_reader(), build_reader()
    assert torch.equal(torch.get_rng_state(), state)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert set(kinds_of(first, np.zeros((2, CROP, CROP, 3), np.uint8))) <= set(KINDS)

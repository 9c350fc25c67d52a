"""Readers against pictures whose truth is known."""

import numpy as np
import pytest
from stage.instruments.colours import NO_COLOUR, box_mask, colour_map, main_colour, read_colours
from stage.world import scene as world
from stage.world.vocabulary import COLOURS, KINDS, SETTINGS


@pytest.mark.parametrize("colour", COLOURS)
def test_an_item_shows_its_own_colour_and_no_other_colour_succeeds(colour):
    for number, kind in enumerate(KINDS):
        aspect = world.natural_aspect(kind, "sitting", "none")
        width, height = (0.6, 0.6 / aspect) if aspect >= 1 else (0.6 * aspect, 0.6)
        item = world.Item(kind, colour, "none", (0.2, 0.2, 0.2 + width, 0.2 + height), 0, "left", "sitting")
        picture = world.render(world.Scene(SETTINGS[number % 5], (item,), 0, number))
        named = [item._replace(colour=other) for other in COLOURS]
        reading = read_colours(picture, named)
        assert reading.successes == tuple(other == colour for other in COLOURS), (kind, reading)
        assert reading.outside <= 0.02, (kind, reading)
        assert main_colour(picture) == colour


@pytest.mark.parametrize("setting", SETTINGS)
def test_empty_settings_show_no_body_colour(setting):
    picture = world.render(world.Scene(setting, (), 0, 5))
    assert (colour_map(picture) != NO_COLOUR).mean() < 0.002
    assert main_colour(picture) is None


def test_shares_of_a_constructed_picture():
    picture = np.full((10, 10, 3), 250, np.uint8)
    picture[:, :3] = COLOURS["red"]
    item = world.Item("ball", "red", "none", (0.0, 0.0, 0.5, 1.0), 0, "left", "standing")
    reading = read_colours(picture, [item])
    assert reading.shares == (0.6,)
    assert reading.outside == 0.0
    assert read_colours(picture, [item._replace(box=(0.2, 0.0, 1.0, 1.0))]).outside == pytest.approx(2 / 3)


def test_box_mask_counts_pixel_centres():
    assert box_mask((0.0, 0.5, 0.26, 1.0), 4, 4).sum() == 2

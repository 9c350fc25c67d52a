"""Colours read from pixels, against pictures whose truth is known."""

import numpy as np
import pytest
from stage.instruments.colours import AREA, NO_COLOUR, box_mask, colour_map, colour_share, main_colour, read_colours
from stage.world import scene as world
from stage.world.vocabulary import COLOURS, SETTINGS, TIMES


def item_of(kind, colour, box=None, *, pose="standing", **changes) -> world.Item:
    if box is None:
        aspect = world.natural_aspect(kind, pose, changes.get("accessory", "none"))
        width, height = (0.6, 0.6 / aspect) if aspect >= 1 else (0.6 * aspect, 0.6)
        box = (0.2, 0.3, 0.2 + width, 0.3 + height)
    looks = {"second": None, "pattern": "plain", "accessory": "none", "size": "large"}
    return world.Item(**(looks | {"kind": kind, "colour": colour, "box": box, "z": 0, "facing": "left", "pose": pose}))


@pytest.mark.parametrize("colour", COLOURS)
def test_an_item_shows_its_own_colour_most(colour):
    # Kinds without a large part in a fixed colour.
    for number, kind in enumerate(("fox", "bear", "rabbit", "robot", "house", "balloon", "star", "turtle")):
        item = item_of(kind, colour)
        scene = world.Scene(SETTINGS[number], TIMES[number % 3], "clear", (item,), 0, number)
        picture = world.render(scene)
        shares = {other: colour_share(picture, item.box, other) for other in COLOURS}
        assert max(shares, key=lambda name: shares[name]) == colour, (kind, shares)
        assert shares[colour] >= 0.5, (kind, shares)
        reading = read_colours(picture, [item])
        assert reading.successes == (True,)
        assert reading.shares[0] == shares[colour]
        assert reading.outside <= 0.02, (kind, reading)
        assert main_colour(picture) == colour


@pytest.mark.parametrize("setting", SETTINGS)
def test_empty_settings_show_no_body_colour(setting):
    for number, time in enumerate(TIMES):
        for weather in ("clear", "rain", "snowfall"):
            picture = world.render(world.Scene(setting, time, weather, (), 0, number))
            assert (colour_map(picture) != NO_COLOUR).mean() < 0.002, (time, weather)
            assert main_colour(picture) is None


def test_shares_of_a_constructed_picture():
    picture = np.full((10, 10, 3), 150, np.uint8)
    picture[:, :3] = COLOURS["red"]
    picture[:, 3] = COLOURS["blue"]
    left = (0.0, 0.0, 0.5, 1.0)
    # 40 of 50 pixels are body-coloured, 30 of them red; no colour lies outside.
    assert colour_share(picture, left, "red") == pytest.approx(3 / 4)
    assert colour_share(picture, left, "green") == 0
    reading = read_colours(picture, [item_of("ball", "red", left), item_of("ball", "blue", left)])
    assert reading.shares == pytest.approx((3 / 4, 1 / 4))
    assert reading.outside == 0
    # 10 of 50 are coloured: fewer than a quarter, so the area is a quarter of the box.
    wide = (0.3, 0.0, 0.8, 1.0)
    assert colour_share(picture, wide, "blue") == pytest.approx(10 / (AREA * 50))
    assert read_colours(picture, [item_of("ball", "blue", wide)]).outside == pytest.approx(30 / 40)
    assert colour_share(picture, (0.5, 0.5, 0.5, 0.5), "red") == 0
    assert main_colour(picture) == "red"


def test_box_mask_counts_pixel_centres():
    assert box_mask((0.0, 0.5, 0.26, 1.0), 4, 4).sum() == 2

"""Backdrops are pure functions of their draws, all different to the eye, and never the colour of an item."""

from itertools import combinations, product

import numpy as np
import pytest
from PIL import Image
from stage.draws import Draws
from stage.world.backdrops import backdrop, weather_overlay
from stage.world.paint import tones
from stage.world.shapes import bounds
from stage.world.things import thing_layers
from stage.world.vocabulary import COLOURS, INDOORS, SETTINGS, THINGS, TIMES, WEATHERS

# The smallest colour difference (CIE 1976, delta E*ab) that an eye notices: Mahy et al. 1994.
NOTICEABLE = 2.3


def _lab(rgb) -> np.ndarray:
    """sRGB 0..255 [..., 3] to CIE L*a*b* (D65)."""
    share = np.asarray(rgb, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def _picture(setting: str, time: str, weather: str, number: int, *, side: int = 128, falling: bool = True):
    image = backdrop(setting, time, weather, Draws(5, "setting", number), side)
    if falling:
        weather_overlay(image, weather, Draws(5, "weather", number))
    return image


def test_colour_difference_of_known_pairs():
    assert np.allclose(_lab([255, 255, 255]), [100, 0, 0], atol=0.02)
    assert np.allclose(_lab([0, 0, 0]), [0, 0, 0], atol=1e-9)
    # Bruce Lindbloom's calculator: sRGB red under D65.
    assert np.allclose(_lab([255, 0, 0]), [53.24, 80.09, 67.20], atol=0.1)


@pytest.mark.parametrize("side", [32, 128])
def test_same_draws_same_bytes_and_other_draws_others(side):
    for setting, time, weather in product(SETTINGS, TIMES, WEATHERS):
        first, again, other = (_picture(setting, time, weather, number, side=side) for number in (1, 1, 2))
        assert first.size == (side, side)
        assert first.mode == "RGB"
        assert first.tobytes() == again.tobytes()
        assert first.tobytes() != other.tobytes(), (setting, time, weather)


def test_every_setting_time_and_weather_looks_different():
    # The same draws throughout, nothing falling: what differs is the setting, the light and the sky alone.
    # Indoors it is always clear.
    names = [name for name in product(SETTINGS, TIMES, WEATHERS) if name[0] not in INDOORS or name[2] == "clear"]
    pictures = [_lab(_picture(*name, number=3, side=64, falling=False)) for name in names]
    for (a, first), (b, second) in combinations(zip(names, pictures, strict=True), 2):
        difference = np.linalg.norm(first - second, axis=-1).mean()
        assert difference > NOTICEABLE, (a, b, difference)


def test_no_pixel_of_a_backdrop_is_a_body_colour():
    bodies = {name: _lab(rgb) for name, rgb in COLOURS.items()}
    # Half the distance between the two nearest of the eight saturated colours: what is farther than that from all
    # of them is read as none. White and black are told from pale and dusky tones by their outlines too; they keep
    # three noticeable differences of distance.
    saturated = [lab for name, lab in bodies.items() if name not in ("white", "black")]
    margin = min(np.linalg.norm(a - b) for a, b in combinations(saturated, 2)) / 2
    for setting, time, weather in product(SETTINGS, TIMES, WEATHERS):
        for number in range(3):
            pixels = np.asarray(_picture(setting, time, weather, number), np.int64) @ (65536, 256, 1)
            codes = np.unique(pixels)
            labs = _lab(np.stack((codes >> 16, codes >> 8 & 255, codes & 255), -1))
            for name, lab in bodies.items():
                nearest = np.linalg.norm(labs - lab, axis=-1).min()
                allowed = 3 * NOTICEABLE if name in ("white", "black") else margin
                assert nearest > allowed, (setting, time, weather, name, nearest, allowed)


def test_night_is_dusky_and_not_black():
    for setting, weather in product(SETTINGS, WEATHERS):
        night = np.asarray(_picture(setting, "night", weather, 4), np.float64) / 255
        lightness = (night.max(-1) + night.min(-1)) / 2
        assert lightness.min() >= 0.25, (setting, weather)
        assert lightness.mean() < (np.asarray(_picture(setting, "day", weather, 4)) / 255).mean()


def test_half_the_side_is_the_same_picture():
    # Area-averaging the large picture and drawing the small one differ where edges fall between pixels, so only in
    # their anti-aliasing: less than one noticeable difference on average.
    for setting, time, weather in product(SETTINGS, TIMES, WEATHERS):
        large, small = (_picture(setting, time, weather, 6, side=side) for side in (128, 64))
        difference = np.linalg.norm(_lab(large.reduce(2)) - _lab(small), axis=-1).mean()
        assert difference < NOTICEABLE, (setting, time, weather, difference)


def test_time_and_weather_take_the_same_draws():
    # The law behind "the same place in another light": what is drawn next does not depend on either.
    for setting in SETTINGS:
        following = set()
        for time, weather in product(TIMES, WEATHERS):
            draws = Draws(8, "setting", 1)
            backdrop(setting, time, weather, draws, 32)
            following.add(draws.uniform())
        assert len(following) == 1, setting


def test_the_place_stays_when_the_light_changes():
    # A beach's shore and a street's kerb: the row where lightness changes most stays where it is.
    for setting in ("beach", "street"):
        edges = []
        for time in TIMES:
            lightness = _lab(backdrop(setting, time, "clear", Draws(8, "setting", 1), 64))[32:, :, 0].mean(1)
            edges.append(int(np.abs(np.diff(lightness)).argmax()))
        assert max(edges) - min(edges) <= 1, (setting, edges)


def test_weather_falls_lightly_and_nothing_falls_from_a_clear_sky():
    grey = Image.new("RGB", (128, 128), (120, 120, 120))
    for weather in WEATHERS:
        fallen = grey.copy()
        weather_overlay(fallen, weather, Draws(5, "weather", 1))
        touched = (np.asarray(fallen) != np.asarray(grey)).any(-1).mean()
        assert touched == 0 if weather == "clear" else 0.01 < touched < 0.08, (weather, touched)


def test_unknown_words_are_refused():
    for words in (("moon", "day", "clear"), ("meadow", "noon", "clear"), ("meadow", "day", "hail")):
        with pytest.raises(KeyError):
            backdrop(*words, Draws(0, "setting", 0), 32)
    with pytest.raises(KeyError):
        thing_layers("fox")


@pytest.mark.parametrize("kind", THINGS)
def test_a_thing_is_one_drawing_with_a_patterned_body(kind):
    drawing = thing_layers(kind)
    assert any(layer.patterned and layer.fill == "base" for layer in drawing)
    assert {layer.fill for layer in drawing} <= tones("red").keys()
    x0, y0, x1, y1 = bounds(drawing)
    # Neither a sliver nor off the unit plane by more than an outline's room.
    assert 0.4 < (x1 - x0) / (y1 - y0) < 2.5
    assert min(x0, y0) > -0.15
    assert max(x1, y1) < 1.45

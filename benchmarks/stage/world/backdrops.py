"""The settings: every backdrop is few large smooth shapes in pale or greyish tones, so that items stand out.

No tone comes near a body colour (`vocabulary.COLOURS`). Where things lie depends on the draws alone: the same draws
under another time or weather show the same place.
"""

import math
from collections.abc import Callable

import aggdraw
import numpy as np
from PIL import Image

from stage.draws import Draws

RGB = tuple[float, float, float]

# (time, weather) -> sky at the top and at the horizon.
_SKIES: dict[tuple[str, str], tuple[RGB, RGB]] = {
    ("day", "clear"): ((164, 202, 230), (208, 227, 236)),
    ("day", "rain"): ((150, 160, 174), (196, 202, 208)),
    ("day", "snowfall"): ((176, 186, 200), (206, 213, 222)),
    ("sunset", "clear"): ((186, 166, 196), (246, 210, 176)),
    ("sunset", "rain"): ((150, 138, 154), (210, 184, 168)),
    ("sunset", "snowfall"): ((178, 166, 184), (224, 202, 192)),
    ("night", "clear"): ((92, 102, 142), (136, 144, 172)),
    ("night", "rain"): ((92, 98, 114), (118, 124, 136)),
    ("night", "snowfall"): ((106, 112, 134), (144, 150, 166)),
}
_SUN: dict[str, RGB] = {"day": (248, 238, 194), "sunset": (250, 228, 188), "night": (228, 226, 204)}


def _mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with a share (0..1) of `b`."""
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)


def _lit(colour: RGB, time: str, weather: str) -> RGB:
    """A daylight tone as this weather and this time of day show it."""
    grey = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2]
    if weather == "rain":
        colour = _mix(colour, (0.8 * grey, 0.83 * grey, 0.88 * grey), 0.38)
    elif weather == "snowfall":
        colour = _mix(colour, (218, 224, 234), 0.45)
    if time == "sunset":
        return _mix((colour[0], 0.93 * colour[1], 0.88 * colour[2]), (236, 196, 178), 0.2)
    if time == "night":
        return _mix((0.54 * colour[0], 0.56 * colour[1], 0.58 * colour[2]), (112, 120, 154), 0.22)
    return colour


class _Canvas:
    """A square picture painted in coordinates 0..1 (x right, y down) with tones given as in daylight."""

    def __init__(self, side: int, time: str, weather: str):
        self.side, self.time, self.weather = side, time, weather
        self.top, self.low = _SKIES[time, weather]
        self.lamplit = False
        self.pen: aggdraw.Draw

    def sky(self, horizon: float) -> None:
        """Fill the picture with the sky's gradient, which ends at the horizon."""
        share = np.clip((np.arange(self.side) + 0.5) / (horizon * self.side), 0, 1)[:, None]
        rows = np.rint(np.array(self.top) * (1 - share) + np.array(self.low) * share).astype(np.uint8)
        self.image = Image.fromarray(np.repeat(rows[:, None], self.side, 1))
        self.pen = aggdraw.Draw(self.image)

    def brush(self, colour: RGB, lit: bool) -> aggdraw.Brush:
        if lit and self.lamplit:
            colour = _mix((0.7 * colour[0], 0.7 * colour[1], 0.73 * colour[2]), (176, 156, 162), 0.3)
        elif lit:
            colour = _lit(colour, self.time, self.weather)
        red, green, blue = colour
        return aggdraw.Brush((round(red), round(green), round(blue)))

    def shape(self, points: list[tuple[float, float]], colour: RGB, *, lit: bool = True) -> None:
        flat = [value * self.side for point in points for value in point]
        self.pen.polygon(flat, self.brush(colour, lit))

    def bar(self, x0: float, y0: float, x1: float, y1: float, colour: RGB, *, lit: bool = True) -> None:
        self.shape([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, lit=lit)

    def oval(self, x: float, y: float, rx: float, ry: float, colour: RGB, *, lit: bool = True) -> None:
        box = [value * self.side for value in (x - rx, y - ry, x + rx, y + ry)]
        self.pen.ellipse(box, self.brush(colour, lit))

    def land(self, height: Callable[[float], float], colour: RGB) -> None:
        """Everything below the curve y = height(x)."""
        crest = [(i / 24, height(i / 24)) for i in range(25)]
        self.shape([*crest, (1.0, 1.01), (0.0, 1.01)], colour)


def _swell(draws: Draws, level: float, rise: float) -> Callable[[float], float]:
    """One long wave around `level` with this amplitude."""
    phase, length = draws.uniform(0, 2 * math.pi), draws.uniform(3.2, 5.2)
    return lambda x: level + rise * math.sin(phase + length * x)


def _heavens(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    """Sun, moon and stars, or clouds: always the same number of draws, whatever the time and weather."""
    x, y = draws.uniform(0.12, 0.88), draws.uniform(0.11, 0.2)
    clouds = [(draws.uniform(0.0, 1.0), draws.uniform(0.07, 0.24), draws.uniform(0.8, 1.2)) for _ in range(2)]
    stars = [(draws.uniform(), draws.uniform(0.02, 0.95) * horizon, draws.uniform(0.007, 0.012)) for _ in range(12)]
    if canvas.weather != "clear":
        bank = _mix(canvas.top, canvas.low, 0.45)
        for cloud_x, cloud_y, size in clouds:
            for step in (-0.32, -0.1, 0.14, 0.36):
                canvas.oval(
                    cloud_x + step, 0.25 * cloud_y, 0.2 * size, (0.13 - 0.1 * abs(step)) * size, bank, lit=False
                )
        return
    if canvas.time == "night":
        for star_x, star_y, size in stars:
            canvas.oval(star_x, star_y, size, size, (222, 222, 206), lit=False)
        canvas.oval(x, y, 0.07, 0.07, _SUN["night"], lit=False)
        canvas.oval(x + 0.032, y - 0.014, 0.058, 0.058, _mix(canvas.top, canvas.low, y / horizon), lit=False)
        return
    if canvas.time == "sunset":
        canvas.oval(x, horizon - 0.06, 0.13, 0.13, _SUN["sunset"], lit=False)
        tone = (222, 188, 192)
    else:
        canvas.oval(x, y, 0.065, 0.065, _SUN["day"], lit=False)
        tone = (214, 225, 232)
    for cloud_x, cloud_y, size in clouds:
        for step, lift, radius in ((-0.09, 0.012, 0.05), (0.0, -0.012, 0.065), (0.09, 0.012, 0.05)):
            canvas.oval(
                cloud_x + step * size, cloud_y + lift, 1.25 * radius * size, 0.75 * radius * size, tone, lit=False
            )


def _meadow(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    canvas.land(_swell(draws, horizon, 0.045), (206, 222, 184))
    canvas.land(_swell(draws, horizon + 0.1, 0.04), (192, 212, 168))
    canvas.land(_swell(draws, horizon + 0.26, 0.05), (180, 204, 156))
    for _ in range(7):
        canvas.oval(draws.uniform(), draws.uniform(horizon + 0.2, 0.98), 0.013, 0.011, (226, 226, 194))


def _fir(canvas: _Canvas, x: float, foot: float, height: float, tone: RGB) -> None:
    width = 0.26 * height
    canvas.bar(x - 0.02, foot - 0.15 * height, x + 0.02, foot, (166, 154, 142))
    canvas.shape([(x, foot - height), (x + width, foot - 0.1 * height), (x - width, foot - 0.1 * height)], tone)


def _forest(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    canvas.land(_swell(draws, horizon - 0.2, 0.03), (190, 202, 184))
    canvas.land(_swell(draws, horizon + 0.06, 0.02), (180, 188, 156))
    start = draws.uniform(-0.08, 0.02)
    for i in range(5):
        x, width, foot = (
            start + 0.235 * i + draws.uniform(0, 0.09),
            draws.uniform(0.06, 0.085),
            draws.uniform(0.08, 0.16),
        )
        canvas.shape(
            [(x, -0.01), (x + width, -0.01), (x + 1.2 * width, horizon + foot), (x - 0.2 * width, horizon + foot)],
            (160, 152, 138),
        )
    for i in range(6):
        x, size = 0.2 * i + draws.uniform(-0.04, 0.04), draws.uniform(0.11, 0.17)
        canvas.oval(x, 0.0, 0.15, size, (156, 176, 150))


def _beach(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    canvas.bar(-0.01, horizon - 0.06, 1.01, 1.01, (164, 198, 208))
    canvas.bar(-0.01, horizon + 0.03, 1.01, 1.01, (178, 208, 214))
    shore = _swell(draws, horizon + 0.15, 0.025)
    canvas.land(lambda x: shore(x) - 0.022, (206, 220, 220))
    canvas.land(shore, (232, 218, 186))
    canvas.land(_swell(draws, horizon + 0.36, 0.03), (226, 210, 176))


def _snow(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    canvas.land(_swell(draws, horizon, 0.05), (196, 206, 222))
    for _ in range(3):
        x, height = draws.uniform(0.03, 0.97), draws.uniform(0.16, 0.24)
        _fir(canvas, x, horizon + 0.09, height, (170, 188, 192))
    canvas.land(_swell(draws, horizon + 0.09, 0.035), (206, 215, 228))
    canvas.land(_swell(draws, horizon + 0.26, 0.05), (214, 222, 232))


def _desert(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    canvas.land(_swell(draws, horizon, 0.06), (226, 206, 172))
    for _ in range(2):
        x, foot, size = draws.uniform(0.05, 0.95), horizon + draws.uniform(0.08, 0.12), draws.uniform(0.8, 1.1)
        tone = (168, 184, 152)
        canvas.bar(x - 0.024 * size, foot - 0.22 * size, x + 0.024 * size, foot, tone)
        canvas.oval(x, foot - 0.22 * size, 0.024 * size, 0.026 * size, tone)
        for turn, rise in ((-1, 0.17), (1, 0.2)):
            arm = x + turn * 0.066 * size
            canvas.bar(arm - 0.016 * size, foot - rise * size, arm + 0.016 * size, foot - 0.09 * size, tone)
            canvas.oval(arm, foot - rise * size, 0.016 * size, 0.018 * size, tone)
            left, right = min(x, arm + turn * 0.016 * size), max(x, arm + turn * 0.016 * size)
            canvas.bar(left, foot - 0.115 * size, right, foot - 0.08 * size, tone)
    canvas.land(_swell(draws, horizon + 0.12, 0.045), (220, 196, 160))
    canvas.land(_swell(draws, horizon + 0.3, 0.05), (212, 188, 154))


def _street(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    walls = ((214, 200, 190), (200, 206, 200), (206, 204, 214), (218, 210, 186))
    shift, foot = draws.uniform(-0.18, 0.0), horizon + 0.1
    pane = (178, 190, 200) if canvas.time == "day" else (226, 208, 164)
    first = draws.integer(4)
    for i in range(5):
        x, width, height = shift + 0.25 * i, 0.235, draws.uniform(0.24, 0.36)
        canvas.bar(x, foot - height, x + width, foot, walls[(first + i) % 4])
        ridge = foot - height - 0.1
        canvas.shape(
            [(x - 0.01, foot - height), (x + width / 2, ridge), (x + width + 0.01, foot - height)], (178, 164, 160)
        )
        for column in (0.06, 0.14):
            canvas.bar(x + column, foot - height + 0.05, x + column + 0.045, foot - height + 0.12, pane, lit=False)
        canvas.bar(x + 0.09, foot - 0.11, x + 0.15, foot, (168, 160, 156))
    canvas.bar(-0.01, foot, 1.01, 1.01, (208, 206, 202))
    canvas.bar(-0.01, foot + 0.1, 1.01, 1.01, (166, 166, 170))
    for i in range(5):
        x = shift + 0.28 * i
        canvas.bar(x, foot + 0.24, x + 0.14, foot + 0.265, (216, 214, 204))


def _room(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    floor = horizon + 0.12
    wall, wood = (224, 210, 196), (200, 180, 156)
    x, y, across, high = draws.uniform(0.08, 0.56), draws.uniform(0.08, 0.13), 0.36, 0.34
    hill = _swell(draws, y + 0.78 * high, 0.02)
    middle, turn = draws.uniform(0.3, 0.7), draws.integer(2)
    # The window is what is left of the sky and the hills when the wall is painted around it.
    canvas.land(hill, (196, 212, 178))
    canvas.lamplit = canvas.time == "night"
    for bar in ((-0.01, -0.01, x, 1.01), (x + across, -0.01, 1.01, 1.01), (x - 0.01, -0.01, x + across + 0.01, y)):
        canvas.bar(*bar, wall)
    canvas.bar(x - 0.01, y + high, x + across + 0.01, 1.01, wall)
    frame = (226, 222, 210)
    canvas.bar(x + across / 2 - 0.012, y, x + across / 2 + 0.012, y + high, frame)
    canvas.bar(x, y + high / 2 - 0.012, x + across, y + high / 2 + 0.012, frame)
    for bar in (
        (x - 0.02, y - 0.02, x + across + 0.02, y + 0.012),
        (x - 0.05, y + high - 0.005, x + across + 0.05, y + high + 0.03),
        (x - 0.02, y, x + 0.012, y + high),
        (x + across - 0.012, y, x + across + 0.02, y + high),
    ):
        canvas.bar(*bar, frame)
    canvas.bar(-0.01, floor - 0.035, 1.01, 1.01, frame)
    canvas.bar(-0.01, floor, 1.01, 1.01, wood)
    rug = ((186, 196, 206), (206, 190, 196))[turn]
    canvas.oval(middle, floor + 0.22, 0.42, 0.13, _mix(rug, (232, 228, 222), 0.5))
    canvas.oval(middle, floor + 0.22, 0.37, 0.105, rug)


def _mountains(canvas: _Canvas, draws: Draws, horizon: float) -> None:
    shift, foot = draws.uniform(-0.12, 0.12), horizon + 0.1
    for i, tone in ((0, (186, 190, 204)), (2, (186, 190, 204)), (1, (170, 176, 192))):
        x, width = 0.1 + 0.4 * i + shift + draws.uniform(-0.06, 0.06), draws.uniform(0.3, 0.38)
        peak = foot - draws.uniform(0.36, 0.5)
        rise = foot - peak
        canvas.shape([(x, peak), (x + width, foot), (x - width, foot)], tone)
        cap = [(x, peak), (x + 0.3 * width, peak + 0.3 * rise), (x + 0.1 * width, peak + 0.23 * rise)]
        cap += [(x - 0.04 * width, peak + 0.32 * rise), (x - 0.16 * width, peak + 0.22 * rise)]
        canvas.shape([*cap, (x - 0.3 * width, peak + 0.3 * rise)], (216, 222, 230))
    canvas.land(_swell(draws, foot - 0.02, 0.025), (178, 188, 172))
    canvas.land(_swell(draws, foot + 0.16, 0.04), (190, 196, 176))


_SETTINGS: dict[str, Callable[[_Canvas, Draws, float], None]] = {
    "meadow": _meadow,
    "forest": _forest,
    "beach": _beach,
    "snow": _snow,
    "desert": _desert,
    "street": _street,
    "room": _room,
    "mountains": _mountains,
}


def backdrop(setting: str, time: str, weather: str, draws: Draws, side: int) -> Image.Image:
    """An empty setting, RGB, `side` x `side` pixels; everything in it is relative to `side`.

    What falls from the sky is not in it: `weather_overlay` goes over the finished picture (not over a room, whose
    weather is seen through the window).

    Raises:
        KeyError: a setting, time or weather that `vocabulary` does not name.
    """
    paint = _SETTINGS[setting]
    horizon = draws.uniform(0.4, 0.54)
    canvas = _Canvas(side, time, weather)
    canvas.sky(horizon + 0.05)
    _heavens(canvas, draws, horizon)
    paint(canvas, draws, horizon)
    canvas.pen.flush()
    return canvas.image


def weather_overlay(image: Image.Image, weather: str, draws: Draws) -> None:
    """Rain streaks or snowflakes lightly over everything, in place; nothing when the weather is clear."""
    if weather == "clear":
        return
    side, pen = image.width, aggdraw.Draw(image)
    if weather == "rain":
        stroke = aggdraw.Pen((222, 230, 240), 0.011 * side, 130)
        for i in range(24):
            x, y = (i % 6 + draws.uniform()) / 6, (i // 6 + draws.uniform()) / 4
            length = draws.uniform(0.06, 0.1)
            pen.line([x * side, y * side, (x - 0.3 * length) * side, (y + length) * side], stroke)
    else:
        flake = aggdraw.Brush((226, 232, 241), 225)
        for i in range(30):
            x, y = (i % 6 + draws.uniform()) / 6 * side, (i // 6 + draws.uniform()) / 5 * side
            radius = draws.uniform(0.008, 0.015) * side
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), flake)
    pen.flush()

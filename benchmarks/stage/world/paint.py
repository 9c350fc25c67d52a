"""Painting of layers with aggdraw (anti-aliased), in tones made from an item's colours."""

import math
from functools import cache

import aggdraw
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stage.world.shapes import Layer, Point, Polygon, bounds, oval
from stage.world.vocabulary import COLOURS

RGB = tuple[int, int, int]
Box = tuple[float, float, float, float]

INK: RGB = (38, 34, 44)
WHITE: RGB = (250, 250, 248)
# Width of the dark line around a shape, as a share of the item's longer side.
OUTLINE = 0.022
# Period of a pattern, as a share of the item's longer side.
PERIOD = 0.165

FIXED: dict[str, RGB] = {
    "ink": INK,
    "chalk": WHITE,
    "slate": (70, 74, 92),
    "beak": (244, 178, 66),
    "trunk": (122, 98, 82),
    "glass": (206, 226, 234),
    "tongue": (240, 156, 160),
    "gold": (246, 200, 60),
    "ribbon": (20, 150, 160),
    "leaf": (122, 146, 108),
    "canvas": (176, 148, 108),
}


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with a share (0..1) of `b`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


@cache
def tones(colour: str) -> dict[str, RGB]:
    """Fill name -> RGB for an item of this body colour.

    "white", "mark" (eyes, noses, mouths) and "shine" are neutrals that stay visible on white and on black bodies.
    """
    base = COLOURS[colour]
    made = {
        "base": base,
        "dark": mix(base, INK, 0.35),
        "light": mix(base, WHITE, 0.4),
        "pale": mix(base, WHITE, 0.75),
        "white": WHITE,
        "mark": INK,
        "shine": WHITE,
        "outline": mix(base, INK, 0.68),
    }
    if colour == "white":
        made |= {"dark": (206, 206, 214), "light": (228, 228, 234), "pale": (222, 222, 230), "white": (214, 216, 226)}
        made["outline"] = (96, 94, 108)
    if colour == "black":
        made |= {"dark": (34, 32, 38), "light": (104, 102, 112), "pale": (176, 174, 184), "outline": (128, 126, 138)}
        made |= {"mark": (236, 234, 228), "shine": INK}
    return FIXED | made


def widened(points: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The polygon's outer edge `width` further out, corners rounded: points [n, 2] -> [3 n, 2]."""
    edge = np.roll(points, -1, 0) - points
    normal = np.stack((edge[:, 1], -edge[:, 0]), 1) / np.maximum(np.hypot(edge[:, 0], edge[:, 1]), 1e-9)[:, None]
    x, y = points[:, 0], points[:, 1]
    if np.dot(x, np.roll(y, -1)) < np.dot(y, np.roll(x, -1)):
        normal = -normal
    before = np.roll(normal, 1, 0)
    middle = before + normal
    middle /= np.maximum(np.hypot(middle[:, 0], middle[:, 1]), 1e-9)[:, None]
    return (points[:, None] + width * np.stack((before, middle, normal), 1)).reshape(-1, 2)


def _fit(low: float, high: float, least: float, most: float, length: float, line: float) -> tuple[float, float, float]:
    """Scale (pixels per unit) and extent with which outlined points from `low` to `high`, widened by `line` pixels, and
    bare points from `least` to `most` together take `length` pixels.
    """
    scale = (length - 2 * line) / (most - least)
    left, right = least, most
    # The outline is given in pixels and the points in units, so the scale depends on itself; it settles at once.
    for _ in range(6):
        left, right = min(low - line / scale, least), max(high + line / scale, most)
        scale = length / (right - left)
    return scale, left, right


class Placement:
    """Maps a drawing's plane to pixels so that, its outline included, it fills `box` (x0, y0, x1, y1 in 0..1 of a
    picture `side` pixels wide); `mirrored` flips it left to right.
    """

    def __init__(self, drawing: list[Layer], box: Box, side: int, mirrored: bool):
        x0, y0, x1, y1 = (value * side for value in box)
        self.longer = max(x1 - x0, y1 - y0)
        self.line = OUTLINE * self.longer
        lined = bounds([layer for layer in drawing if layer.outlined])
        whole = bounds(drawing)
        scale_x, left, right = _fit(lined[0], lined[2], whole[0], whole[2], x1 - x0, self.line)
        scale_y, top, _ = _fit(lined[1], lined[3], whole[1], whole[3], y1 - y0, self.line)
        self._scale = np.array([-scale_x if mirrored else scale_x, scale_y])
        self._shift = np.array([x0 + right * scale_x if mirrored else x0 - left * scale_x, y0 - top * scale_y])

    def pixels(self, polygon: Polygon) -> NDArray[np.float64]:
        """Points [n, 2] in pixels."""
        return np.asarray(polygon) * self._scale + self._shift


def _fill(pen: aggdraw.Draw, points: NDArray[np.float64], brush: aggdraw.Brush) -> None:
    pen.polygon(points.ravel().tolist(), brush)


def _pattern(pattern: str, centre: Point, size: Point, period: float) -> list[Polygon]:
    """The pattern's shapes over an area of this centre and size (width, height), anchored at its centre."""
    (x, y), (width, height) = centre, size
    shapes: list[Polygon] = []
    if pattern == "striped":
        half, slant = 0.21 * period, 0.18 * height
        count = math.ceil((width / 2 + slant) / period)
        for i in range(-count, count + 1):
            a = x + i * period
            top, bottom = y - height / 2, y + height / 2
            shapes.append(
                [
                    (a - half + slant, top),
                    (a + half + slant, top),
                    (a + half - slant, bottom),
                    (a - half - slant, bottom),
                ]
            )
        return shapes
    # Spots and checks sit on two interleaved grids.
    step = period / 2 if pattern == "checked" else 0.62 * period
    half = step / 2
    for row in range(-math.ceil(height / 2 / step), math.ceil(height / 2 / step) + 1):
        for column in range(-math.ceil(width / 2 / step), math.ceil(width / 2 / step) + 1):
            if (row + column) % 2:
                continue
            a, b = x + column * step, y + row * step
            if pattern == "checked":
                shapes.append([(a - half, b - half), (a + half, b - half), (a + half, b + half), (a - half, b + half)])
            else:
                shapes.append(oval(a, b, 0.31 * period, 0.31 * period)[::2])
    return shapes


def _paint_pattern(
    canvas: Image.Image, polygons: list[NDArray[np.float64]], pattern: str, colour: RGB, period: float
) -> None:
    points = np.concatenate(polygons)
    low, high = points.min(0), points.max(0)
    x0, y0 = max(0, math.floor(low[0])), max(0, math.floor(low[1]))
    x1, y1 = min(canvas.width, math.ceil(high[0])), min(canvas.height, math.ceil(high[1]))
    if x1 <= x0 or y1 <= y0:
        return
    patch, mask = canvas.crop((x0, y0, x1, y1)), Image.new("L", (x1 - x0, y1 - y0), 0)
    corner = np.array([x0, y0])
    pen, stencil = aggdraw.Draw(patch), aggdraw.Draw(mask)
    for polygon in polygons:
        _fill(stencil, polygon - corner, aggdraw.Brush((255, 255, 255)))
    centre, size = (low + high) / 2 - corner, high - low
    brush = aggdraw.Brush(colour)
    for shape in _pattern(pattern, (centre[0], centre[1]), (size[0], size[1]), period):
        _fill(pen, np.asarray(shape), brush)
    pen.flush()
    stencil.flush()
    canvas.paste(patch, (x0, y0), mask)


def paint(
    canvas: Image.Image,
    drawing: list[Layer],
    box: Box,
    *,
    colour: str,
    second: str | None = None,
    pattern: str = "plain",
    mirrored: bool = False,
) -> None:
    """Paint a drawing on a square RGB canvas so that outline included it fills `box` (0..1 of the canvas)."""
    place = Placement(drawing, box, canvas.width, mirrored)
    fills = tones(colour)
    pen = aggdraw.Draw(canvas)
    line = aggdraw.Brush(fills["outline"])
    for layer in drawing:
        polygons = [place.pixels(polygon) for polygon in layer.polygons]
        if layer.outlined:
            for polygon in polygons:
                _fill(pen, widened(polygon, place.line), line)
        brush = aggdraw.Brush(fills[layer.fill])
        for polygon in polygons:
            _fill(pen, polygon, brush)
        if layer.patterned and second is not None and pattern != "plain":
            pen.flush()
            _paint_pattern(canvas, polygons, pattern, COLOURS[second], PERIOD * place.longer)
            pen = aggdraw.Draw(canvas)
    pen.flush()


def silhouette(drawing: list[Layer], box: Box, side: int, *, mirrored: bool = False) -> NDArray[np.float32]:
    """Coverage of a painted drawing, float32 [side, side] in 0..1."""
    place = Placement(drawing, box, side, mirrored)
    image = Image.new("L", (side, side), 0)
    pen, brush = aggdraw.Draw(image), aggdraw.Brush((255, 255, 255))
    for layer in drawing:
        for polygon in layer.polygons:
            points = place.pixels(polygon)
            _fill(pen, widened(points, place.line) if layer.outlined else points, brush)
    pen.flush()
    return np.asarray(image, np.float32) / np.float32(255)

"""Polygons and layers in a unit drawing plane (x right, y down, everything faces left).

A drawing is a list of layers, painted in order; a layer's polygons share one fill and one outline around their union.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

Point = tuple[float, float]
Polygon = list[Point]


class Layer(NamedTuple):
    """Polygons painted together. `fill` names a tone (see `paint.tones`); `outlined` puts the dark line around their
    union; `patterned` layers carry an item's stripes, spots or checks.
    """

    polygons: list[Polygon]
    fill: str
    outlined: bool = True
    patterned: bool = False


def oval(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Polygon:
    """An ellipse centred at (x, y), radii (rx, ry), turned by `turn` degrees clockwise on screen."""
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    angles = [2 * math.pi * i / 28 for i in range(28)]
    return [
        (x + c * rx * math.cos(a) - s * ry * math.sin(a), y + s * rx * math.cos(a) + c * ry * math.sin(a))
        for a in angles
    ]


def bar(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    """An upright rectangle."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def smooth(points: Iterable[Point], *, steps: int = 6) -> Polygon:
    """A closed curve through the points: a uniform Catmull-Rom spline, `steps` chords from point to point."""
    corners = list(points)
    curve: Polygon = []
    for i in range(len(corners)):
        a, b, c, d = (corners[(i + k) % len(corners)] for k in (-1, 0, 1, 2))
        for step in range(steps):
            t = step / steps
            x, y = (
                0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t + (3 * q - p - 3 * r + s) * t**3)
                for p, q, r, s in zip(a, b, c, d, strict=True)
            )
            curve.append((x, y))
    return curve


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, width: float) -> Polygon:
    """A strip `width` wide along an ellipse's rim from angle `start` to `stop` (degrees, clockwise from the right)."""
    angles = [math.radians(start + (stop - start) * i / 10) for i in range(11)]
    rims = [
        [(x + (rx + s * width / 2) * math.cos(a), y + (ry + s * width / 2) * math.sin(a)) for a in angles]
        for s in (1, -1)
    ]
    return rims[0] + rims[1][::-1]


def ribbon(points: Iterable[Point], widths: Iterable[float], *, steps: int = 6) -> Polygon:
    """A strip along a smooth open curve through the points, as wide at each of them as `widths` says."""
    line, wide = list(points), list(widths)
    padded = [line[0], *line, line[-1]]
    left: Polygon = []
    right: Polygon = []
    for i in range(len(line) - 1):
        a, b, c, d = padded[i : i + 4]
        for step in range(steps + (i == len(line) - 2)):
            t = step / steps
            (x, dx), (y, dy) = (
                (
                    0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t + (3 * q - p - 3 * r + s) * t**3),
                    (r - p) + 2 * (2 * p - 5 * q + 4 * r - s) * t + 3 * (3 * q - p - 3 * r + s) * t * t,
                )
                for p, q, r, s in zip(a, b, c, d, strict=True)
            )
            half = (wide[i] + (wide[i + 1] - wide[i]) * t) / 2 / max(math.hypot(dx, dy), 1e-9)
            left.append((x - dy * half, y + dx * half))
            right.append((x + dy * half, y - dx * half))
    return left + right[::-1]


def placed(drawing: Iterable[Layer], x: float, y: float, scale: float, *, turn: float = 0.0) -> list[Layer]:
    """The drawing with its origin at (x, y), `scale` times as large, turned by `turn` degrees clockwise."""
    c, s = scale * math.cos(math.radians(turn)), scale * math.sin(math.radians(turn))
    return [
        layer._replace(polygons=[[(x + c * u - s * v, y + s * u + c * v) for u, v in p] for p in layer.polygons])
        for layer in drawing
    ]


def bounds(drawing: list[Layer]) -> tuple[float, float, float, float]:
    """The drawing's extent (x0, y0, x1, y1) in its own plane, outlines not counted."""
    points = [point for layer in drawing for polygon in layer.polygons for point in polygon]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs), min(ys), max(xs), max(ys)

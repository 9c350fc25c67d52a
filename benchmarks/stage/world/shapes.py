"""Outlines of the world's creatures and things in a unit drawing plane (x right, y down, everything faces left).

A drawing is a list of layers, painted in order; a layer's polygons share one fill and one outline around their union.
"""

import math
from typing import NamedTuple

Point = tuple[float, float]
Polygon = list[Point]


class Layer(NamedTuple):
    """Polygons painted together. `fill` names a tone (see `paint.tones`); `outlined` puts the dark line around their
    union.
    """

    polygons: list[Polygon]
    fill: str
    outlined: bool = True


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


def _hat(x: float, y: float) -> list[Layer]:
    return [
        Layer([bar(x - 0.13, y - 0.27, x + 0.13, y), bar(x - 0.23, y - 0.06, x + 0.23, y)], "slate"),
        Layer([bar(x - 0.12, y - 0.13, x + 0.12, y - 0.07)], "white", False),
    ]


def _scarf(x: float, y: float, width: float) -> list[Layer]:
    return [
        Layer([bar(x + 0.02, y, x + 0.15, y + 0.26)], "white"),
        Layer([bar(x + 0.03, y + 0.15, x + 0.14, y + 0.2)], "slate", False),
        Layer([oval(x, y, width, 0.075)], "white"),
        Layer(
            [
                bar(x - 0.5 * width - 0.03, y - 0.05, x - 0.5 * width + 0.03, y + 0.055),
                bar(x + 0.5 * width - 0.03, y - 0.05, x + 0.5 * width + 0.03, y + 0.055),
            ],
            "slate",
            False,
        ),
    ]


def _eyes(x: float, y: float, gap: float, size: float) -> list[Layer]:
    dark = [oval(x + side * gap, y, size, size * 1.25) for side in (-1, 1)]
    shine = [oval(x + side * gap - 0.3 * size, y - 0.45 * size, 0.4 * size, 0.4 * size) for side in (-1, 1)]
    return [Layer(dark, "ink", False), Layer(shine, "white", False)]


def _head(kind: str, x: float, y: float) -> tuple[list[Layer], list[Layer]]:
    """Layers behind the body and layers in front of it; (x, y) is the head's centre, the face looks a little to the
    left.
    """
    face = x - 0.05
    skull = oval(x, y, 0.27, 0.23)
    if kind == "cat":
        ears = [[(x + s * 0.26, y - 0.02), (x + s * 0.24, y - 0.38), (x + s * 0.03, y - 0.19)] for s in (-1, 1)]
        inner = [[(x + s * 0.22, y - 0.13), (x + s * 0.215, y - 0.29), (x + s * 0.11, y - 0.19)] for s in (-1, 1)]
        return [], [
            Layer([skull, *ears], "base"),
            Layer(inner, "light", False),
            *_eyes(face, y - 0.01, 0.11, 0.045),
            Layer([oval(face, y + 0.12, 0.1, 0.07)], "light", False),
            Layer([[(face - 0.04, y + 0.07), (face + 0.04, y + 0.07), (face, y + 0.12)]], "ink", False),
        ]
    if kind == "dog":
        ears = [oval(x + s * 0.27, y + 0.03, 0.09, 0.22, -s * 14) for s in (-1, 1)]
        return [], [
            Layer([skull], "base"),
            Layer(ears, "dark"),
            *_eyes(face, y - 0.07, 0.1, 0.042),
            Layer([oval(face - 0.02, y + 0.1, 0.15, 0.12)], "pale", False),
            Layer([oval(face - 0.02, y + 0.05, 0.065, 0.048)], "ink", False),
        ]
    if kind == "rabbit":
        ears = [oval(x + s * 0.11, y - 0.36, 0.085, 0.27, s * 8) for s in (-1, 1)]
        inner = [oval(x + s * 0.11, y - 0.36, 0.04, 0.19, s * 8) for s in (-1, 1)]
        return [], [
            Layer([oval(x, y, 0.24, 0.21), *ears], "base"),
            Layer(inner, "pale", False),
            *_eyes(face, y - 0.03, 0.1, 0.045),
            Layer([oval(face, y + 0.06, 0.035, 0.026)], "ink", False),
            Layer([bar(face - 0.035, y + 0.09, face + 0.035, y + 0.16)], "white", False),
        ]
    if kind == "bear":
        ears = [oval(x + s * 0.21, y - 0.2, 0.105, 0.105) for s in (-1, 1)]
        inner = [oval(x + s * 0.21, y - 0.2, 0.05, 0.05) for s in (-1, 1)]
        return [], [
            Layer([oval(x, y, 0.29, 0.25), *ears], "base"),
            Layer(inner, "pale", False),
            *_eyes(face, y - 0.07, 0.12, 0.034),
            Layer([oval(face, y + 0.09, 0.125, 0.1)], "pale", False),
            Layer([oval(face, y + 0.045, 0.055, 0.04)], "ink", False),
        ]
    raise ValueError(f"kind: no head for {kind!r}")


_TAILS = {
    "cat": [oval(0.93, 0.5, 0.05, 0.2, 18)],
    "dog": [oval(0.92, 0.52, 0.055, 0.13, 35)],
    "bear": [oval(0.9, 0.6, 0.06, 0.06)],
}


def _walker(kind: str, pose: str, accessory: str) -> list[Layer]:
    sitting = pose == "sitting"
    x, y = (0.5, 0.34) if sitting else (0.31, 0.36)
    behind, front = _head(kind, x, y)
    layers = list(behind)
    if sitting:
        tail = [oval(0.8, 0.86, 0.16, 0.055, -20)] if kind in ("cat", "dog") else []
        layers += [Layer(tail, "base")] if tail else []
        layers += [Layer([oval(0.8, 0.84, 0.085, 0.085)], "white")] if kind == "rabbit" else []
        layers += [
            Layer([oval(0.5, 0.74, 0.26, 0.26)], "base"),
            Layer([oval(0.47, 0.76, 0.13, 0.17)], "light", False),
            Layer([oval(0.34, 0.95, 0.12, 0.065), oval(0.66, 0.95, 0.12, 0.065)], "base"),
        ]
        neck, width = (x, y + 0.225), 0.2
    else:
        legs = [bar(a, 0.72, a + 0.11, 1.0) for a in (0.3, 0.45, 0.66, 0.8)]
        layers += [Layer([oval(0.93, 0.62, 0.085, 0.085)], "white")] if kind == "rabbit" else []
        layers += [
            Layer([oval(0.6, 0.69, 0.32, 0.19), *legs, *_TAILS.get(kind, [])], "base"),
            Layer([oval(0.6, 0.8, 0.2, 0.06)], "light", False),
        ]
        neck, width = (x + 0.05, y + 0.23), 0.19
    layers += _scarf(*neck, width) if accessory == "scarf" else []
    layers += front
    # The scarf lies under the chin, over the body; the hat sits on the skull, between the ears.
    layers += _hat(x, y - 0.16) if accessory == "hat" else []
    return layers


def _owl(pose: str, accessory: str) -> list[Layer]:
    standing = pose == "standing"
    feet = [
        bar(0.36, 0.9, 0.43, 1.04),
        bar(0.57, 0.9, 0.64, 1.04),
        oval(0.37, 1.04, 0.09, 0.04),
        oval(0.61, 1.04, 0.09, 0.04),
    ]
    tufts = [[(0.5 + s * 0.33, 0.3), (0.5 + s * 0.31, -0.01), (0.5 + s * 0.08, 0.16)] for s in (-1, 1)]
    layers = [Layer(feet, "beak")] if standing else []
    layers += [
        Layer([oval(0.5, 0.56, 0.36, 0.41), *tufts], "base"),
        Layer([oval(0.47, 0.74, 0.2, 0.19)], "pale", False),
        Layer([oval(0.16, 0.64, 0.085, 0.25, 12), oval(0.84, 0.64, 0.085, 0.25, -12)], "dark"),
        *(_scarf(0.5, 0.58, 0.3) if accessory == "scarf" else []),
        Layer([oval(0.31, 0.36, 0.165, 0.165), oval(0.61, 0.36, 0.165, 0.165)], "white"),
        Layer([oval(0.3, 0.36, 0.075, 0.085), oval(0.58, 0.36, 0.075, 0.085)], "ink", False),
        Layer([[(0.39, 0.42), (0.53, 0.42), (0.455, 0.58)]], "beak"),
        *(_hat(0.5, 0.15) if accessory == "hat" else []),
    ]
    return layers


def _frog(pose: str, accessory: str) -> list[Layer]:
    standing = pose == "standing"
    x = 0.48
    bulges = [oval(x + s * 0.21, 0.13, 0.135, 0.13) for s in (-1, 1)]
    if standing:
        body = [
            oval(0.5, 0.66, 0.24, 0.24),
            bar(0.33, 0.8, 0.44, 1.0),
            bar(0.56, 0.8, 0.67, 1.0),
            oval(0.33, 1.0, 0.13, 0.05),
            oval(0.67, 1.0, 0.13, 0.05),
        ]
    else:
        body = [
            oval(0.5, 0.68, 0.28, 0.2),
            oval(0.19, 0.74, 0.13, 0.16, 20),
            oval(0.81, 0.74, 0.13, 0.16, -20),
            oval(0.16, 0.87, 0.17, 0.05),
            oval(0.84, 0.87, 0.17, 0.05),
        ]
    return [
        Layer(body, "base"),
        Layer([oval(0.5, 0.7, 0.15, 0.15)], "pale", False),
        *(_scarf(0.5, 0.55, 0.24) if accessory == "scarf" else []),
        Layer([oval(x, 0.33, 0.4, 0.21), *bulges], "base"),
        Layer([oval(x + s * 0.21 - 0.02, 0.12, 0.085, 0.085) for s in (-1, 1)], "white", False),
        Layer([oval(x + s * 0.21 - 0.04, 0.12, 0.045, 0.055) for s in (-1, 1)], "ink", False),
        Layer(
            [
                [
                    (x - 0.3, 0.34),
                    (x - 0.1, 0.41),
                    (x + 0.06, 0.41),
                    (x + 0.24, 0.34),
                    (x + 0.06, 0.455),
                    (x - 0.1, 0.455),
                ]
            ],
            "ink",
            False,
        ),
        *(_hat(x, 0.13) if accessory == "hat" else []),
    ]


def _house() -> list[Layer]:
    return [
        Layer([bar(0.7, 0.02, 0.82, 0.4)], "dark"),
        Layer([bar(0.12, 0.42, 0.88, 1.0)], "base"),
        Layer([[(0.0, 0.48), (0.5, 0.0), (1.0, 0.48)]], "dark"),
        Layer([bar(0.2, 0.6, 0.44, 1.0)], "ink", False),
        Layer([bar(0.56, 0.6, 0.8, 0.82)], "white"),
        Layer([bar(0.66, 0.61, 0.7, 0.81)], "ink", False),
    ]


def _tree() -> list[Layer]:
    return [
        Layer([[(0.42, 0.55), (0.58, 0.55), (0.64, 1.0), (0.36, 1.0)]], "trunk"),
        Layer(
            [
                oval(0.5, 0.22, 0.25, 0.22),
                oval(0.27, 0.45, 0.25, 0.22),
                oval(0.73, 0.45, 0.25, 0.22),
                oval(0.5, 0.5, 0.24, 0.2),
            ],
            "base",
        ),
        Layer([oval(0.4, 0.2, 0.09, 0.07), oval(0.2, 0.42, 0.08, 0.06), oval(0.66, 0.4, 0.08, 0.06)], "light", False),
    ]


def _ball() -> list[Layer]:
    return [
        Layer([oval(0.5, 0.5, 0.5, 0.5)], "base"),
        Layer([oval(0.5, 0.5, 0.47, 0.14, -25)], "white", False),
        Layer([oval(0.33, 0.24, 0.1, 0.07, -30)], "pale", False),
    ]


def _car() -> list[Layer]:
    wheels = [(0.26, 0.6), (0.78, 0.6)]
    return [
        Layer(
            [
                [(0.3, 0.3), (0.42, 0.02), (0.82, 0.02), (0.92, 0.3)],
                [(0.0, 0.36), (0.08, 0.28), (1.0, 0.28), (1.0, 0.62), (0.0, 0.62)],
            ],
            "base",
        ),
        Layer(
            [
                [(0.38, 0.28), (0.46, 0.08), (0.58, 0.08), (0.58, 0.28)],
                [(0.65, 0.28), (0.65, 0.08), (0.79, 0.08), (0.85, 0.28)],
            ],
            "glass",
            False,
        ),
        Layer([oval(0.06, 0.42, 0.055, 0.06)], "white", False),
        Layer([oval(x, y, 0.13, 0.13) for x, y in wheels], "ink", False),
        Layer([oval(x, y, 0.055, 0.055) for x, y in wheels], "white", False),
    ]


def _boat() -> list[Layer]:
    return [
        Layer([bar(0.48, 0.0, 0.53, 0.72)], "trunk", False),
        Layer([[(0.45, 0.04), (0.45, 0.6), (0.08, 0.6)]], "white"),
        Layer([[(0.56, 0.12), (0.56, 0.6), (0.88, 0.6)]], "base"),
        Layer([[(0.0, 0.66), (1.0, 0.66), (0.84, 1.0), (0.18, 1.0)]], "base"),
        Layer([[(0.05, 0.72), (0.96, 0.72), (0.93, 0.79), (0.09, 0.79)]], "pale", False),
    ]


_THINGS = {"house": _house, "tree": _tree, "ball": _ball, "car": _car, "boat": _boat}


def layers(kind: str, pose: str, accessory: str) -> list[Layer]:
    """The layers of one kind, bottom first. Things ignore pose and accessory.

    Raises:
        ValueError: unknown kind.
    """
    if kind in _THINGS:
        return _THINGS[kind]()
    if kind == "owl":
        return _owl(pose, accessory)
    if kind == "frog":
        return _frog(pose, accessory)
    return _walker(kind, pose, accessory)


def bounds(drawing: list[Layer]) -> tuple[float, float, float, float]:
    """The drawing's extent (x0, y0, x1, y1) in its own plane."""
    points = [point for layer in drawing for polygon in layer.polygons for point in polygon]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return min(xs), min(ys), max(xs), max(ys)

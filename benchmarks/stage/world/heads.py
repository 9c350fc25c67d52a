"""Heads of the world's creatures in a plane of their own: the skull is about one unit in radius around (0, 0), the face
looks at the reader and a little to the left.
"""

from stage.world.shapes import Layer, Polygon, arc, bar, oval, smooth


def eyes(x: float, y: float, gap: float, size: float, asleep: bool) -> list[Layer]:
    """Two eyes `gap` to each side of (x, y); closed ones are two arcs."""
    if asleep:
        return [
            Layer([arc(x + s * gap, y, 1.25 * size, 0.8 * size, 0, 180, 0.5 * size) for s in (-1, 1)], "mark", False)
        ]
    dark = [oval(x + s * gap, y, size, size * 1.25) for s in (-1, 1)]
    shine = [oval(x + s * gap - 0.3 * size, y - 0.45 * size, 0.42 * size, 0.42 * size) for s in (-1, 1)]
    return [Layer(dark, "mark", False), Layer(shine, "shine", False)]


def _pair(*points: tuple[float, float]) -> list[Polygon]:
    """A polygon and its mirror image."""
    return [list(points), [(-x, y) for x, y in points]]


def _fox(asleep: bool) -> list[Layer]:
    ears = _pair((-0.92, -0.2), (-0.95, -1.55), (-0.08, -0.62))
    tips = _pair((-0.78, -0.62), (-0.86, -1.28), (-0.4, -0.72))
    skull = smooth(
        [(-1.25, 0.3), (-0.72, -0.55), (0, -0.78), (0.72, -0.55), (1.25, 0.3), (0.5, 0.72), (-0.15, 1.0), (-0.7, 0.72)]
    )
    cheeks = smooth(
        [
            (-1.12, 0.32),
            (-0.62, 0.24),
            (-0.15, 0.42),
            (0.4, 0.24),
            (1.12, 0.32),
            (0.45, 0.66),
            (-0.15, 0.93),
            (-0.7, 0.66),
        ]
    )
    return [
        Layer(ears, "base"),
        Layer(tips, "mark", False),
        Layer([skull], "base", True, True),
        Layer([cheeks], "white", False),
        *eyes(-0.12, 0.02, 0.44, 0.16, asleep),
        Layer([oval(-0.18, 0.72, 0.2, 0.16)], "mark", False),
    ]


def _cat(asleep: bool) -> list[Layer]:
    ears = _pair((-0.95, 0.0), (-0.88, -1.18), (-0.15, -0.7))
    inner = _pair((-0.78, -0.42), (-0.77, -0.92), (-0.42, -0.7))
    whiskers = [
        [(s * 0.5 - 0.1, 0.36 + 0.04), (s * 1.4 - 0.05, 0.3 + d), (s * 1.4 - 0.05, 0.37 + d), (s * 0.5 - 0.1, 0.46)]
        for s in (-1, 1)
        for d in (-0.14, 0.16)
    ]
    return [
        Layer(ears, "base"),
        Layer(inner, "tongue", False),
        Layer([oval(0, 0, 1.05, 0.84)], "base", True, True),
        *eyes(-0.12, -0.08, 0.42, 0.18, asleep),
        Layer([oval(-0.3, 0.42, 0.24, 0.19), oval(0.06, 0.42, 0.24, 0.19)], "white", False),
        Layer(whiskers, "mark", False),
        Layer([[(-0.26, 0.22), (0.02, 0.22), (-0.12, 0.4)]], "mark", False),
    ]


def _dog(asleep: bool) -> list[Layer]:
    ears = [oval(-0.78, 0.08, 0.3, 0.74, 14), oval(0.86, 0.08, 0.32, 0.78, -14)]
    tongue = (
        []
        if asleep
        else [Layer([smooth([(-0.5, 0.7), (-0.2, 0.7), (-0.2, 1.1), (-0.36, 1.2), (-0.52, 1.1)])], "tongue")]
    )
    return [
        Layer([oval(0, -0.08, 0.86, 0.84)], "base", True, True),
        Layer(ears, "dark"),
        *eyes(-0.16, -0.28, 0.34, 0.16, asleep),
        *tongue,
        Layer(
            [smooth([(-0.98, 0.3), (-0.6, 0.02), (0.0, 0.06), (0.32, 0.4), (0.1, 0.78), (-0.6, 0.86), (-1.0, 0.66)])],
            "white",
        ),
        Layer([oval(-0.72, 0.26, 0.27, 0.2)], "mark", False),
    ]


def _rabbit(asleep: bool) -> list[Layer]:
    # Ears lie back over the shoulder in sleep.
    where = [(0.55, -0.75, 62), (0.95, -0.35, 76)] if asleep else [(-0.42, -1.3, -9), (0.42, -1.3, 9)]
    return [
        Layer([oval(x, y, 0.31, 0.95, t) for x, y, t in where], "base"),
        Layer([oval(x, y, 0.15, 0.7, t) for x, y, t in where], "tongue", False),
        Layer([oval(0, 0.05, 0.92, 0.8)], "base", True, True),
        *eyes(-0.14, -0.06, 0.4, 0.18, asleep),
        Layer([oval(-0.34, 0.4, 0.24, 0.18), oval(0.06, 0.4, 0.24, 0.18)], "white", False),
        Layer([bar(-0.24, 0.46, -0.04, 0.74)], "white"),
        Layer([oval(-0.14, 0.27, 0.14, 0.1)], "mark", False),
    ]


def _bear(asleep: bool) -> list[Layer]:
    return [
        Layer([oval(s * 0.76, -0.7, 0.42, 0.42) for s in (-1, 1)], "base"),
        Layer([oval(s * 0.76, -0.7, 0.2, 0.2) for s in (-1, 1)], "dark", False),
        Layer([oval(0, 0, 1.08, 0.92)], "base", True, True),
        *eyes(-0.16, -0.22, 0.42, 0.13, asleep),
        Layer([oval(-0.18, 0.38, 0.5, 0.4)], "pale", False),
        Layer([oval(-0.2, 0.2, 0.24, 0.16)], "mark", False),
        Layer([arc(-0.2, 0.42, 0.2, 0.16, 20, 160, 0.08)], "mark", False),
    ]


def _mouse(asleep: bool) -> list[Layer]:
    ears = [(-0.8, -0.72), (0.9, -0.72)]
    return [
        Layer([oval(x, y, 0.78, 0.78) for x, y in ears], "base"),
        Layer([oval(x, y, 0.5, 0.5) for x, y in ears], "tongue", False),
        Layer(
            [smooth([(-1.25, 0.5), (-0.75, -0.2), (0, -0.62), (0.7, -0.3), (0.85, 0.3), (0.4, 0.75), (-0.6, 0.75)])],
            "base",
            True,
            True,
        ),
        *eyes(-0.2, 0.02, 0.36, 0.16, asleep),
        Layer([oval(-1.16, 0.46, 0.17, 0.15)], "mark", False),
    ]


def _dragon(asleep: bool) -> list[Layer]:
    horns = [
        smooth([(-0.5, -0.5), (-0.72, -1.0), (-0.5, -1.45), (-0.28, -1.0), (-0.08, -0.62)]),
        smooth([(0.3, -0.6), (0.4, -1.0), (0.82, -1.4), (0.8, -0.9), (0.68, -0.4)]),
    ]
    frill = [[(0.6, -0.3), (1.3, -0.42), (0.98, 0.0), (1.3, 0.35), (0.6, 0.45)]]
    return [
        Layer(horns, "beak"),
        Layer(frill, "dark"),
        Layer(
            [
                smooth(
                    [
                        (-1.5, 0.32),
                        (-1.2, 0.02),
                        (-0.75, -0.1),
                        (-0.55, -0.55),
                        (0.05, -0.8),
                        (0.7, -0.5),
                        (0.82, 0.2),
                        (0.4, 0.72),
                        (-0.7, 0.84),
                        (-1.4, 0.74),
                    ]
                )
            ],
            "base",
            True,
            True,
        ),
        *eyes(-0.14, -0.22, 0.33, 0.17, asleep),
        Layer([oval(-1.3, 0.25, 0.08, 0.11), oval(-1.02, 0.2, 0.08, 0.11)], "mark", False),
        Layer([[(-1.42, 0.5), (-0.3, 0.5), (-0.3, 0.58), (-1.42, 0.58)]], "mark", False),
        Layer(
            [[(-1.2, 0.56), (-0.96, 0.56), (-1.08, 0.78)], [(-0.72, 0.56), (-0.48, 0.56), (-0.6, 0.78)]], "white", False
        ),
    ]


def _turtle(asleep: bool) -> list[Layer]:
    return [
        Layer([oval(0, 0, 1.0, 0.9)], "light"),
        *eyes(-0.3, -0.15, 0.36, 0.2, asleep),
        Layer([arc(-0.3, 0.26, 0.42, 0.24, 15, 165, 0.12)], "mark", False),
    ]


def _robot(asleep: bool) -> list[Layer]:
    # A dark visor with two lamps; in sleep the lamps are slits.
    lamps = [oval(x, -0.05, 0.18, 0.05 if asleep else 0.18) for x in (-0.46, 0.32)]
    return [
        Layer([bar(-0.08, -1.3, 0.08, -0.7)], "slate"),
        Layer([oval(0, -1.42, 0.24, 0.24)], "beak"),
        Layer([bar(-1.22, -0.25, -0.9, 0.25), bar(0.9, -0.25, 1.22, 0.25)], "slate"),
        Layer([bar(-1, -0.78, 1, 0.8)], "base", True, True),
        Layer([bar(-0.84, -0.38, 0.7, 0.28)], "slate", True),
        Layer(lamps, "glass", False),
        Layer([bar(-0.6, 0.46, 0.46, 0.6)], "mark", False),
    ]


# Per species: how to draw the head, and where its top, eyes and chin are (for hats, glasses and scarves).
HEADS = {
    "fox": (_fox, -0.7, (-0.12, 0.02, 0.44)),
    "cat": (_cat, -0.75, (-0.12, -0.08, 0.42)),
    "dog": (_dog, -0.82, (-0.16, -0.28, 0.36)),
    "rabbit": (_rabbit, -0.65, (-0.14, -0.06, 0.4)),
    "bear": (_bear, -0.82, (-0.16, -0.22, 0.42)),
    "mouse": (_mouse, -0.5, (-0.2, 0.02, 0.38)),
    "dragon": (_dragon, -0.7, (-0.14, -0.22, 0.36)),
    "turtle": (_turtle, -0.8, (-0.3, -0.15, 0.38)),
    "robot": (_robot, -0.72, (-0.06, -0.04, 0.42)),
}

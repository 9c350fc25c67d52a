"""The world's fourteen things, each a few flat shapes around one large patterned body.

The unit plane and the facing are those of `shapes`. Fills other than the body's tones are "white", "ink", "slate",
"beak" (a warm yellow), "trunk", "glass" and "leaf".
"""

import math
from collections.abc import Callable

from stage.world.shapes import Layer, Polygon, bar, oval, smooth


def _house() -> list[Layer]:
    return [
        Layer([bar(0.68, 0.06, 0.81, 0.4)], "dark"),
        Layer([bar(0.12, 0.4, 0.9, 1.06)], "base", patterned=True),
        Layer([[(0.0, 0.46), (0.51, 0.0), (1.02, 0.46)]], "dark"),
        Layer([bar(0.22, 0.7, 0.41, 1.06)], "trunk"),
        Layer([bar(0.57, 0.6, 0.79, 0.8)], "glass"),
    ]


def _tree() -> list[Layer]:
    crown = [
        oval(0.5, 0.24, 0.28, 0.24),
        oval(0.26, 0.46, 0.26, 0.22),
        oval(0.74, 0.46, 0.26, 0.22),
        oval(0.5, 0.52, 0.28, 0.19),
    ]
    return [
        Layer([[(0.42, 0.6), (0.58, 0.6), (0.63, 1.06), (0.37, 1.06)]], "trunk"),
        Layer(crown, "base", patterned=True),
        Layer([oval(0.4, 0.18, 0.1, 0.06, -25), oval(0.18, 0.41, 0.08, 0.05, -25)], "light", False),
    ]


def _ball() -> list[Layer]:
    upper = [
        (x, 0.5 + 0.13 * math.sin(math.pi * (x - 0.02) / 0.96) - 0.05) for x in (0.012 + 0.0976 * i for i in range(11))
    ]
    lower = [(x, y + 0.19 - 0.09 * abs(x - 0.5) * 2) for x, y in reversed(upper)]
    tilt = math.radians(-24)
    band = [
        (
            0.5 + (x - 0.5) * math.cos(tilt) - (y - 0.5) * math.sin(tilt),
            0.5 + (x - 0.5) * math.sin(tilt) + (y - 0.5) * math.cos(tilt),
        )
        for x, y in upper + lower
    ]
    return [
        Layer([oval(0.5, 0.5, 0.5, 0.5)], "base", patterned=True),
        Layer([band], "white", False),
        Layer([oval(0.33, 0.21, 0.11, 0.065, -35)], "pale", False),
    ]


def _kite() -> list[Layer]:
    top, left, right, tip, cross = (0.42, 0.0), (0.0, 0.42), (0.94, 0.32), (0.6, 1.0), (0.48, 0.37)
    tail = [(0.6, 0.97), (0.66, 1.06), (0.76, 1.08), (0.86, 1.16), (0.98, 1.18)]
    cord = [*tail, *((x - 0.01, y + 0.04) for x, y in reversed(tail))]
    bows: list[Polygon] = []
    for x, y in ((0.75, 1.09), (0.97, 1.19)):
        bows += [
            [(x, y), (x - 0.1, y - 0.09), (x - 0.11, y + 0.06)],
            [(x, y), (x + 0.1, y - 0.06), (x + 0.09, y + 0.09)],
        ]
    return [
        Layer([cord], "ink", False),
        Layer(bows, "dark"),
        Layer([[top, right, tip, left]], "base", patterned=True),
        Layer([[left, cross, (0.48, 0.41)], [right, cross, (0.48, 0.41)]], "dark", False),
        Layer([[top, (0.46, 0.38), tip, (0.5, 0.38)]], "dark", False),
    ]


def _boat() -> list[Layer]:
    return [
        Layer([bar(0.475, 0.0, 0.525, 0.72)], "trunk"),
        Layer([[(0.43, 0.06), (0.43, 0.56), (0.1, 0.56)]], "white"),
        Layer([[(0.57, 0.06), (0.98, 0.56), (0.57, 0.56)]], "base", patterned=True),
        Layer(
            [
                smooth(
                    [
                        (0.0, 0.65),
                        (0.5, 0.67),
                        (1.06, 0.62),
                        (1.0, 0.82),
                        (0.86, 1.0),
                        (0.5, 1.02),
                        (0.2, 1.0),
                        (0.08, 0.85),
                    ]
                )
            ],
            "base",
            patterned=True,
        ),
    ]


def _car() -> list[Layer]:
    body = [(0.0, 0.42), (0.08, 0.32), (0.3, 0.28), (0.6, 0.28), (0.98, 0.3), (1.04, 0.4), (1.03, 0.62), (0.01, 0.62)]
    wheels = ((0.25, 0.62), (0.79, 0.62))
    return [
        Layer([[(0.26, 0.32), (0.4, 0.02), (0.8, 0.02), (0.95, 0.32)], body], "base", patterned=True),
        Layer([[(0.36, 0.28), (0.45, 0.08), (0.57, 0.08), (0.57, 0.28)]], "glass", False),
        Layer([[(0.63, 0.28), (0.63, 0.08), (0.76, 0.08), (0.85, 0.28)]], "glass", False),
        Layer([oval(0.06, 0.42, 0.055, 0.06)], "beak"),
        Layer([oval(x, y, 0.14, 0.14) for x, y in wheels], "ink", False),
        Layer([oval(x, y, 0.06, 0.06) for x, y in wheels], "glass", False),
    ]


def _lamp() -> list[Layer]:
    return [
        Layer([bar(0.43, 0.5, 0.53, 0.96)], "slate"),
        Layer([oval(0.48, 0.96, 0.26, 0.085)], "slate"),
        Layer([oval(0.48, 0.56, 0.11, 0.1)], "beak"),
        Layer([[(0.26, 0.0), (0.7, 0.0), (0.96, 0.55), (0.0, 0.55)]], "base", patterned=True),
        Layer([[(0.02, 0.49), (0.94, 0.49), (0.965, 0.555), (-0.005, 0.555)]], "dark", False),
    ]


def _book() -> list[Layer]:
    return [
        Layer([bar(0.04, 0.8, 0.8, 1.04)], "dark"),
        Layer([bar(0.1, 0.84, 0.8, 0.975)], "white", False),
        Layer([bar(0.0, 0.0, 0.8, 0.87)], "base", patterned=True),
        Layer([[(0.0, 0.0), (0.15, 0.0), (0.15, 0.87), (0.1, 0.91), (0.1, 1.04), (0.0, 0.98)]], "dark"),
        Layer([bar(0.28, 0.16, 0.67, 0.36)], "white"),
    ]


def _umbrella() -> list[Layer]:
    rim = [
        (0.0, 0.5),
        (0.02, 0.34),
        (0.12, 0.18),
        (0.28, 0.08),
        (0.5, 0.04),
        (0.72, 0.08),
        (0.88, 0.18),
        (0.98, 0.34),
        (1.0, 0.5),
    ]
    scallops = [(0.92, 0.455), (0.83, 0.44), (0.74, 0.455), (0.667, 0.5), (0.59, 0.455), (0.5, 0.44), (0.41, 0.455)]
    scallops += [(0.333, 0.5), (0.26, 0.455), (0.17, 0.44), (0.08, 0.455)]
    hook = [
        (0.47, 0.86),
        (0.47, 0.93),
        (0.42, 0.97),
        (0.36, 0.95),
        (0.34, 0.88),
        (0.27, 0.88),
        (0.29, 0.99),
        (0.41, 1.05),
    ]
    hook += [(0.53, 0.98), (0.54, 0.86)]
    return [
        Layer([bar(0.475, 0.0, 0.525, 0.88), hook], "trunk"),
        Layer([rim + scallops], "base", patterned=True),
        Layer([[(0.49, 0.05), (0.52, 0.05), (0.35, 0.48), (0.32, 0.48)]], "dark", False),
        Layer([[(0.48, 0.05), (0.51, 0.05), (0.68, 0.48), (0.65, 0.48)]], "dark", False),
    ]


def _cake() -> list[Layer]:
    icing = [(0.18, 0.31), (0.82, 0.31), (0.82, 0.41), (0.76, 0.47), (0.69, 0.42), (0.61, 0.5), (0.53, 0.42)]
    icing += [(0.44, 0.48), (0.36, 0.42), (0.27, 0.49), (0.18, 0.41)]
    return [
        Layer([oval(0.5, 0.97, 0.58, 0.08)], "glass"),
        Layer([bar(0.46, 0.13, 0.54, 0.34)], "white"),
        Layer([smooth([(0.5, -0.03), (0.55, 0.07), (0.5, 0.13), (0.45, 0.07)])], "beak"),
        Layer([bar(0.04, 0.6, 0.96, 0.96)], "base", patterned=True),
        Layer([bar(0.18, 0.31, 0.82, 0.62)], "base", patterned=True),
        Layer([icing], "white", False),
        Layer([bar(0.05, 0.87, 0.95, 0.95)], "dark", False),
    ]


def _flower() -> list[Layer]:
    petals = []
    for i in range(6):
        angle = 2 * math.pi * (i + 0.5) / 6
        petals.append(
            oval(0.5 + 0.26 * math.cos(angle), 0.42 + 0.26 * math.sin(angle), 0.2, 0.165, math.degrees(angle))
        )
    return [
        Layer([bar(0.465, 0.6, 0.535, 1.16)], "leaf"),
        Layer([oval(0.32, 1.02, 0.17, 0.075, 28), oval(0.68, 0.98, 0.17, 0.075, -28)], "leaf"),
        Layer([*petals, oval(0.5, 0.42, 0.2, 0.2)], "base", patterned=True),
        Layer([oval(0.5, 0.42, 0.13, 0.13)], "beak"),
    ]


def _star() -> list[Layer]:
    points = [
        (0.5 + radius * math.sin(math.pi * i / 5), 0.52 - radius * math.cos(math.pi * i / 5))
        for i in range(10)
        for radius in (0.52 if i % 2 == 0 else 0.27,)
    ]
    return [
        Layer([points], "base", patterned=True),
        Layer([[(0.47, 0.15), (0.5, 0.1), (0.5, 0.3), (0.42, 0.36), (0.4, 0.31)]], "light", False),
    ]


def _balloon() -> list[Layer]:
    string = [(0.39, 0.84), (0.43, 0.95), (0.35, 1.08), (0.42, 1.2), (0.38, 1.3)]
    return [
        Layer([[*string, *((x + 0.035, y) for x, y in reversed(string))]], "ink", False),
        Layer([[(0.4, 0.76), (0.48, 0.88), (0.32, 0.88)]], "dark"),
        Layer(
            [
                smooth(
                    [
                        (0.4, 0.0),
                        (0.68, 0.1),
                        (0.8, 0.36),
                        (0.68, 0.64),
                        (0.4, 0.82),
                        (0.12, 0.64),
                        (0.0, 0.36),
                        (0.12, 0.1),
                    ]
                )
            ],
            "base",
            patterned=True,
        ),
        Layer([oval(0.22, 0.24, 0.065, 0.13, 24)], "pale", False),
    ]


def _drum() -> list[Layer]:
    rim = [(0.5 + 0.5 * math.cos(math.pi * i / 10), 0.92 + 0.14 * math.sin(math.pi * i / 10)) for i in range(11)]
    shell = [*rim, (0.0, 0.36), (1.0, 0.36)]
    hoop = [*rim, *((x, y - 0.1) for x, y in reversed(rim))]
    return [
        Layer([shell], "base", patterned=True),
        Layer([hoop], "dark", False),
        Layer([oval(0.5, 0.36, 0.52, 0.15)], "dark"),
        Layer([oval(0.5, 0.345, 0.44, 0.105)], "white", False),
        Layer([[(0.16, 0.0), (0.22, -0.05), (0.6, 0.32), (0.55, 0.36)], oval(0.57, 0.34, 0.06, 0.05)], "trunk"),
        Layer([[(0.84, 0.0), (0.78, -0.05), (0.36, 0.28), (0.41, 0.32)], oval(0.39, 0.3, 0.06, 0.05)], "trunk"),
    ]


_THINGS: dict[str, Callable[[], list[Layer]]] = {
    "house": _house,
    "tree": _tree,
    "ball": _ball,
    "kite": _kite,
    "boat": _boat,
    "car": _car,
    "lamp": _lamp,
    "book": _book,
    "umbrella": _umbrella,
    "cake": _cake,
    "flower": _flower,
    "star": _star,
    "balloon": _balloon,
    "drum": _drum,
}


def thing_layers(kind: str) -> list[Layer]:
    """The layers of one thing, bottom first; things have one pose and wear nothing.

    Raises:
        KeyError: not a thing of `vocabulary.THINGS`.
    """
    return _THINGS[kind]()

"""The twelve creatures in four poses, facing left; here those of their own build: owl, penguin, frog, turtle, robot."""

from stage.world.heads import HEADS, eyes
from stage.world.shapes import Layer, arc, bar, oval, placed, ribbon, smooth
from stage.world.walkers import leg, walker
from stage.world.wear import Anchors, Figure, dressed


def _owl(pose: str) -> Figure:
    asleep, run = pose == "sleeping", pose == "running"
    high = {"standing": 0.0, "sitting": 0.06, "running": 0.0, "sleeping": 0.12}[pose]
    y = 0.36 + high
    feet = [] if pose in ("sitting", "sleeping") else [bar(0.34, 0.86, 0.4, 1.14), bar(0.56, 0.86, 0.62, 1.14)]
    feet = (
        [
            [(0.3, 0.84), (0.37, 0.84), (0.26, 1.02), (0.19, 1.02)],
            [(0.6, 0.84), (0.67, 0.84), (0.82, 0.98), (0.75, 1.0)],
        ]
        if run
        else feet
    )
    toes = {
        "standing": [oval(0.34, 1.13, 0.11, 0.045), oval(0.57, 1.13, 0.11, 0.045)],
        "running": [oval(0.2, 1.03, 0.1, 0.04), oval(0.77, 1.01, 0.1, 0.04)],
        "sitting": [oval(0.34, 0.97, 0.12, 0.05), oval(0.6, 0.97, 0.12, 0.05)],
        "sleeping": [],
    }[pose]
    wings = [oval(0.16, 0.64, 0.09, 0.25, 12), oval(0.84, 0.64, 0.09, 0.25, -12)]
    if run:
        wings = [
            smooth([(0.22, 0.5), (-0.02, 0.36), (-0.3, 0.12), (-0.26, 0.5), (0.0, 0.74), (0.24, 0.74)]),
            smooth([(0.78, 0.5), (1.02, 0.36), (1.3, 0.12), (1.26, 0.5), (1.0, 0.74), (0.76, 0.74)]),
        ]
    if asleep:
        wings = [oval(0.1, 0.78, 0.1, 0.2, 4), oval(0.9, 0.78, 0.1, 0.2, -4)]
    body = oval(0.5, 0.7, 0.42, 0.29) if asleep else oval(0.5, 0.56 + high / 2, 0.36, 0.41 - high / 3)
    lift = 0.05 if asleep else 0.0
    tufts = [
        [(0.5 + s * 0.34, y + 0.02), (0.5 + s * 0.36, y - 0.36 + lift), (0.5 + s * 0.06, y - 0.2)] for s in (-1, 1)
    ]
    discs = [oval(0.3, y, 0.19, 0.19), oval(0.63, y, 0.19, 0.19)]
    face = [Layer(discs, "white")]
    face += eyes(0.455, y, 0.16, 0.085, asleep)
    head = [*face, Layer([[(0.38, y + 0.08), (0.53, y + 0.08), (0.455, y + 0.25)]], "beak")]
    drawn = [
        *([Layer([*feet, *toes], "beak")] if feet or toes else []),
        *([Layer(wings, "base", True, True)] if run else []),
        Layer([*tufts], "base", True, True),
        Layer([body], "base", True, True),
        Layer([oval(0.47, 0.78, 0.17, 0.12)], "pale", False),
        *([] if run else [Layer(wings, "base", True, True)]),
    ]
    return Figure(
        drawn, head, Anchors((0.5, y - 0.19, 0.19), (0.465, y, 0.165), (0.47, y + 0.3, 0.27), (0.9, 0.66, 0.19))
    )


def _penguin(pose: str) -> Figure:
    if pose == "sleeping":
        body = smooth(
            [(0.1, 0.72), (0.3, 0.5), (0.75, 0.42), (1.15, 0.62), (1.3, 0.86), (1.0, 0.98), (0.4, 0.98), (0.12, 0.92)]
        )
        drawn = [
            Layer([oval(1.3, 0.93, 0.13, 0.05)], "beak"),
            Layer([body], "base", True, True),
            Layer([smooth([(0.3, 0.9), (0.6, 0.84), (1.05, 0.9), (0.95, 0.97), (0.45, 0.97)])], "white", False),
            Layer([oval(0.85, 0.66, 0.24, 0.085, 24)], "base", True, True),
        ]
        x, y, r = 0.26, 0.66, 0.24
        neck, pack = (0.42, 0.86, 0.2), (0.78, 0.42, 0.19)
    else:
        sit, run = pose == "sitting", pose == "running"
        x, y, r = (0.4, 0.28, 0.25) if run else (0.5, 0.28 + 0.08 * sit, 0.25)
        low = 0.96
        mid = (y + low) / 2 + 0.1
        body = smooth(
            [
                (x - 0.2, y + 0.05),
                (x + 0.2, y + 0.05),
                (x + 0.32 + 0.1 * run, mid + 0.08),
                (0.68 + 0.08 * run, low),
                (0.34 + 0.06 * run, low),
                (x - 0.3 + 0.06 * run, mid + 0.08),
            ]
        )
        belly = smooth(
            [
                (x - 0.16, y + 0.24),
                (x + 0.12, y + 0.24),
                (x + 0.2 + 0.08 * run, mid + 0.1),
                (0.58 + 0.06 * run, low - 0.03),
                (0.36 + 0.06 * run, low - 0.03),
                (x - 0.22 + 0.06 * run, mid + 0.1),
            ]
        )
        flippers = [oval(0.14, 0.62, 0.075, 0.22, 28), oval(0.86, 0.62, 0.075, 0.22, -28)]
        feet = [oval(0.36, 0.99, 0.13, 0.05), oval(0.62, 0.99, 0.13, 0.05)]
        if sit:
            flippers = [oval(0.17, 0.7, 0.075, 0.2, 12), oval(0.83, 0.7, 0.075, 0.2, -12)]
            feet = [oval(0.26, 0.93, 0.11, 0.13, -14), oval(0.74, 0.93, 0.11, 0.13, 14)]
        if run:
            flippers = [oval(0.78, 0.5, 0.075, 0.24, -66), oval(0.86, 0.66, 0.075, 0.22, -56)]
            feet = [oval(0.24, 1.0, 0.14, 0.05), oval(0.86, 0.93, 0.13, 0.05, -40)]
        drawn = [
            *([Layer(feet, "beak")] if not sit else []),
            Layer(flippers, "base", True, True),
            Layer([body], "base", True, True),
            Layer([belly], "white", False),
            *([Layer(feet, "beak")] if sit else []),
        ]
        neck, pack = (x - 0.02, y + 0.24, 0.2), (x + 0.36, 0.6, 0.19)
    beak = smooth([(x - 0.3, y + 0.07), (x - 0.1, y - 0.03), (x + 0.06, y + 0.06), (x - 0.06, y + 0.14)])
    mask = [oval(x - 0.14, y + 0.0, 0.11, 0.12), oval(x + 0.06, y + 0.0, 0.11, 0.12)]
    head = [
        Layer([oval(x, y, r, 0.9 * r)], "base", True, True),
        Layer(mask, "white", False),
        *[
            layer._replace(fill={"mark": "ink", "shine": "chalk"}[layer.fill])
            for layer in eyes(x - 0.05, y - 0.02, 0.1, 0.04, pose == "sleeping")
        ],
        Layer([beak], "beak"),
    ]
    return Figure(drawn, head, Anchors((x, y - 0.8 * r, 0.15), (x - 0.05, y - 0.02, 0.1), neck, pack))


def _frog(pose: str) -> Figure:
    x, y = 0.48, 0.33
    if pose == "standing":
        body = [
            oval(0.5, 0.66, 0.22, 0.24),
            *(bar(0.34, 0.8, 0.44, 1.1), bar(0.56, 0.8, 0.66, 1.1)),
            *(oval(0.32, 1.1, 0.15, 0.045), oval(0.68, 1.1, 0.15, 0.045)),
            *(oval(0.24, 0.68, 0.06, 0.17, 32), oval(0.76, 0.68, 0.06, 0.17, -32)),
        ]
        belly, neck, pack = oval(0.48, 0.7, 0.13, 0.14), (0.48, 0.53, 0.26), (0.78, 0.62, 0.18)
    elif pose == "sitting":
        body = [
            *(oval(0.5, 0.68, 0.28, 0.22), oval(0.16, 0.74, 0.13, 0.19, 24), oval(0.84, 0.74, 0.13, 0.19, -24)),
            *(oval(0.12, 0.9, 0.19, 0.05), oval(0.88, 0.9, 0.19, 0.05)),
            *(
                bar(0.36, 0.7, 0.43, 0.9),
                bar(0.57, 0.7, 0.64, 0.9),
                oval(0.37, 0.91, 0.09, 0.04),
                oval(0.63, 0.91, 0.09, 0.04),
            ),
        ]
        belly, neck, pack = oval(0.49, 0.7, 0.13, 0.14), (0.48, 0.53, 0.26), (0.86, 0.56, 0.18)
    elif pose == "running":
        # A leap: the hind legs stretch out behind.
        body = [
            oval(0.78, 0.56, 0.36, 0.2, 14),
            *(
                ribbon([(1.0, 0.58), (1.26, 0.5), (1.1, 0.78), (1.45, 0.86)], [0.16, 0.14, 0.11, 0.09]),
                oval(1.5, 0.86, 0.14, 0.05, 10),
            ),
            *(ribbon([(0.62, 0.62), (0.5, 0.82), (0.3, 0.86)], [0.12, 0.1, 0.08]), oval(0.26, 0.87, 0.1, 0.045)),
        ]
        belly, neck, pack = oval(0.72, 0.68, 0.22, 0.06, 16), (0.55, 0.52, 0.22), (0.9, 0.36, 0.18)
    else:
        y = 0.62
        body = [
            *(oval(0.72, 0.78, 0.44, 0.2), oval(1.02, 0.82, 0.2, 0.14, -8), oval(1.1, 0.955, 0.2, 0.045)),
            oval(0.5, 0.955, 0.16, 0.045),
        ]
        belly, neck, pack = oval(0.8, 0.9, 0.2, 0.05), (0.6, 0.82, 0.22), (0.9, 0.56, 0.16)
    asleep = pose == "sleeping"
    bulges = [oval(x + s * 0.21, y - 0.2, 0.135, 0.13) for s in (-1, 1)]
    balls = [oval(x + s * 0.21 - 0.015, y - 0.21, 0.095, 0.095) for s in (-1, 1)]
    mouth = [arc(x - 0.05, y - 0.03, 0.3, 0.12, 8, 172, 0.04)]
    look = eyes(x - 0.02, y - 0.22, 0.21, 0.055, asleep)
    head = [
        Layer([oval(x, y, 0.41, 0.21), *bulges], "base", True, True),
        *([] if asleep else [Layer(balls, "chalk", False)]),
        *(look if asleep else [p._replace(fill={"mark": "ink", "shine": "chalk"}[p.fill]) for p in look]),
        Layer(mouth, "mark", False),
    ]
    return Figure(
        [Layer(body, "base", True, True), Layer([belly], "pale", False)],
        head,
        Anchors((x, y - 0.17, 0.15), (x - 0.02, y - 0.21, 0.2), neck, pack),
    )


def _turtle(pose: str) -> Figure:
    draw, top, (eye_x, eye_y, gap) = HEADS["turtle"]
    r = 0.23
    dome = smooth([(0.22, 0.82), (0.3, 0.5), (0.55, 0.26), (0.9, 0.24), (1.2, 0.46), (1.32, 0.82), (0.77, 0.87)])
    rim = [
        smooth(
            [
                (0.16, 0.78),
                (0.3, 0.74),
                (0.77, 0.79),
                (1.24, 0.74),
                (1.38, 0.78),
                (1.24, 0.88),
                (0.77, 0.91),
                (0.3, 0.88),
            ]
        )
    ]
    plates = [arc(0.77, 0.86, 0.28, 0.5, 190, 350, 0.03), bar(0.755, 0.25, 0.785, 0.4)]
    if pose == "sitting":
        # Upright, the shell behind it.
        hx, hy = 0.45, 0.3
        shell = Layer([oval(0.58, 0.7, 0.42, 0.38)], "base", True, True)
        front = [
            Layer(
                [
                    oval(0.24, 0.68, 0.12, 0.055, -30),
                    oval(0.76, 0.68, 0.12, 0.055, 30),
                    oval(0.24, 1.02, 0.14, 0.07),
                    oval(0.7, 1.02, 0.14, 0.07),
                ],
                "light",
            ),
            Layer([oval(0.45, 0.75, 0.21, 0.25)], "pale"),
            Layer([bar(0.26, 0.74, 0.64, 0.765), bar(0.44, 0.52, 0.465, 0.98)], "dark", False),
        ]
        tip = [[(0.86, 0.94), (1.04, 1.04), (0.82, 1.05)]]
        body = [Layer(tip, "light"), shell, *front]
        neck, pack = (hx, hy + 0.22, 0.2), (0.92, 0.6, 0.19)
    else:
        hx, hy = {"standing": (0.1, 0.5), "running": (-0.12, 0.3), "sleeping": (0.1, 0.76)}[pose]
        legs = {
            "standing": [p for x in (0.36, 0.58, 0.94, 1.16) for p in leg(x, 0.8, x, 1.05, 0.14)],
            "running": [
                *(*leg(0.4, 0.78, 0.08, 1.08, 0.15), *leg(0.56, 0.8, 0.46, 1.2, 0.15)),
                *(*leg(0.98, 0.8, 1.12, 1.2, 0.15), *leg(1.14, 0.78, 1.46, 1.08, 0.15)),
            ],
            "sleeping": [oval(0.4, 0.93, 0.13, 0.05), oval(1.1, 0.93, 0.13, 0.05)],
        }[pose]
        throat = [ribbon([(hx + 0.05, hy + 0.02), (0.24, 0.74), (0.45, 0.78)], [0.2, 0.2, 0.2])]
        tip = [[(1.22, 0.76), (1.52, 0.9), (1.2, 0.9)]]
        body = [
            Layer([*throat, *legs, *tip], "light"),
            Layer([dome], "base", True, True),
            Layer(plates, "dark", False),
            Layer(rim, "dark"),
        ]
        neck = (hx + 0.1, hy + 0.22, 0.19)
        pack = (0.84, 0.2, 0.19)
    return Figure(
        body,
        placed(draw(pose == "sleeping"), hx, hy, r),
        Anchors((hx, hy + top * r, 0.7 * r), (hx + eye_x * r, hy + eye_y * r, gap * r), neck, pack),
    )


def _robot(pose: str) -> Figure:
    draw, top, (eye_x, eye_y, gap) = HEADS["robot"]
    r = 0.24
    if pose == "sleeping":
        hx, hy = 0.26, 0.74
        body = [
            Layer([bar(0.94, 0.76, 1.14, 0.88), bar(1.1, 0.62, 1.22, 0.95)], "slate"),
            Layer([bar(0.42, 0.56, 1.0, 0.95)], "base", True, True),
            Layer([bar(0.58, 0.82, 0.9, 0.92)], "slate"),
            Layer([oval(0.84, 0.68, 0.05, 0.05)], "beak", False),
        ]
        neck, pack = (0.42, 0.92, 0.15), (0.74, 0.47, 0.18)
    else:
        hx, hy = (0.44, 0.4) if pose == "running" else (0.5, 0.4)
        arms = {
            "standing": [bar(0.12, 0.64, 0.22, 0.94), bar(0.78, 0.64, 0.88, 0.94)],
            "sitting": [bar(0.14, 0.66, 0.24, 0.96), bar(0.76, 0.66, 0.86, 0.96)],
            "running": [
                ribbon([(0.3, 0.66), (0.1, 0.78), (-0.02, 0.6)], [0.1] * 3, steps=2),
                ribbon([(0.72, 0.66), (0.94, 0.78), (1.06, 0.94)], [0.1] * 3, steps=2),
            ],
        }[pose]
        legs = {
            "standing": [
                bar(0.33, 0.96, 0.44, 1.2),
                bar(0.56, 0.96, 0.67, 1.2),
                bar(0.24, 1.17, 0.46, 1.26),
                bar(0.5, 1.17, 0.72, 1.26),
            ],
            "sitting": [
                bar(0.08, 0.96, 0.46, 1.08),
                bar(0.54, 0.96, 0.92, 1.08),
                bar(0.02, 0.86, 0.13, 1.08),
                bar(0.87, 0.86, 0.98, 1.08),
            ],
            "running": [
                *(
                    [(0.34, 0.94), (0.45, 0.94), (0.24, 1.2), (0.12, 1.16)],
                    [(0.0, 1.14), (0.26, 1.2), (0.24, 1.28), (-0.02, 1.22)],
                ),
                *(
                    [(0.58, 0.94), (0.69, 0.94), (0.98, 1.1), (0.92, 1.2)],
                    [(0.98, 1.0), (1.07, 1.04), (0.98, 1.27), (0.9, 1.22)],
                ),
            ],
        }[pose]
        body = [
            Layer(legs, "slate"),
            Layer(arms, "base"),
            Layer([bar(0.26, 0.58, 0.74, 1.0)], "base", True, True),
            Layer([bar(0.34, 0.8, 0.58, 0.94)], "glass"),
            Layer([oval(0.66, 0.86, 0.045, 0.045)], "beak", False),
        ]
        neck, pack = (0.48, 0.64, 0.16), (0.84, 0.74, 0.16)
    return Figure(
        body,
        placed(draw(pose == "sleeping"), hx, hy, r),
        Anchors((hx, hy + top * r, 0.7 * r), (hx + eye_x * r, hy + eye_y * r, gap * r), neck, pack),
    )


_OTHERS = {"owl": _owl, "penguin": _penguin, "frog": _frog, "turtle": _turtle, "robot": _robot}


def creature_layers(kind: str, pose: str, accessory: str = "none") -> list[Layer]:
    """The layers of one creature, bottom first.

    Raises:
        KeyError: unknown kind, pose or accessory.
    """
    figure = _OTHERS[kind](pose) if kind in _OTHERS else walker(kind, pose)
    return dressed(figure._replace(anchors=figure.anchors._replace(asleep=pose == "sleeping")), accessory)

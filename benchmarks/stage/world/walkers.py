"""The seven four-legged creatures in four poses, facing left: bodies, tails and wings under the heads of `heads`."""

from typing import NamedTuple

from stage.world.heads import HEADS
from stage.world.shapes import Layer, Polygon, arc, oval, placed, ribbon, smooth
from stage.world.wear import Anchors, Figure

Drawing = list[Layer]


class Build(NamedTuple):
    """Proportions of a four-legged creature: body radii, leg width and length, head radius."""

    length: float
    height: float
    leg: float
    rise: float
    head: float


_BUILDS = {
    "fox": Build(0.30, 0.155, 0.085, 0.2, 0.255),
    "cat": Build(0.27, 0.155, 0.085, 0.17, 0.27),
    "dog": Build(0.30, 0.18, 0.11, 0.2, 0.28),
    "rabbit": Build(0.25, 0.21, 0.12, 0.07, 0.25),
    "bear": Build(0.37, 0.28, 0.18, 0.12, 0.3),
    "mouse": Build(0.2, 0.15, 0.06, 0.06, 0.26),
    "dragon": Build(0.32, 0.21, 0.14, 0.13, 0.28),
}


def leg(x0: float, y0: float, x1: float, y1: float, width: float) -> list[Polygon]:
    """A leg from the hip (x0, y0) to the ground at (x1, y1), with its paw pointing left."""
    half = width / 2
    return [
        [(x0 - half, y0), (x0 + half, y0), (x1 + half, y1 - 0.4 * half), (x1 - half, y1 - 0.4 * half)],
        oval(x1 - 0.25 * width, y1 - 0.35 * width, 0.75 * width, 0.35 * width),
    ]


def _tail(kind: str, x: float, y: float, pose: str) -> Drawing:
    """The tail of a four-legged creature, rooted at (x, y)."""
    # Local plane: the tail grows to the right and `turn` lifts it; sleepers curl theirs along their front.
    turn = {"standing": -48.0, "running": -14.0, "sitting": -30.0, "sleeping": -40.0, "curled": -6.0}[pose]
    if pose == "sleeping" and kind in ("fox", "cat", "mouse", "dragon"):
        return [
            layer._replace(polygons=[[(2 * x - u, v) for u, v in polygon] for polygon in layer.polygons])
            for layer in _tail(kind, x, y, "curled")
        ]
    if kind == "fox":
        bush = smooth([(-0.05, 0), (0.12, -0.1), (0.34, -0.16), (0.6, -0.04), (0.42, 0.13), (0.14, 0.09)])
        tip = smooth([(0.38, -0.13), (0.49, -0.11), (0.6, -0.04), (0.5, 0.08), (0.42, 0.11), (0.46, 0.02)])
        return placed([Layer([bush], "base"), Layer([tip], "white", False)], x, y, 1.0, turn=turn)
    if kind == "cat":
        return placed(
            [Layer([ribbon([(-0.05, 0), (0.14, 0.07), (0.3, 0.0), (0.36, -0.16), (0.46, -0.22)], [0.07] * 5)], "base")],
            *(x, y, 1.0),
            turn=turn * 0.75,
        )
    if kind == "dog":
        return placed(
            [Layer([ribbon([(-0.04, 0), (0.12, -0.02), (0.26, -0.09)], [0.1, 0.085, 0.05])], "base")],
            *(x, y, 1.0),
            turn=turn,
        )
    if kind == "rabbit":
        return [Layer([oval(x + 0.02, y - 0.02, 0.1, 0.1)], "white")]
    if kind == "bear":
        return [Layer([oval(x, y - 0.04, 0.07, 0.07)], "base")]
    if kind == "mouse":
        line = ribbon(
            [(-0.05, 0), (0.14, 0.06), (0.3, -0.04), (0.46, 0.02), (0.6, -0.08)], [0.055, 0.05, 0.045, 0.04, 0.03]
        )
        return placed([Layer([line], "tongue")], x, y, 1.0, turn=turn * 0.6)
    spine = ribbon([(-0.1, 0), (0.12, 0.06), (0.32, 0.02), (0.46, -0.14)], [0.2, 0.15, 0.1, 0.06])
    spikes = [[(0.02, -0.06), (0.09, -0.19), (0.16, -0.03)], [(0.18, -0.03), (0.27, -0.15), (0.31, -0.03)]]
    spade = [[(0.36, -0.1), (0.56, -0.32), (0.58, -0.02), (0.47, -0.1)]]
    return placed([Layer(spikes, "dark"), Layer([spine], "base"), Layer(spade, "dark")], x, y, 1.0, turn=turn * 0.4)


def _wing(x: float, y: float, scale: float, turn: float) -> Layer:
    """A dragon's wing: a scalloped fan that grows up and to the right from (x, y)."""
    fan = [
        *((0, 0), (-0.02, -0.42), (0.12, -0.85), (0.3, -0.62), (0.42, -0.58), (0.66, -0.72)),
        *((0.6, -0.46), (0.64, -0.34), (0.86, -0.26), (0.62, -0.12), (0.46, 0.0), (0.28, 0.06)),
    ]
    return placed([Layer([fan], "light")], x, y, scale, turn=turn)[0]


def walker(kind: str, pose: str) -> Figure:
    """A four-legged creature."""
    build = _BUILDS[kind]
    r, rx, ry, wide_leg = build.head, build.length, build.height, build.leg
    head, top, (eye_x, eye_y, gap) = HEADS[kind]
    if pose in ("standing", "running"):
        run = pose == "running"
        rx, ry = (1.12 * rx, 0.92 * ry) if run else (rx, ry)
        # Even the short-legged stretch their legs in a run.
        rise = max(build.rise, 0.13) if run else build.rise
        ground, hip = 1.0, 1.0 - rise
        cx, cy = 0.3 + 0.82 * rx + 0.08, hip - ry + 0.03 * ry
        front, back = cx - 0.62 * rx, cx + 0.66 * rx
        if run:
            lift = 0.05 + 0.25 * rise
            legs = [
                *leg(front, cy + 0.4 * ry, front - 0.75 * rise - 0.16, ground - lift, wide_leg),
                *leg(front + 0.12, cy + 0.5 * ry, front - 0.25 * rise, ground, wide_leg),
                *leg(back, cy + 0.3 * ry, back + 0.75 * rise + 0.16, ground - lift, wide_leg),
                *leg(back - 0.1, cy + 0.5 * ry, back + 0.3 * rise + 0.03, ground, wide_leg),
            ]
        else:
            legs = [
                p
                for x in (front, front + 1.25 * wide_leg, back - 1.25 * wide_leg, back)
                for p in leg(x, cy, x, ground, wide_leg)
            ]
        hx, hy = (0.3 - 0.05, cy - 0.62 * ry - 0.3 * r) if run else (0.3, cy - 0.5 * ry - 0.62 * r)
        tail = _tail(kind, cx + 0.9 * rx, cy - 0.15 * ry, pose)
        body = [*tail, Layer([*legs, oval(cx, cy, rx, ry, -4 if run else 0)], "base", True, True)]
        body.append(Layer([oval(cx - 0.05, cy + 0.66 * ry, 0.62 * rx, 0.26 * ry)], "light", False))
        neck = (hx + 0.32 * r, hy + 0.92 * r, 0.72 * r)
        pack = (cx + 0.22 * rx, cy - ry - 0.06, 0.19)
        if kind == "dragon":
            body.append(_wing(cx - 0.02, cy - 0.45 * ry, 0.8 if run else 0.75, 14 if run else -6))
            pack = (cx + 0.5 * rx, cy - 0.55 * ry, 0.18)
    elif pose == "sitting":
        wide = 0.08 + 0.6 * rx
        hx, hy = 0.48, 0.36
        cy = hy + 0.62 * r + 0.26
        ry = 0.29
        bottom = cy + ry
        tail = _tail(kind, hx + wide * 0.86, bottom - 0.1, pose)
        trunk = smooth(
            [
                (hx - 0.55 * wide, cy - ry),
                (hx + 0.6 * wide, cy - ry),
                (hx + 1.08 * wide, cy + 0.5 * ry),
                (hx + 0.8 * wide, bottom),
                (hx - 0.7 * wide, bottom),
                (hx - wide, cy + 0.5 * ry),
            ]
        )
        paws = [oval(hx + s * 0.52 * wide - 0.05, bottom - 0.02, 0.09 + 0.28 * wide_leg, 0.055) for s in (-1, 1)]
        body = [*tail]
        if kind == "dragon":
            body.append(_wing(hx + 0.45 * wide, cy - 0.08, 0.66, 12))
        body += [
            Layer([trunk], "base", True, True),
            Layer([oval(hx - 0.06, cy + 0.1 * ry, 0.5 * wide, 0.6 * ry)], "light", False),
            Layer(paws, "base"),
        ]
        neck = (hx - 0.02, hy + 0.95 * r, 0.74 * r)
        pack = (hx + 1.05 * wide, cy - 0.02, 0.19)
    else:
        r *= 0.94
        hx, hy = 0.28, 0.7
        rx, ry = 0.18 + 0.75 * rx, 0.155 + 0.65 * ry
        cx, cy = hx + 0.12 + 0.78 * rx, 1.0 - ry
        curled = kind in ("fox", "cat", "mouse", "dragon")
        tail = _tail(kind, cx + (0.86 if curled else 0.92) * rx, cy + (0.62 if curled else 0.2) * ry, pose)
        mound = smooth(
            [
                (cx - rx, cy + 0.3 * ry),
                (cx - 0.55 * rx, cy - 0.75 * ry),
                (cx + 0.1 * rx, cy - ry),
                (cx + 0.75 * rx, cy - 0.55 * ry),
                (cx + rx, cy + 0.4 * ry),
                (cx + 0.75 * rx, cy + ry),
                (cx - 0.75 * rx, cy + ry),
            ]
        )
        haunch = [arc(cx + 0.45 * rx, cy + 0.45 * ry, 0.36 * rx, 0.5 * ry, 180, 330, 0.022)]
        paws = [oval(hx - 0.06, 0.97, 0.11, 0.05), oval(hx + 0.16, 0.975, 0.11, 0.05)]
        mass = [Layer([mound], "base", True, True), Layer(haunch, "dark", False)]
        body = [*mass, *tail] if curled else [*tail, *mass]
        if kind == "dragon":
            body.append(_wing(cx - 0.05, cy - 0.3 * ry, 0.55, 22))
        body.append(Layer(paws, "base"))
        neck = (hx + 0.15, hy + 0.86 * r, 0.72 * r)
        pack = (cx + 0.25 * rx, cy - 0.92 * ry, 0.18)
    return Figure(
        body,
        placed(head(pose == "sleeping"), hx, hy, r),
        Anchors((hx, hy + top * r, 0.7 * r), (hx + eye_x * r, hy + eye_y * r, gap * r), neck, pack),
    )

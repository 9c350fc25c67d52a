"""What creatures wear: each accessory at the anchors of the creature's pose, in fixed colours."""

from typing import NamedTuple

from stage.world.shapes import Layer, arc, bar, oval, placed, smooth


class Anchors(NamedTuple):
    """Where accessories go, in the creature's plane: top of the head (x, y, scale), eyes (x, y, half distance), neck
    (x, y, half width), back (x, y, size).
    """

    head: tuple[float, float, float]
    eyes: tuple[float, float, float]
    neck: tuple[float, float, float]
    back: tuple[float, float, float]
    asleep: bool = False


class Figure(NamedTuple):
    """A creature without accessories: what lies under the head, the head, and where accessories go."""

    body: list[Layer]
    head: list[Layer]
    anchors: Anchors


def _hat(anchors: Anchors) -> list[Layer]:
    shape = [
        Layer([[(-0.5, 0.05), (-0.56, -0.95), (0.56, -0.95), (0.5, 0.05)], oval(0, 0.0, 0.95, 0.17)], "slate"),
        Layer([[(-0.51, -0.12), (-0.53, -0.42), (0.53, -0.42), (0.51, -0.12)]], "ribbon", False),
    ]
    return placed(shape, *anchors.head)


def _crown(anchors: Anchors) -> list[Layer]:
    points = [(-0.6, 0.1), (-0.72, -0.75), (-0.33, -0.3), (0, -0.9), (0.33, -0.3), (0.72, -0.75), (0.6, 0.1)]
    gems = [oval(x, -0.1, 0.1, 0.1) for x in (-0.35, 0, 0.35)]
    return placed([Layer([points], "gold"), Layer(gems, "ribbon", False)], *anchors.head)


def _glasses(anchors: Anchors) -> list[Layer]:
    x, y, gap = anchors.eyes
    r = 0.92 * gap
    rims = [oval(x + s * gap * 1.02, y, r, r) for s in (-1, 1)]
    lenses = [oval(x + s * gap * 1.02, y, 0.72 * r, 0.72 * r) for s in (-1, 1)]
    pupils = [oval(x + s * gap * 1.02 - 0.1 * r, y, 0.3 * r, 0.36 * r) for s in (-1, 1)]
    if anchors.asleep:
        pupils = [arc(x + s * gap * 1.02, y - 0.1 * r, 0.42 * r, 0.32 * r, 0, 180, 0.22 * r) for s in (-1, 1)]
    return [
        Layer([*rims, bar(x - 0.3 * gap, y - 0.12 * gap, x + 0.3 * gap, y + 0.12 * gap)], "ink", False),
        Layer(lenses, "glass", False),
        Layer(pupils, "ink", False),
    ]


def _scarf(anchors: Anchors) -> list[Layer]:
    band = [arc(0, -0.5, 1.0, 0.6, 8, 172, 0.42)]
    marks = [
        [(-0.72, -0.28), (-0.5, -0.16), (-0.6, 0.16), (-0.86, 0.04)],
        [(-0.1, -0.12), (0.14, -0.12), (0.14, 0.32), (-0.1, 0.32)],
    ]
    end = [(0.3, 0.05), (0.72, -0.08), (0.86, 0.95), (0.42, 1.0)]
    fringe = [(0.38, 0.56), (0.79, 0.5), (0.83, 0.74), (0.4, 0.79)]
    shape = [
        Layer([end], "chalk"),
        Layer([fringe], "ribbon", False),
        Layer(band, "chalk"),
        Layer(marks, "ribbon", False),
    ]
    return placed(shape, *anchors.neck)


def _bow_tie(anchors: Anchors) -> list[Layer]:
    wings = [smooth([(0, 0), (s * 0.72, -0.5), (s * 0.86, 0), (s * 0.72, 0.5)]) for s in (-1, 1)]
    shape = [Layer(wings, "ribbon"), Layer([oval(0, 0, 0.2, 0.24)], "chalk")]
    x, y, half = anchors.neck
    return placed(shape, x - 0.15 * half, y, half)


def _backpack(anchors: Anchors) -> list[Layer]:
    shape = [
        Layer([smooth([(-0.75, -0.8), (0.75, -0.8), (0.92, 0.85), (-0.92, 0.85)], steps=5)], "canvas"),
        Layer([smooth([(-0.62, 0.1), (0.62, 0.1), (0.66, 0.78), (-0.66, 0.78)], steps=5)], "trunk"),
        Layer([bar(-0.12, -0.35, 0.12, 0.3)], "chalk", False),
    ]
    return placed(shape, *anchors.back)


# Accessories drawn over the body but under the head, and those drawn over everything.
_UNDER = {"backpack": _backpack}
_OVER = {"hat": _hat, "crown": _crown, "glasses": _glasses, "scarf": _scarf, "bow tie": _bow_tie}


def dressed(figure: Figure, accessory: str) -> list[Layer]:
    """The figure's layers with its accessory ("none" for none), bottom first; KeyError for an unknown one."""
    if accessory == "none":
        return [*figure.body, *figure.head]
    if accessory in _UNDER:
        return [*figure.body, *_UNDER[accessory](figure.anchors), *figure.head]
    return [*figure.body, *figure.head, *_OVER[accessory](figure.anchors)]

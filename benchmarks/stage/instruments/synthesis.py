"""Analysis by synthesis (Yuille and Kersten 2006, doi:10.1016/j.tics.2006.05.002): a reading is drawn over the picture,
and its box and looks are moved to where the drawing fits best.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from stage.instruments.reading import Box
from stage.world.paint import paint, silhouette
from stage.world.scene import drawing_of
from stage.world.shapes import Layer, bounds
from stage.world.vocabulary import CREATURES, second_colours

Looks = dict[str, str | None]
Beliefs = Mapping[str, Mapping[str | None, float]]
Window = NDArray[np.float64]

# Pixels around the picture, and around a box, that are looked at too.
_PAD, _AROUND = 24, 3
# Distance in RGB (0..255) at which the error of a pixel stops growing, and the error of one that is left undrawn.
_REACH = 110.0
_UNDRAWN = 70.0**2 / (1 + (70.0 / _REACH) ** 2)
# Mean square error to which even a perfect drawing is thought to be wrong.
_FLOOR = 30.0
# Neighbouring pixels err together: so many count as one.
_TOGETHER = 12
# Values less likely than this, and combinations less likely by this factor than the likeliest, are not tried.
_LEAST = 0.004
# Standard deviations, in pixels, with which both pictures are blurred while the box is sought.
_BLURS = (2.0, 1.0, 0.0)
# Smallest side of a box, in pixels, in which anything can be drawn.
_SMALLEST = 4.0
# Greatest number of steps, and how far a box may move, in its longer sides.
_ROUNDS, _FARTHEST = 3, 0.15


class Fit(NamedTuple):
    """Where and how an entity was drawn best: the box in 0..1 of the picture, and its looks."""

    box: Box
    looks: Looks


class _Place:
    """The square window of a picture around a box; boxes in here are pixels of the window."""

    def __init__(self, picture: NDArray[np.uint8], box: Box):
        side = picture.shape[0]
        padded = np.pad(picture, ((_PAD, _PAD), (_PAD, _PAD), (0, 0)), mode="edge")
        x0, y0, x1, y1 = (float(np.clip(value * side, -_PAD + 4, side + _PAD - 4)) for value in box)
        size = int(max(x1 - x0, y1 - y0)) + 2 * _AROUND + 2
        self.size = min(size, padded.shape[0])
        column, row = (min(max(0, int(low) - _AROUND + _PAD), padded.shape[0] - self.size) for low in (x0, y0))
        self.corner = np.array([column - _PAD, row - _PAD] * 2, np.float64)
        self.scale = side
        self.pixels = padded[row : row + self.size, column : column + self.size]
        inside = np.zeros(padded.shape[:2], bool)
        inside[_PAD:-_PAD, _PAD:-_PAD] = True
        self.inside = inside[row : row + self.size, column : column + self.size]

    def draw(self, looks: Looks, box: NDArray[np.float64], blur: float = 0.0) -> Window:
        """What is added to the window by drawing an entity there, float64 [s, s, 3]."""
        canvas = Image.fromarray(self.pixels)
        paint(
            canvas,
            _layers(looks),
            tuple(box / self.size),
            colour=str(looks["colour"]),
            second=looks["second"],
            pattern=str(looks["pattern"]),
            mirrored=looks["facing"] == "right",
        )
        error = (np.asarray(canvas, np.float64) - self.pixels) * self.inside[..., None]
        return gaussian_filter(error, (blur, blur, 0)) if blur else error

    def coverage(self, looks: Looks, box: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Pixels the entity covers at least by half, bool [s, s]."""
        mask = silhouette(_layers(looks), tuple(box / self.size), self.size, mirrored=looks["facing"] == "right")
        return (mask > 0.5) & self.inside


def _layers(looks: Looks) -> list[Layer]:
    return drawing_of(str(looks["kind"]), str(looks["pose"]), str(looks["accessory"]))


def _square(difference: Window) -> Window:
    """Square distance of every pixel, which stops growing at `_REACH` (Geman and McClure 1987)."""
    square = np.square(difference).sum(-1)
    return square / (1 + square / _REACH**2)


def _settled(
    place: _Place, looks: Looks, box: NDArray[np.float64], *, blurs: tuple[float, ...] = (0.0,)
) -> NDArray[np.float64]:
    """The box moved by Gauss-Newton steps to where the drawing fits best, from blurred pictures to sharp ones."""
    start, farthest = box, max(2.5, _FARTHEST * float((box[2:] - box[:2]).max()))
    for blur in blurs:
        error, covered = place.draw(looks, box, blur), place.coverage(looks, box)
        for _ in range(_ROUNDS):
            step = _gauss_newton(place, box, error, covered, blur)
            moved = np.clip(box + step, start - farthest, start + farthest)
            if (moved[2:] - moved[:2]).min() < _SMALLEST:
                break
            there, covers = place.draw(looks, moved, blur), place.coverage(looks, moved)
            if _cost(there, covers) >= _cost(error, covered):
                break
            box, error, covered = moved, there, covers
            if np.abs(step).max() < 0.1:
                break
    return box


def _cost(error: Window, covered: NDArray[np.bool_]) -> float:
    """Errors of the drawn pixels, each less what it costs to leave a pixel undrawn."""
    return float((_square(error)[covered] - _UNDRAWN).sum())


def _gauss_newton(
    place: _Place, box: NDArray[np.float64], error: Window, covered: NDArray[np.bool_], blur: float
) -> NDArray[np.float64]:
    """A step of the four sides. A drawing is stretched with its box, so its slopes along the box's sides are its own
    slopes along x and y.
    """
    pixels = gaussian_filter(place.pixels.astype(np.float64), (blur, blur, 0)) if blur else place.pixels
    down, across = np.gradient(pixels + error, axis=(0, 1))
    along = np.arange(place.size) + 0.5
    x, y = (np.clip((along - box[i]) / (box[i + 2] - box[i]), 0, 1)[:, None] for i in (0, 1))
    parts = (across * (x - 1), down * (y[:, None] - 1), across * -x, down * -y[:, None])
    jacobian = np.stack([part[covered].reshape(-1) for part in parts], 1)
    square = np.square(error[covered]).sum(-1)
    weight = np.repeat(1 / np.square(1 + square / _REACH**2), 3)
    normal = jacobian.T @ (jacobian * weight[:, None])
    normal[np.diag_indices(4)] += 0.02 * normal.diagonal() + 1.0
    step = np.linalg.solve(normal, jacobian.T @ (weight * error[covered].reshape(-1)))
    return np.clip(-step, -2, 2).astype(np.float64)


class _Choice(NamedTuple):
    """Looks, where to draw them, and the logarithm of what the namer thinks of them."""

    looks: Looks
    box: NDArray[np.float64]
    prior: float


def _best(place: _Place, choices: list[_Choice]) -> _Choice:
    """The choice of the greatest posterior: errors are normal with an unknown variance, the same for all pixels that
    any choice draws, and a pixel that a choice leaves undrawn has a fixed error.
    """
    if len(choices) == 1:
        return choices[0]
    masks: dict[Any, NDArray[np.bool_]] = {}
    for choice in choices:
        if _shape(choice) not in masks:
            masks[_shape(choice)] = place.coverage(choice.looks, choice.box)
    area = np.logical_or.reduce(list(masks.values()))
    count = max(1, int(area.sum()))
    scores = []
    for choice in choices:
        cost = _cost(place.draw(choice.looks, choice.box), masks[_shape(choice)])
        scores.append(choice.prior - count / (2 * _TOGETHER) * np.log(max(cost / count + _UNDRAWN, 0.0) + _FLOOR))
    return choices[int(np.argmax(scores))]


def _shape(choice: _Choice) -> Any:
    return *(choice.looks[name] for name in ("pose", "accessory", "facing")), choice.box.tobytes()


def _carried(box: NDArray[np.float64], before: Looks, after: Looks) -> NDArray[np.float64]:
    """Where the whole lies after a change of its shape if what stays of it stays in its place."""
    old, new = (np.array(bounds(_layers(looks))) for looks in (before, after))
    scale = (box[2:] - box[:2]) / (old[2:] - old[:2])
    low, high = (new[:2] - old[:2]) * scale, (new[2:] - old[2:]) * scale
    if after["facing"] == "right":
        low[0], high[0] = -high[0], -low[0]
    return box + np.concatenate([low, high])


def _coats(looks: Looks, box: NDArray[np.float64], beliefs: Beliefs) -> list[_Choice]:
    """Colours and patterns that the namer thinks possible."""
    choices = []
    for colour, pattern in itertools.product(_likely("colour", looks, beliefs), _likely("pattern", looks, beliefs)):
        prior = beliefs["colour"][colour] + beliefs["pattern"][pattern]
        coat = looks | {"colour": colour, "pattern": pattern, "second": None}
        if pattern == "plain":
            choices.append(_Choice(coat, box, prior))
        else:
            choices += [
                _Choice(coat | {"second": second}, box, prior + beliefs["second"][second])
                for second in second_colours(str(colour))
            ]
    best = max(choice.prior for choice in choices)
    return [choice for choice in choices if choice.prior > best + math.log(_LEAST)]


def _shapes(name: str, looks: Looks, box: NDArray[np.float64], beliefs: Beliefs) -> list[_Choice]:
    """Accessories, poses or facings that the namer thinks possible, in this box and in the one they would take."""
    choices = []
    for value in _likely(name, looks, beliefs):
        other = looks | {name: value}
        boxes = [box, _carried(box, looks, other)]
        same = np.abs(boxes[1] - box).max() < 0.5
        choices += [_Choice(other, each, beliefs[name][value]) for each in boxes[: 1 if same else 2]]
    return choices


def _likely(name: str, looks: Looks, beliefs: Beliefs) -> list[str | None]:
    return [value for value, belief in beliefs[name].items() if belief > math.log(_LEAST) or value == looks[name]]


def fitted(picture: NDArray[np.uint8], box: Box, looks: Looks, beliefs: Beliefs) -> Fit:
    """Fit a reading to its picture; it stays as it is where nothing drawn explains the picture.

    Args:
        picture: uint8 [S, S, 3].
        box: of the reading, in 0..1.
        looks: of the reading: kind, colour, second, pattern, accessory, pose and facing.
        beliefs: head -> value -> logarithm of its probability.
    """
    told = Fit(box, looks)
    if min(box[2] - box[0], box[3] - box[1]) * picture.shape[0] < _SMALLEST:
        return told
    place = _Place(picture, box)
    at = _settled(place, looks, np.array(box) * place.scale - place.corner, blurs=_BLURS)
    looks = _best(place, _coats(looks, at, beliefs)).looks
    at = _settled(place, looks, at)
    for name in ("accessory", "pose", "facing") if looks["kind"] in CREATURES else ("facing",):
        best = _best(place, _shapes(name, looks, at, beliefs))
        if best.looks != looks:
            looks, at = best.looks, _settled(place, best.looks, best.box)
            looks = _best(place, _coats(looks, at, beliefs)).looks
    if _cost(place.draw(looks, at), place.coverage(looks, at)) >= 0:
        return told
    found = (at + place.corner) / place.scale
    return Fit(tuple(found.tolist()), looks)

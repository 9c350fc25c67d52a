"""Sharpness of one entity: steepness of its edges, free of contrast."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stage.instruments.reading import Box

# Blur in pixels of a picture 128 wide; scales with the side.
_REBLUR = 2.0 / 128
# Share of pixels, the steepest, that count as edges.
_EDGES = 0.02
_LUMA = np.array([0.299, 0.587, 0.114])


def _blurred(plane: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    radius = max(1, int(3 * sigma + 0.5))
    kernel = np.exp(-0.5 * np.square(np.arange(-radius, radius + 1) / sigma))
    kernel /= kernel.sum()
    for _ in range(2):
        padded = np.pad(plane, ((radius, radius), (0, 0)), mode="edge")
        plane = np.einsum("kij,k->ij", np.stack([padded[k : k + len(plane)] for k in range(2 * radius + 1)]), kernel).T
    return plane


def _steepness(plane: NDArray[np.float64], rows: slice, columns: slice) -> float:
    across, down = np.diff(plane, axis=1)[:-1], np.diff(plane, axis=0)[:, :-1]
    slope = np.hypot(across, down)[rows, columns].ravel()
    count = max(1, int(_EDGES * slope.size))
    return float(np.partition(slope, slope.size - count)[-count:].mean())


def sharpness(picture: NDArray[np.uint8], box: Box) -> float:
    """Steepness of the edges in a box over their steepness after one more blur: 1 when that blur changes nothing,
    higher when sharper.

    The blur effect of Crete and others ("The blur effect: perception and estimation with a new no-reference perceptual
    blur metric", SPIE 6492, 2007): a blurred picture loses little by a further blur. As a ratio it does not depend on
    contrast or on the number of edges. A straight edge blurred with sigma s gives sqrt(s^2 + r^2) / s for a further
    blur r, here 1/64 of the picture's side.

    Args:
        picture: uint8 [H, W, 3].
        box: (x0, y0, x1, y1) in 0..1; clipped to the picture, and at least 4 by 4 pixels.
    """
    height, width = picture.shape[:2]
    x0, y0 = min(max(0, int(box[0] * width)), width - 4), min(max(0, int(box[1] * height)), height - 4)
    x1, y1 = max(x0 + 4, min(width, round(box[2] * width))), max(y0 + 4, min(height, round(box[3] * height)))
    plane = picture.astype(np.float64) @ _LUMA
    # The blur reaches three sigma beyond the box.
    sigma = _REBLUR * width
    reach = int(3 * sigma) + 2
    top, left = max(0, y0 - reach), max(0, x0 - reach)
    part = plane[top : y1 + reach, left : x1 + reach]
    rows, columns = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
    soft = _steepness(_blurred(part, sigma), rows, columns)
    return max(1.0, _steepness(part, rows, columns) / soft) if soft > 1e-9 else 1.0


def relative_sharpness(drawn: Sequence[float], world: Sequence[float]) -> float:
    """Mean of (drawn - 1) / (world - 1): 1 when drawn entities are as sharp as the world's own pictures of them, 0
    when the further blur changes nothing in them.

    Args:
        drawn, world: `sharpness` of the same entities in drawn pictures and in renders of the same scenes.
    """
    return float(np.mean([(a - 1) / (b - 1) for a, b in zip(drawn, world, strict=True)]))

"""Reading pictures back: which body colour a pixel shows, and how well a picture keeps to a scene's boxes.

The colour part of MIG's success (MIGC, arXiv:2402.05408, section 4.1: an instance has its colour when at least 20 % of
its area shows it).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stage.world.paint import FIXED, tones
from stage.world.scene import Item
from stage.world.vocabulary import COLOURS

SUCCESS = 0.2
NO_COLOUR = len(COLOURS)

# The entity's area is at least this share of its box.
AREA = 0.25
# Greatest distance in RGB from a body's base and shaded tone. Measured on empty settings, no tone of which is nearer to
# a base than 63 and to a shade than 47, but for white: snow and clouds come as near as 30.
_REACH_BASE, _REACH_DARK, _REACH_WHITE = 60, 45, 28
# "chalk", the white of details, cannot be told from a white body.
_NEUTRAL = [*(rgb for name, rgb in FIXED.items() if name != "chalk"), *(tones(colour)["outline"] for colour in COLOURS)]
_TONES = [(index, name, tones(name)) for index, name in enumerate(COLOURS)]
# White and black bodies are shaded in greys that settings have too.
_BODY = [
    *((index, rgb["base"], _REACH_WHITE if name == "white" else _REACH_BASE) for index, name, rgb in _TONES),
    *((index, rgb["dark"], _REACH_DARK) for index, name, rgb in _TONES if name not in ("white", "black")),
]
_PROTOTYPES = np.array([rgb for _, rgb, _ in _BODY] + _NEUTRAL, np.int32)
_LABELS = np.array([index for index, _, _ in _BODY] + [NO_COLOUR] * len(_NEUTRAL), np.uint8)
_REACHES = np.square([reach for _, _, reach in _BODY] + [0] * len(_NEUTRAL))


def colour_map(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Body colour of every pixel, uint8 [H, W] of uint8 [H, W, 3]: an index into `COLOURS`, or `NO_COLOUR`.

    A pixel has the colour whose base or shaded tone is its nearest prototype in RGB, among the neutral tones of
    outlines and details, if it is near enough not to be a setting's.
    """
    distance = np.square(picture[:, :, None].astype(np.int32) - _PROTOTYPES).sum(-1)
    nearest = distance.argmin(-1)
    labels = _LABELS[nearest]
    near = np.take_along_axis(distance, nearest[..., None], -1)[..., 0] <= _REACHES[nearest]
    return np.where(near, labels, np.uint8(NO_COLOUR))


def box_mask(box: tuple[float, float, float, float], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centre lies in the box (x0, y0, x1, y1 in 0..1), bool [H, W]."""
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))


def _share(colours: NDArray[np.uint8], index: int) -> float:
    coloured = int((colours != NO_COLOUR).sum())
    return float((colours == index).sum() / max(1.0, coloured, AREA * colours.size))


def colour_share(picture: NDArray[np.uint8], box: tuple[float, float, float, float], colour: str) -> float:
    """Share of an entity's area that shows a body colour, 0..1.

    The area is all pixels of its box (0..1) that show any body colour, and at least a quarter of the box, so that a few
    stray pixels are no entity.
    """
    mask = box_mask(box, *picture.shape[:2])
    return _share(colour_map(picture[mask.any(1)][:, mask.any(0)]), list(COLOURS).index(colour))


class ColourReading(NamedTuple):
    """`shares`: per item, the share of its area that shows its colour (`colour_share`). `outside`: share of all
    body-coloured pixels that lie in no box.
    """

    shares: tuple[float, ...]
    outside: float

    @property
    def successes(self) -> tuple[bool, ...]:
        """Per item, whether at least 20 % of its area shows its colour."""
        return tuple(share >= SUCCESS for share in self.shares)


def read_colours(picture: NDArray[np.uint8], items: Sequence[Item]) -> ColourReading:
    """Read the items' colours in their boxes from uint8 [H, W, 3]."""
    colours = colour_map(picture)
    masks = [box_mask(item.box, *colours.shape) for item in items]
    names = list(COLOURS)
    shares = tuple(_share(colours[mask], names.index(item.colour)) for item, mask in zip(items, masks, strict=True))
    coloured = colours != NO_COLOUR
    inside = np.any(masks, axis=0) if masks else np.zeros_like(coloured)
    return ColourReading(shares, float((coloured & ~inside).sum() / max(1, coloured.sum())))


def main_colour(picture: NDArray[np.uint8], *, least: float = 0.01) -> str | None:
    """The body colour that covers most of the picture, or None when none covers the share `least`."""
    counts = np.bincount(colour_map(picture).ravel(), minlength=NO_COLOUR + 1)[:NO_COLOUR]
    best = int(counts.argmax())
    return list(COLOURS)[best] if counts[best] >= least * picture.shape[0] * picture.shape[1] else None

"""Reading pictures back: which body colour a pixel shows, and how well a picture keeps to a scene's boxes.

The colour part of MIG's success (MIGC, arXiv:2402.05408, section 4.1: an instance has its colour when at least 20 % of
its area shows it).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stage.world.paint import INK, WHITE, mix, tones
from stage.world.scene import Item
from stage.world.vocabulary import COLOURS

SUCCESS = 0.2
NO_COLOUR = len(COLOURS)

_NEUTRAL = (
    *(
        (218, 234, 242),
        (190, 212, 166),
        (206, 222, 184),
        (226, 238, 244),
        (238, 226, 198),
        (172, 204, 212),
        (200, 210, 224),
        (246, 248, 251),
    ),
    *(
        (212, 218, 204),
        (184, 188, 162),
        (162, 160, 146),
        (58, 62, 88),
        (96, 102, 116),
        (78, 84, 102),
        (112, 98, 92),
        (70, 74, 92),
    ),
    *(INK, WHITE, mix(INK, WHITE, 0.5), (240, 190, 90)),
)


def colour_map(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Body colour of every pixel, uint8 [H, W] of uint8 [H, W, 3]: an index into `COLOURS`, or `NO_COLOUR`.

    A pixel has the colour whose base or shaded tone is its nearest prototype in RGB, against the neutral tones of
    settings and details.
    """
    prototypes = [tones(colour)[tone] for colour in COLOURS for tone in ("base", "dark")] + list(_NEUTRAL)
    labels = np.array([i for i in range(len(COLOURS)) for _ in range(2)] + [NO_COLOUR] * len(_NEUTRAL), np.uint8)
    distance = np.square(picture[:, :, None].astype(np.int32) - np.array(prototypes, np.int32)).sum(-1)
    return labels[distance.argmin(-1)]


def box_mask(box: tuple[float, float, float, float], height: int, width: int) -> NDArray[np.bool_]:
    """Pixels whose centre lies in the box (x0, y0, x1, y1 in 0..1), bool [H, W]."""
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    return ((y >= box[1]) & (y < box[3]))[:, None] & ((x >= box[0]) & (x < box[2]))


class ColourReading(NamedTuple):
    """`shares`: per item, the share of its box that shows its colour. `outside`: share of all body-coloured pixels
    that lie in no box.
    """

    shares: tuple[float, ...]
    outside: float

    @property
    def successes(self) -> tuple[bool, ...]:
        """Per item, whether at least 20 % of its box shows its colour."""
        return tuple(share >= SUCCESS for share in self.shares)


def read_colours(picture: NDArray[np.uint8], items: Sequence[Item]) -> ColourReading:
    """Read the items' colours in their boxes from uint8 [H, W, 3]."""
    colours = colour_map(picture)
    masks = [box_mask(item.box, *colours.shape) for item in items]
    names = list(COLOURS)
    shares = tuple(
        float((colours[mask] == names.index(item.colour)).mean()) for item, mask in zip(items, masks, strict=True)
    )
    coloured = colours != NO_COLOUR
    inside = np.any(masks, axis=0) if masks else np.zeros_like(coloured)
    return ColourReading(shares, float((coloured & ~inside).sum() / max(1, coloured.sum())))


def main_colour(picture: NDArray[np.uint8], *, least: float = 0.02) -> str | None:
    """The body colour that covers most of the picture, or None when none covers the share `least`."""
    counts = np.bincount(colour_map(picture).ravel(), minlength=NO_COLOUR + 1)[:NO_COLOUR]
    best = int(counts.argmax())
    return list(COLOURS)[best] if counts[best] >= least * picture.shape[0] * picture.shape[1] else None

"""From a frame's boxes to maps on an attention grid: who owns a cell, and how much each prompt speaks there.

A box becomes a soft coverage in closed form: the box convolved with a Gaussian (the feather), averaged over each
cell. Boxes are stacked front to back by their z, each taking its coverage of what the boxes in front of it left
(the "over" operator of Porter and Duff, 1984); what is left at the end is background. Shares are rounded to 1/1024 so
that the maps are the same bits on every machine.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from raccord.sampler.plan import Frame

# Shares are multiples of this, so that libm's last bit cannot change a map.
_SHARE_STEPS = 1024
# Every item owns at least this many cells of every grid, or its prompt would be lost on the coarse levels.
LEAST_CELLS = 4


@dataclass(frozen=True)
class RegionMaps:
    """The maps of one frame on one grid of height x width cells, row-major, E items in canonical plan order.

    owner: uint8 [N], 0 = background, 1..E = the item that rules the cell.
    share: float32 [E + 1, N], share[0] = background; each column sums to 1 exactly.
    starved: indices (0-based) of items that had fewer than LEAST_CELLS cells of their own before they were given some.
    hidden: indices of items that no cell could be found for.
    """

    height: int
    width: int
    owner: np.ndarray
    share: np.ndarray
    starved: tuple[int, ...]
    hidden: tuple[int, ...]


def region_maps(
    frame: Frame, height: int, width: int, *, feather: float, masks: Mapping[str, np.ndarray] | None = None
) -> RegionMaps:
    """Maps of a frame on a grid.

    Args:
        frame: a frame of a plan; boxes in 0..1, x to the right, y down.
        height: rows of the grid, >= 1.
        width: columns of the grid, >= 1.
        feather: standard deviation of the soft edge in frame units (0.5 / latent width is half a latent cell);
            0 = plain area coverage.
        masks: entity id -> free-form mask of the whole frame, floating [H, W] in 0..1 of any size, averaged over each
            cell; it stands in for the item's box.
    """
    masks = masks or {}
    coverages = [
        _mask_coverage(masks[item.entity], height, width)
        if item.entity in masks
        else _coverage(item.box, height, width, feather)
        for item in frame.items
    ]
    left = np.ones(height * width)
    share = np.zeros((len(coverages) + 1, height * width))
    for index in sorted(range(len(coverages)), key=lambda i: (frame.items[i].z, i), reverse=True):
        share[index + 1] = np.round(coverages[index] * left * _SHARE_STEPS) / _SHARE_STEPS
        share[index + 1] = np.minimum(share[index + 1], left)
        left = left - share[index + 1]
    share[0] = left
    owner = np.where(share[1:].sum(0) >= 0.5, share[1:].argmax(0) + 1, 0) if coverages else np.zeros(left.shape)
    owner = owner.astype(np.uint8)
    starved, hidden = _guarantee_cells(owner, share, coverages)
    return RegionMaps(height, width, owner, share.astype(np.float32), starved, hidden)


def latent_box(box: Sequence[float], height: int, width: int) -> tuple[int, int, int, int]:
    """A box in cells of a grid, (x0, y0, x1, y1) with integers, at least one cell large and inside the grid."""
    x0 = min(max(round(box[0] * width), 0), width - 1)
    y0 = min(max(round(box[1] * height), 0), height - 1)
    return x0, y0, max(x0 + 1, min(round(box[2] * width), width)), max(y0 + 1, min(round(box[3] * height), height))


def _coverage(box: Sequence[float], height: int, width: int, feather: float) -> np.ndarray:
    rows = _interval_coverage(box[1], box[3], height, feather)
    columns = _interval_coverage(box[0], box[2], width, feather)
    return np.outer(rows, columns).reshape(-1)


def _mask_coverage(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    return (_averaging(height, mask.shape[0]) @ mask @ _averaging(width, mask.shape[1]).T).clip(0.0, 1.0).reshape(-1)


def _averaging(cells: int, pixels: int) -> np.ndarray:
    """[cells, pixels]: row i averages over the pixels that cell i covers, shared pixels in proportion."""
    cell_edges, pixel_edges = np.arange(cells + 1) / cells, np.arange(pixels + 1) / pixels
    low = np.maximum(cell_edges[:-1, None], pixel_edges[None, :-1])
    high = np.minimum(cell_edges[1:, None], pixel_edges[None, 1:])
    return np.maximum(high - low, 0.0) * cells


def _interval_coverage(low: float, high: float, cells: int, feather: float) -> np.ndarray:
    """Mean over each of `cells` cells of the indicator of [low, high] convolved with a Gaussian.

    The edge at 0 or 1 stays hard: beyond the frame there is nothing to fade into.
    """
    low = -math.inf if low <= 0 else low
    high = math.inf if high >= 1 else high
    edges = [i / cells for i in range(cells + 1)]
    below_high = [_ramp(high - edge, feather) for edge in edges]
    below_low = [_ramp(low - edge, feather) for edge in edges]
    return np.array(
        [
            cells * ((below_high[i] - below_high[i + 1]) - (below_low[i] - below_low[i + 1]))
            if math.isfinite(high)
            else 1.0 - cells * (below_low[i] - below_low[i + 1])
            for i in range(cells)
        ]
    ).clip(0.0, 1.0)


def _ramp(u: float, sigma: float) -> float:
    """Integral of the normal distribution function Phi(v / sigma) over v from -inf to u; max(u, 0) for sigma = 0."""
    if u == -math.inf:
        return 0.0
    if u == math.inf:
        # only differences of ramps with finite arguments are used
        return 0.0
    if sigma == 0:
        return max(u, 0.0)
    s = u / sigma
    return sigma * (s * 0.5 * math.erfc(-s / math.sqrt(2)) + math.exp(-s * s / 2) / math.sqrt(2 * math.pi))


def _guarantee_cells(
    owner: np.ndarray, share: np.ndarray, coverages: list[np.ndarray]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Give every item at least LEAST_CELLS cells, best covered first, never below LEAST_CELLS for another item."""
    starved, hidden = [], []
    for index, coverage in enumerate(coverages):
        mine = index + 1
        missing = min(LEAST_CELLS, owner.size) - int((owner == mine).sum())
        if missing <= 0:
            continue
        starved.append(index)
        order = np.lexsort((np.arange(owner.size), -coverage))
        for cell in order:
            if missing == 0 or coverage[cell] <= 0:
                break
            holder = int(owner[cell])
            if holder == mine or (holder > 0 and int((owner == holder).sum()) <= LEAST_CELLS):
                continue
            owner[cell] = mine
            share[:, cell] = 0.0
            share[mine, cell] = 1.0
            missing -= 1
        if not (owner == mine).any():
            hidden.append(index)
    return tuple(starved), tuple(hidden)

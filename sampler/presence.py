"""Is the entity there? Read from the regional attention itself, at no extra UNet call.

The log-sum-exp of an item's scores says how strongly a position answers to the item's prompt. Its contrast with the
background's, inside the item's cells against outside them, foretells within the first steps whether the entity will be
in the picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from raccord.sampler.conditioning import FrameConditioning


@dataclass
class AttentionRecord:
    """Log-sum-exps of one row's segments, averaged over the layers of each grid, for one UNet call."""

    _sums: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _counts: dict[tuple[int, int], int] = field(default_factory=dict)

    def add(self, grid: tuple[int, int], lse: Tensor) -> None:
        """Add one layer's lse [S, N] on a grid (height, width)."""
        self._sums[grid] = self._sums[grid] + lse if grid in self._sums else lse
        self._counts[grid] = self._counts.get(grid, 0) + 1

    def grids(self) -> Mapping[tuple[int, int], Tensor]:
        """Grid (height, width) -> mean lse [S, N] over its layers."""
        return {grid: total / self._counts[grid] for grid, total in self._sums.items()}


# The grid whose layers carry the layout best has about this many positions (16 x 16 in SD's UNets).
_LAYOUT_POSITIONS = 256


def layout_grid(grids: Mapping[tuple[int, int], Tensor]) -> tuple[int, int]:
    """The grid nearest to 256 positions; of two equally near the finer."""
    return min(grids, key=lambda grid: (abs(grid[0] * grid[1] - _LAYOUT_POSITIONS), -grid[0] * grid[1]))


def contrast(lse: Tensor, conditioning: FrameConditioning, number: int) -> Tensor:
    """[N]: lse of item `number` (1-based) minus lse of the segment that speaks outside the items."""
    return lse[conditioning.item_segment(number)] - lse[conditioning.background_segment]


def presence(record: AttentionRecord, conditioning: FrameConditioning) -> list[Tensor]:
    """Presence of every item, 0-d float32 tensors in natural-log units, in item order.

    presence_e = mean over e's cells of (lse_e - lse_background) - the same mean over all other cells, on the grid of
    `layout_grid`. Differentiable where the record is. An item without a cell, or with all cells, has presence -inf.
    """
    grids = record.grids()
    height, width = layout_grid(grids)
    owner = torch.from_numpy(conditioning.maps(height, width).owner)
    values = []
    for number in range(1, len(conditioning.entities) + 1):
        inside = (owner == number).to(grids[height, width].device)
        if not inside.any() or inside.all():
            values.append(torch.tensor(-torch.inf))
            continue
        difference = contrast(grids[height, width], conditioning, number)
        values.append(difference[inside].mean() - difference[~inside].mean())
    return values


def salient_cells(
    record: AttentionRecord, conditioning: FrameConditioning, number: int, budget: int
) -> dict[int, Tensor]:
    """The entity's core: for each grid, N -> indices [<= budget] of its own cells with the highest contrast, ascending.

    At most half of the item's cells: the rest is the background its box also holds.
    """
    cells = {}
    for (height, width), lse in record.grids().items():
        owned = torch.from_numpy(conditioning.maps(height, width).owner == number).nonzero()[:, 0]
        count = min(max(budget * height * width // _LAYOUT_POSITIONS, 1), max(len(owned) // 2, 1), len(owned))
        order = torch.sort(contrast(lse, conditioning, number).cpu()[owned], descending=True, stable=True).indices
        cells[height * width] = owned[order[:count]].sort().values
    return cells

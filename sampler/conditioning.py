"""What a frame says, and to which cells: the text segments of one frame and their weights on every grid.

Segments of the conditional branch: the frame prompt, the background (when the frame has one), one per item. Inside an
item its own segment has 1 - beta of the voice and the frame prompt beta; outside all items the background speaks, not
the frame prompt, or the entities it names appear there a second time. The unconditional branch has the negative prompt
everywhere, except inside items with negatives of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from raccord.sampler.plan import Frame, Plan
from raccord.sampler.regions import RegionMaps, region_maps

# A feather of half a latent cell keeps a box's edge soft without moving it.
_FEATHER_CELLS = 0.5


def join_text(*parts: str | None) -> str:
    """The non-empty parts, joined by a comma."""
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class FrameConditioning:
    """The texts of one frame and their weights.

    texts: segments of the conditional branch, (prompt, [background], item 1, ..., item E).
    negatives: segments of the unconditional branch, (negative, item negatives...).
    entities: entity ids of the items, in the order of the owner maps (owner 1 = entities[0]).
    interacts: pairs of 1-based item numbers that may see each other in the later steps.
    guidance: 1-based item number -> factor on the guidance inside the item, only where it is not 1.
    masks: entity id -> free-form mask that stands in for the item's box.
    """

    frame: Frame
    texts: tuple[str, ...]
    negatives: tuple[str, ...]
    entities: tuple[str, ...]
    interacts: frozenset[tuple[int, int]]
    guidance: dict[int, float]
    latent_width: int
    beta: float
    has_background: bool
    masks: Mapping[str, np.ndarray]
    _negative_owners: tuple[int, ...]
    _maps: dict[tuple[int, int], RegionMaps] = field(default_factory=dict, repr=False)
    _weights: dict[tuple[bool, int, int], Tensor] = field(default_factory=dict, repr=False)

    @property
    def background_segment(self) -> int:
        """Index in `texts` of the segment that speaks outside all items."""
        return 1 if self.has_background else 0

    def item_segment(self, number: int) -> int:
        """Index in `texts` of the segment of the 1-based item `number`."""
        return number + self.background_segment

    def maps(self, height: int, width: int) -> RegionMaps:
        """Owner and shares on a grid, computed once."""
        key = (height, width)
        if key not in self._maps:
            feather = _FEATHER_CELLS / self.latent_width
            self._maps[key] = region_maps(self.frame, height, width, feather=feather, masks=self.masks)
        return self._maps[key]

    def weights(self, conditional: bool, height: int, width: int) -> Tensor:
        """Weights float32 [S, N] of `texts` (or `negatives`) on a grid; each column sums to 1 up to rounding."""
        key = (conditional, height, width)
        if key not in self._weights:
            share = torch.from_numpy(self.maps(height, width).share)
            items = share[1:]
            if conditional:
                prompt = self.beta * items.sum(0) + (0.0 if self.has_background else share[0])
                rows = [prompt, *([share[0]] if self.has_background else []), *((1.0 - self.beta) * items)]
            else:
                own = [items[number - 1] for number in self._negative_owners]
                rows = [1.0 - sum(own, torch.zeros_like(share[0])), *own]
            self._weights[key] = torch.stack(rows)
        return self._weights[key]


def frame_conditioning(
    plan: Plan, frame: Frame, *, latent_width: int, beta: float, masks: Mapping[str, np.ndarray] | None = None
) -> FrameConditioning:
    """The conditioning of one frame of a plan.

    Args:
        plan: the story's plan; its style is added to every text.
        frame: one of its frames.
        latent_width: columns of the latent grid; the feather is half a cell of it.
        beta: share of the frame prompt inside items, 0..1.
        masks: entity id -> free-form mask [H, W] in 0..1 that stands in for the item's box.
    """
    cards = {entity.id: entity for entity in plan.entities}
    numbers = {item.entity: number for number, item in enumerate(frame.items, start=1)}
    items = tuple(join_text(cards[item.entity].card, item.action, plan.style) for item in frame.items)
    background = (join_text(frame.background, plan.style),) if frame.background and frame.items else ()
    negatives, owners = [frame.negative or ""], []
    for number, item in enumerate(frame.items, start=1):
        own = join_text(cards[item.entity].negative, item.negative)
        if own:
            negatives.append(join_text(frame.negative, own))
            owners.append(number)
    return FrameConditioning(
        frame=frame,
        texts=(join_text(frame.prompt, plan.style), *background, *items),
        negatives=tuple(negatives),
        entities=tuple(item.entity for item in frame.items),
        interacts=frozenset(
            (numbers[item.entity], numbers[other])
            for item in frame.items
            for other in item.interacts
            if other in numbers
        ),
        guidance={n: item.weight for n, item in enumerate(frame.items, start=1) if item.weight != 1},
        latent_width=latent_width,
        beta=beta,
        has_background=bool(background),
        masks=dict(masks or {}),
        _negative_owners=tuple(owners),
    )

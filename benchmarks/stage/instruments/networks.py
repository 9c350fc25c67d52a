"""The reader's two networks: where entities are, and what a crop shows.

`Finder` is a centre-point detector (CenterNet, arXiv:1904.07850) with the distances to the four sides of the box
(FCOS, arXiv:1904.01355); it names no kinds. `Namer` names what a crop shows and corrects the box (the second stage of
Faster R-CNN, arXiv:1506.01497).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from stage.world.vocabulary import ACCESSORIES, COLOURS, FACINGS, KINDS, PATTERNS, POSES

SIDE = 128
# Pixels of a picture per cell of the finder's maps.
STRIDE = 4
CROP = 48

# "nothing" also stands for what is too unclear to name.
NOTHING = "nothing"
HEADS: dict[str, tuple[str | None, ...]] = {
    "kind": (*KINDS, NOTHING),
    "colour": tuple(COLOURS),
    "second": (None, *COLOURS),
    "pattern": PATTERNS,
    "accessory": ACCESSORIES,
    "pose": POSES,
    "facing": FACINGS,
}


def _layer(inputs: int, outputs: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    padding = (size - 1) // 2
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(_layer(width, width), _layer(width, width))

    def forward(self, values: Tensor) -> Tensor:
        return values + self.layers(values)


class Finder(nn.Module):
    """Pictures float32 [B, 3, 128, 128] in -1..1 -> maps float32 [B, 5, 32, 32]: the logit that an entity's centre lies
    in the cell, and the distances from the cell's centre to the box's left, top, right and bottom side, in cells.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Sequential(nn.AvgPool2d(2), _layer(3, 32, size=4, stride=2))
        self.middle = nn.Sequential(_layer(32, 64, stride=2), _Residual(64))
        self.coarse = nn.Sequential(_layer(64, 96, stride=2), _Residual(96), _Residual(96))
        self.up = nn.Sequential(nn.Conv2d(96, 64, 1), nn.Upsample(scale_factor=2))
        self.join = _layer(64, 64)
        self.up_again = nn.Sequential(nn.Conv2d(64, 32, 1), nn.Upsample(scale_factor=2))
        self.join_again = _layer(32, 48)
        self.out = nn.Conv2d(48, 5, 1)
        # One cell in five hundred is a centre (focal loss, arXiv:1708.02002, section 4.1: the prior as the first bias).
        nn.init.constant_(self.out.bias[:1], -6.0)  # type: ignore[index]

    def forward(self, pictures: Tensor) -> Tensor:
        fine = self.fine(pictures)
        middle = self.middle(fine)
        middle = self.join(middle + self.up(self.coarse(middle)))
        maps = self.out(self.join_again(fine + self.up_again(middle)))
        return torch.cat([maps[:, :1], functional.softplus(maps[:, 1:])], 1)


class Namer(nn.Module):
    """Crops float32 [B, 3, 48, 48] in -1..1 -> logits [B, n] for every head of `HEADS`, and "box" [B, 4]: what to add
    to the sides of the box, in its own widths and heights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(_layer(3, 32, size=4, stride=2), _layer(32, 40)),
            *(_layer(40, 80, stride=2), _Residual(80)),
            *(_layer(80, 112, stride=2), _Residual(112)),
            *(
                nn.Conv2d(112, 40, 1),
                nn.Flatten(),
                nn.Linear(40 * (CROP // 8) ** 2, 160),
                nn.BatchNorm1d(160),
                nn.ReLU(),
            ),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(160, len(values)) for name, values in HEADS.items()})
        self.heads["box"] = nn.Linear(160, 4)

    def forward(self, crops: Tensor) -> dict[str, Tensor]:
        features = self.trunk(crops)
        return {name: head(features) for name, head in self.heads.items()}


def cut(pictures: Tensor, index: Tensor, boxes: Tensor, *, margin: float = 0.15) -> Tensor:
    """Crops float32 [N, 3, 48, 48] of pictures float32 [B, 3, H, W]; what lies outside is 0 (grey).

    Args:
        index: int64 [N], the picture of every crop.
        boxes: float32 [N, 4] in 0..1, cut with a margin of this share of their own width and height on every side.
    """
    corner, side = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    # Sampled twice as finely and averaged, so that entities wider than the crop do not alias.
    steps = (torch.arange(2 * CROP, dtype=boxes.dtype) + 0.5) / (2 * CROP) * (1 + 2 * margin) - margin
    x, y = (corner[:, axis, None] + side[:, axis, None] * steps for axis in (0, 1))
    grid = torch.stack([x[:, None, :].expand(-1, 2 * CROP, -1), y[:, :, None].expand(-1, -1, 2 * CROP)], -1) * 2 - 1
    fine = functional.grid_sample(pictures[index], grid, align_corners=False)
    return functional.avg_pool2d(fine, 2)


def find(maps: Tensor, *, least: float, most: int) -> list[tuple[Tensor, Tensor]]:
    """Boxes float32 [N, 4] in 0..1 and their scores [N] for every picture, from the maps of `Finder`: the local maxima
    of the centre map with a score of at least `least`, at most `most`, best first.
    """
    heat = maps[:, 0].sigmoid()
    peak = heat * (functional.max_pool2d(heat[:, None], 3, 1, 1)[:, 0] == heat)
    found = []
    for scores, distances in zip(peak, maps[:, 1:], strict=True):
        size = scores.shape[-1]
        best, cells = scores.flatten().topk(most)
        cells = cells[best >= least]
        centre = torch.stack([cells % size, cells // size], 1) + 0.5
        sides = distances.flatten(1).T[cells]
        boxes = torch.cat([centre - sides[:, :2], centre + sides[:, 2:]], 1) / size
        found.append((boxes, best[best >= least]))
    return found


def signal(pictures: Sequence[Tensor] | Tensor) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in -1..1."""
    stacked = pictures if isinstance(pictures, Tensor) else torch.stack(list(pictures))
    return stacked.permute(0, 3, 1, 2).float() / 127.5 - 1

"""What the denoiser must know of every cell: kind and colour of the item there.

A fox drawn as a cat costs a few percent of the denoising error, so words bind to places slowly. A probe that reads kind
and colour of each cell's item from the denoiser's features makes that knowledge a loss of its own: representation
alignment (Yu et al. 2024, arXiv:2410.06940) with the world's ground truth in place of a vision model's features. It is
dropped after training; the exported model is stock.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stage.draws import key
from stage.model.config import StageConfig
from stage.world.vocabulary import COLOURS, KINDS

# Weight of a cell without an item against one with: most cells have none.
_BACKGROUND = 0.2


class CellProbe(nn.Module):
    """A linear map of the features of the last up block but one to logits of nothing, every kind and every colour.

    Args:
        unet: its `up_blocks[-2]`, whose features have the latents' cells, is listened to from here on.
    """

    def __init__(self, config: StageConfig, unet: Any):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key(config.seed, "probe weights"))
            self.map = nn.Conv2d(config.unet_channels[1], 1 + len(KINDS) + len(COLOURS), 1)
        self._features: Tensor | None = None
        unet.up_blocks[-2].register_forward_hook(self._listen)

    def _listen(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._features = output

    def loss(self, shown: Tensor) -> Tensor:
        """Cross-entropy of kind (or nothing) over all cells plus that of colour over the cells with an item; scalar.

        Args:
            shown: kinds and colours, int64 [B, 2, h, w], -1 where no item is. The features of the denoiser's last
                call have the same cells.
        """
        features, self._features = self._features, None
        if features is None:
            raise RuntimeError("probe: the denoiser has not run since the last loss")
        kinds, colours = self.map(features).float().split((1 + len(KINDS), len(COLOURS)), 1)
        kind, colour = shown.unbind(1)
        weight = torch.where(kind >= 0, 1.0, _BACKGROUND)
        kind_error = functional.cross_entropy(kinds, kind + 1, reduction="none")
        colour_error = functional.cross_entropy(colours, colour, ignore_index=-1, reduction="none")
        return ((kind_error + colour_error) * weight).sum() / weight.sum()

"""The map of a picture: for every latent cell, which kind of item it shows and which part of that item.

A denoiser learns fastest what lies plainly in its latents: with an autoencoder drawn to a vision model's features
(Yao et al. 2025, arXiv:2501.01423) it needs a fraction of the steps. Here the world's ground truth takes the place of
that model. Some latent channels are drawn to a code of the kind, constant over an item, and to where in its item a cell
lies, so that a fox that turns into a cat is a large error in smooth channels, which noise drowns last.
"""

from functools import cache

import torch
from torch import Tensor

from stage.draws import key
from stage.world.vocabulary import KINDS

# Channels of the kind's code and of the place in the item: across (-1 = where it faces), down (-1 = its top).
CODE, PLACE = 4, 2
CHANNELS = CODE + PLACE
# Lengths of a code and of the longest place, near those of the mean colours' values.
_RADIUS, _REACH = 2.0, 1.0


@cache
def kind_codes() -> Tensor:
    """Codes of the kinds, float32 [kinds, CODE]: points on a sphere of radius 2 that have pushed each other away."""
    generator = torch.Generator().manual_seed(key(0, "kind codes"))
    points = torch.randn(len(KINDS), CODE, generator=generator, dtype=torch.float64)
    for _ in range(400):
        points = points / points.norm(dim=1, keepdim=True)
        away = points[:, None] - points
        distance = away.norm(dim=2, keepdim=True).clamp(min=1e-9)
        points = points + 0.01 * (away / distance**6).sum(1).clamp(-4, 4)
    points = points / points.norm(dim=1, keepdim=True)
    # A grid far coarser than the rounding of any machine.
    return ((points * _RADIUS * 256).round() / 256).float()


def layout_map(shares: Tensor, kinds: Tensor, places: Tensor) -> Tensor:
    """Shares of the cells that items cover, float32 [B, items, h, w], kinds int64 [B, items] (-1: no item) and places
    float32 [B, items, 5] (`pictures.places_of_chunk`) -> the map, float32 [B, CHANNELS, h, w]; 0 where no
    item is. All on the CPU.
    """
    height, width = shares.shape[2:]
    x0, y0, x1, y1, side = places[:, :, :, None, None].unbind(2)
    across = (torch.arange(width) + 0.5) / width
    down = ((torch.arange(height) + 0.5) / height)[:, None]
    u = side * (2 * (across - x0) / (x1 - x0).clamp(min=1e-3) - 1).clamp(-1, 1)
    v = (2 * (down - y0) / (y1 - y0).clamp(min=1e-3) - 1).clamp(-1, 1)
    u, v = torch.broadcast_tensors(u, v)
    code = kind_codes()[kinds.clamp(min=0)][:, :, :, None, None].expand(-1, -1, -1, height, width)
    values = torch.cat([code, _REACH * u[:, :, None], _REACH * v[:, :, None]], 2)
    return (values * shares[:, :, None]).sum(1)

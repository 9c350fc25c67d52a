"""The training pictures in chunk files: portraits (one item fills the frame, half the side), whole scenes, and twins:
one more portrait of an item of every scene.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from stage.draws import Draws
from stage.files import read_array, write_array
from stage.model.config import StageConfig
from stage.model.layout import layout_map
from stage.world.scene import Item, Scene, portrait_of, render, sample_scene, silhouettes
from stage.world.vocabulary import COLOURS, KINDS

# A portrait shows its item at the pixel scale at which a scene of twice the side shows a medium one.
Kind = Literal["portrait", "scene", "twin"]
MOST_ITEMS = 3


def scene_of(config: StageConfig, kind: Kind, number: int) -> Scene:
    """Training scene `number` of its kind. Twin n shows the item that `remembered` says of scene n, or, where that is
    empty, is portrait n.
    """
    if kind != "twin":
        return sample_scene(config.seed, number, rates=config.rates, portrait=kind == "portrait")
    scene = scene_of(config, "scene", number)
    if not scene.items:
        return scene_of(config, "portrait", number)
    looks = sorted(scene.items, key=lambda item: item.z)[remembered(config, number, len(scene.items))]
    return portrait_of(looks, config.seed, number, rates=config.rates)


def remembered(config: StageConfig, number: int, count: int) -> int:
    """Which of the `count` items of scene `number`, in order of `z`, its twin shows; 0 where there is none."""
    return Draws(config.seed, "remembered", number).integer(max(count, 1))


def side_of(config: StageConfig, kind: Kind) -> int:
    """Side of the pictures of this kind, pixels."""
    return config.side if kind == "scene" else config.side // 2


def pictures_of_chunk(config: StageConfig, folder: Path, kind: Kind, chunk: int) -> NDArray[np.uint8]:
    """Pictures of one chunk, uint8 [chunk, side, side, 3]; rendered and cached in `folder` at first use."""
    path = folder / f"{kind}s" / "pictures" / f"{chunk:04d}.npy"
    if not path.exists():
        side, numbers = side_of(config, kind), range(chunk * config.chunk, (chunk + 1) * config.chunk)
        write_array(path, np.stack([render(scene_of(config, kind, n), side=side) for n in numbers]))
    return read_array(path)


def shares_of_chunk(config: StageConfig, folder: Path, kind: Kind, chunk: int) -> NDArray[np.float16]:
    """Share of every latent cell that each item covers visibly, float16 [chunk, MOST_ITEMS, h, w], items in order of
    `z`; rendered and cached at first use.
    """
    path = folder / f"{kind}s" / "shares" / f"{chunk:04d}.npy"
    if not path.exists():
        side = side_of(config, kind)
        cells = side // config.factor
        shares = np.zeros((config.chunk, MOST_ITEMS, cells, cells), np.float16)
        for row in range(config.chunk):
            masks = silhouettes(scene_of(config, kind, chunk * config.chunk + row), side=side)
            cut = masks.reshape(-1, cells, config.factor, cells, config.factor)
            shares[row, : len(masks)] = cut.mean((2, 4)).clip(0, 1)
        write_array(path, shares)
    return read_array(path)


def looks_of_chunk(config: StageConfig, folder: Path, kind: Kind, chunk: int) -> NDArray[np.int8]:
    """Kind and colour of every item, int8 [chunk, MOST_ITEMS, 2]: indices into the vocabulary's KINDS and COLOURS, in
    order of `z`, -1 where there is no item.
    """
    path = folder / f"{kind}s" / "looks" / f"{chunk:04d}.npy"
    if not path.exists():
        looks = np.full((config.chunk, MOST_ITEMS, 2), -1, np.int8)
        for row, place, item in _items_of_chunk(config, kind, chunk):
            looks[row, place] = KINDS.index(item.kind), tuple(COLOURS).index(item.colour)
        write_array(path, looks)
    return read_array(path)


def places_of_chunk(config: StageConfig, folder: Path, kind: Kind, chunk: int) -> NDArray[np.float32]:
    """Box x0, y0, x1, y1 in 0..1 of every item and the side it faces, 1 (left) or -1, float32 [chunk, MOST_ITEMS, 5],
    in order of `z`, 0 where there is no item.
    """
    path = folder / f"{kind}s" / "places" / f"{chunk:04d}.npy"
    if not path.exists():
        places = np.zeros((config.chunk, MOST_ITEMS, 5), np.float32)
        for row, place, item in _items_of_chunk(config, kind, chunk):
            places[row, place] = *item.box, 1 if item.facing == "left" else -1
        write_array(path, places)
    return read_array(path)


def _items_of_chunk(config: StageConfig, kind: Kind, chunk: int) -> Iterator[tuple[int, int, Item]]:
    """The items of a chunk with the rows of their pictures and their places in order of `z`."""
    for row in range(config.chunk):
        items = sorted(scene_of(config, kind, chunk * config.chunk + row).items, key=lambda item: item.z)
        yield from ((row, place, item) for place, item in enumerate(items))


def to_signal(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in -1..1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def layout_of_pictures(config: StageConfig, folder: Path, kind: Kind, chunk: int, rows: list[int]) -> torch.Tensor:
    """Maps of some pictures of a chunk, float32 [len(rows), layout.CHANNELS, h, w]."""
    shares, looks, places = (
        torch.from_numpy(part(config, folder, kind, chunk)[rows])
        for part in (shares_of_chunk, looks_of_chunk, places_of_chunk)
    )
    return layout_map(shares.float(), looks[:, :, 0].long(), places)

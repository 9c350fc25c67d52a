"""The training pictures in chunk files: portraits (one item fills the frame, half the side) and whole scenes."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from stage.files import read_array, write_array
from stage.model.config import StageConfig
from stage.world.scene import Scene, render, sample_scene, silhouettes

# A portrait shows its item at the pixel scale at which a scene of twice the side shows a medium one.
Kind = Literal["portrait", "scene"]


def scene_of(config: StageConfig, kind: Kind, number: int) -> Scene:
    """Training scene `number` of its kind."""
    return sample_scene(config.seed, number, rates=config.rates, portrait=kind == "portrait")


def side_of(config: StageConfig, kind: Kind) -> int:
    """Side of the pictures of this kind, pixels."""
    return config.side // 2 if kind == "portrait" else config.side


def pictures_of_chunk(config: StageConfig, folder: Path, kind: Kind, chunk: int) -> NDArray[np.uint8]:
    """Pictures of one chunk, uint8 [chunk, side, side, 3]; rendered and cached in `folder` at first use."""
    path = folder / f"{kind}s" / "pictures" / f"{chunk:04d}.npy"
    if not path.exists():
        side, numbers = side_of(config, kind), range(chunk * config.chunk, (chunk + 1) * config.chunk)
        write_array(path, np.stack([render(scene_of(config, kind, n), side=side) for n in numbers]))
    return read_array(path)


def coverage_of_chunk(config: StageConfig, folder: Path, kind: Kind, chunk: int) -> NDArray[np.float16]:
    """Share of every latent cell that items cover, float16 [chunk, h, w]; rendered and cached at first use."""
    path = folder / f"{kind}s" / "coverage" / f"{chunk:04d}.npy"
    if not path.exists():
        side = side_of(config, kind)
        cells, maps = side // config.factor, []
        for number in range(chunk * config.chunk, (chunk + 1) * config.chunk):
            covered = silhouettes(scene_of(config, kind, number), side=side).sum(0)
            maps.append(covered.reshape(cells, config.factor, cells, config.factor).mean((1, 3)))
        write_array(path, np.stack(maps).clip(0, 1).astype(np.float16))
    return read_array(path)


def to_signal(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in -1..1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1

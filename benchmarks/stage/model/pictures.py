"""The training pictures, rendered once into chunk files; chunk c holds scenes c * chunk ... (c + 1) * chunk - 1."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from stage.files import read_array, write_array
from stage.model.config import StageConfig
from stage.world.scene import render, sample_scene


def pictures_of_chunk(config: StageConfig, folder: Path, chunk: int) -> NDArray[np.uint8]:
    """Pictures of one chunk, uint8 [chunk, side, side, 3]; rendered and cached in `folder` at first use."""
    path = folder / "pictures" / f"{chunk:04d}.npy"
    if not path.exists():
        numbers = range(chunk * config.chunk, (chunk + 1) * config.chunk)
        write_array(path, np.stack([render(sample_scene(config.seed, n), side=config.side) for n in numbers]))
    return read_array(path)


def to_signal(pictures: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W] in -1..1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1

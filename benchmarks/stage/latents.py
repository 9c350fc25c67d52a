"""Cached training pairs: latents of the pictures and tokens of their captions, one file a chunk."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stage.captions import caption
from stage.config import StageConfig
from stage.draws import Draws, key
from stage.files import read_array, write_array
from stage.pictures import pictures_of_chunk, to_signal
from stage.world import sample_scene


class Batch(NamedTuple):
    """Latents float32 [B, C, h, w] and tokens int64 [B, T] of one training step."""

    latents: Tensor
    tokens: Tensor


def tokens_of_chunk(config: StageConfig, folder: Path, chunk: int, tokenizer: Any) -> NDArray[np.int16]:
    """Token ids int16 [chunk, captions, T] of the pictures of one chunk."""
    path = folder / "tokens" / f"{chunk:04d}.npy"
    if not path.exists():
        scenes = [sample_scene(config.seed, n) for n in range(chunk * config.chunk, (chunk + 1) * config.chunk)]
        texts = [
            caption(scene, Draws(config.seed, "caption", scene.number, i))
            for scene in scenes
            for i in range(config.captions)
        ]
        ids = tokenizer(texts, padding="max_length", max_length=tokenizer.model_max_length).input_ids
        write_array(path, np.asarray(ids, dtype=np.int16).reshape(config.chunk, config.captions, -1))
    return read_array(path)


@torch.no_grad()
def latents_of_chunk(config: StageConfig, folder: Path, chunk: int, autoencoder: Any) -> NDArray[np.float32]:
    """Latent means times the scaling factor, float32 [chunk, C, h, w], of the pictures of one chunk."""
    path = folder / "latents" / f"{chunk:04d}.npy"
    if not path.exists():
        pictures = pictures_of_chunk(config, folder, chunk)
        size = min(64, config.chunk)
        parts = [
            autoencoder.encode(to_signal(pictures[i : i + size])).latent_dist.mean * autoencoder.config.scaling_factor
            for i in range(0, config.chunk, size)
        ]
        write_array(path, torch.cat(parts).numpy())
    return read_array(path)


def picture_numbers(config: StageConfig, step: int) -> list[int]:
    """Numbers of the pictures of one step: every picture once an epoch, the first epoch chunk by chunk in rising
    order.
    """
    chunks, batches = config.pictures // config.chunk, config.chunk // config.batch
    epoch, place = divmod(step, chunks * batches)
    slot, part = divmod(place, batches)
    order = list(range(chunks)) if epoch == 0 else permutation(chunks, config.seed, "chunks", epoch)
    within = permutation(config.chunk, config.seed, "pictures", epoch, order[slot])
    return [order[slot] * config.chunk + n for n in within[part * config.batch : (part + 1) * config.batch]]


def permutation(count: int, seed: int, purpose: str, *ids: int) -> list[int]:
    """A keyed permutation of 0..count-1."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(key(seed, purpose, *ids))).tolist()


def batch_of_step(
    config: StageConfig, folder: Path, step: int, *, tokenizer: Any, autoencoder: Any, empty: Tensor
) -> Batch:
    """The training pairs of one step; with probability `caption_dropout` a caption is `empty`, int64 [T]
    (arXiv:2207.12598).
    """
    numbers = picture_numbers(config, step)
    chunk, within = numbers[0] // config.chunk, [n % config.chunk for n in numbers]
    latents = torch.from_numpy(latents_of_chunk(config, folder, chunk, autoencoder)[within])
    generator = torch.Generator().manual_seed(key(config.seed, "captions of step", step))
    variants = torch.randint(config.captions, (len(within),), generator=generator).tolist()
    tokens = torch.from_numpy(tokens_of_chunk(config, folder, chunk, tokenizer)[within, variants].astype(np.int64))
    dropped = torch.rand(len(within), generator=generator) < config.caption_dropout
    return Batch(latents, torch.where(dropped[:, None], empty, tokens))

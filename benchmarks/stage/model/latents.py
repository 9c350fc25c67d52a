"""Cached training pairs: latents of the pictures and tokens of their captions, one file a chunk."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stage.draws import Draws, key
from stage.files import read_array, write_array
from stage.model.config import StageConfig
from stage.model.pictures import pictures_of_chunk, to_signal
from stage.world.captions import caption
from stage.world.scene import sample_scene


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


@functools.cache
def _by_items(seed: int, pictures: int) -> tuple[list[int], list[int]]:
    """Numbers of the pictures with at most one item, and of the others."""
    counts = [len(sample_scene(seed, number).items) for number in range(pictures)]
    return [n for n, count in enumerate(counts) if count <= 1], [n for n, count in enumerate(counts) if count > 1]


def picture_numbers(config: StageConfig, step: int) -> list[int]:
    """Numbers of the pictures of one step.

    Before `config.focus`: every picture once an epoch, the first epoch chunk by chunk in rising order. From then on:
    three of four pictures with at most one item, because kinds are learned from single entities, one of four with more.
    """
    if step >= config.focus:
        few, many = _by_items(config.seed, config.pictures)
        generator = torch.Generator().manual_seed(key(config.seed, "focused pictures", step))
        places = torch.rand(config.batch, generator=generator).tolist()
        return [(few if i % 4 else many)[int(place * len(few if i % 4 else many))] for i, place in enumerate(places)]
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
    places = [divmod(number, config.chunk) for number in picture_numbers(config, step)]
    generator = torch.Generator().manual_seed(key(config.seed, "captions of step", step))
    variants = torch.randint(config.captions, (len(places),), generator=generator).tolist()
    latents = np.stack([latents_of_chunk(config, folder, chunk, autoencoder)[n] for chunk, n in places])
    ids = [tokens_of_chunk(config, folder, c, tokenizer)[n, v] for (c, n), v in zip(places, variants, strict=True)]
    tokens = torch.from_numpy(np.stack(ids).astype(np.int64))
    dropped = torch.rand(len(places), generator=generator) < config.caption_dropout
    return Batch(torch.from_numpy(latents), torch.where(dropped[:, None], empty, tokens))

"""Cached training pairs: latents of the pictures, item coverage and tokens of their captions, one file a chunk."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stage.draws import Draws, key
from stage.files import read_array, write_array
from stage.model.autoencoder import COLOURS
from stage.model.config import StageConfig
from stage.model.pictures import Kind, coverage_of_chunk, pictures_of_chunk, scene_of, to_signal
from stage.world.captions import caption


class Batch(NamedTuple):
    """Latents float32 [B, C, h, w], item coverage float32 [B, h, w] in 0..1 and tokens int64 [B, T] of one step."""

    latents: Tensor
    coverage: Tensor
    tokens: Tensor


def tokens_of_chunk(config: StageConfig, folder: Path, kind: Kind, chunk: int, tokenizer: Any) -> NDArray[np.int16]:
    """Token ids int16 [chunk, captions, T] of the pictures of one chunk."""
    path = folder / f"{kind}s" / "tokens" / f"{chunk:04d}.npy"
    if not path.exists():
        scenes = [scene_of(config, kind, n) for n in range(chunk * config.chunk, (chunk + 1) * config.chunk)]
        texts = [
            caption(scene, Draws(config.seed, f"{kind} caption", scene.number, i))
            for scene in scenes
            for i in range(config.captions)
        ]
        ids = tokenizer(texts, padding="max_length", max_length=tokenizer.model_max_length).input_ids
        write_array(path, np.asarray(ids, dtype=np.int16).reshape(config.chunk, config.captions, -1))
    return read_array(path)


@torch.no_grad()
def latents_of_chunk(
    config: StageConfig, folder: Path, kind: Kind, chunk: int, autoencoder: Any
) -> NDArray[np.float16]:
    """Latent means times the scaling factor, float16 [chunk, C, h, w], of the pictures of one chunk."""
    path = folder / f"{kind}s" / "latents" / f"{chunk:04d}.npy"
    if not path.exists():
        pictures = pictures_of_chunk(config, folder, kind, chunk)
        size = min(32, config.chunk)
        parts = [
            autoencoder.encode(to_signal(pictures[i : i + size]).to(autoencoder.device)).latent_dist.mean
            * autoencoder.config.scaling_factor
            for i in range(0, config.chunk, size)
        ]
        write_array(path, torch.cat(parts).half().cpu().numpy())
    return read_array(path)


def pictures_of_step(config: StageConfig, step: int) -> tuple[Kind, list[int]]:
    """What step `step` of the denoiser shows, and the numbers of its pictures.

    Portraits alone at first: they cost a quarter and hold all there is to learn about kinds; then scenes and portraits
    in turn; then scenes alone; last the later scenes, numbered after the first ones.
    """
    mixed = step - config.portrait_steps
    alone = mixed - config.mixed_steps
    later = alone - config.scene_steps
    if later >= 0:
        pool = range(config.scenes, config.scenes + config.later_scenes)
        return "scene", picture_numbers(config, "scene", pool, later)
    if alone >= 0:
        return "scene", picture_numbers(config, "scene", range(config.scenes), alone + config.mixed_steps // 2)
    if mixed >= 0 and mixed % 2 == 0:
        return "scene", picture_numbers(config, "scene", range(config.scenes), mixed // 2)
    position = step if mixed < 0 else config.portrait_steps + mixed // 2
    return "portrait", picture_numbers(config, "portrait", range(config.portraits), position)


def batch_size(config: StageConfig, kind: Kind) -> int:
    """Pictures a step."""
    return config.portrait_batch if kind == "portrait" else config.scene_batch


def picture_numbers(config: StageConfig, kind: Kind, pool: range, position: int) -> list[int]:
    """Numbers of the pictures of the `position`-th step of this kind from `pool`: every picture once an epoch, the
    first epoch chunk by chunk in rising order.
    """
    batch = batch_size(config, kind)
    chunks, batches = len(pool) // config.chunk, config.chunk // batch
    epoch, place = divmod(position, chunks * batches)
    slot, part = divmod(place, batches)
    order = list(range(chunks)) if epoch == 0 else permutation(chunks, config.seed, f"{kind} chunks", epoch)
    chunk = pool.start // config.chunk + order[slot]
    within = permutation(config.chunk, config.seed, f"{kind} pictures", epoch, chunk)
    return [chunk * config.chunk + n for n in within[part * batch : (part + 1) * batch]]


def channel_scales(config: StageConfig, step: int) -> Tensor:
    """Standard deviations of the latent channels that step `step` of the denoiser sees, float32 [C]: 1 for the mean
    colours, `config.detail` for the others.
    """
    before, later = config.detail
    scales = torch.full((config.latent_channels,), before if step < config.steps - config.later_steps else later)
    scales[:COLOURS] = 1
    return scales


def permutation(count: int, seed: int, purpose: str, *ids: int) -> list[int]:
    """A keyed permutation of 0..count-1."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(key(seed, purpose, *ids))).tolist()


def batch_of_step(
    config: StageConfig, folder: Path, step: int, *, tokenizer: Any, autoencoder: Any, empty: Tensor
) -> Batch:
    """The training pairs of one step; with probability `caption_dropout` a caption is `empty`, int64 [T]
    (arXiv:2207.12598).
    """
    kind, numbers = pictures_of_step(config, step)
    places = [divmod(number, config.chunk) for number in numbers]
    generator = torch.Generator().manual_seed(key(config.seed, "captions of step", step))
    variants = torch.randint(config.captions, (len(places),), generator=generator).tolist()
    latents = np.stack([latents_of_chunk(config, folder, kind, chunk, autoencoder)[n] for chunk, n in places])
    coverage = np.stack([coverage_of_chunk(config, folder, kind, chunk)[n] for chunk, n in places])
    ids = [
        tokens_of_chunk(config, folder, kind, chunk, tokenizer)[n, variant]
        for (chunk, n), variant in zip(places, variants, strict=True)
    ]
    tokens = torch.from_numpy(np.stack(ids).astype(np.int64))
    dropped = torch.rand(len(places), generator=generator) < config.caption_dropout
    return Batch(
        torch.from_numpy(latents).float() * channel_scales(config, step)[:, None, None],
        torch.from_numpy(coverage).float(),
        torch.where(dropped[:, None], empty, tokens),
    )

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
from stage.model.config import Phase, StageConfig
from stage.model.pictures import Kind, looks_of_chunk, pictures_of_chunk, scene_of, shares_of_chunk, to_signal
from stage.world.captions import caption


class Batch(NamedTuple):
    """One step: latents float32 [B, C, h, w]; share of every cell that items cover, float32 [B, h, w] in 0..1; index of
    kind and colour of the item that covers more than half of a cell, int64 [B, 2, h, w], -1 where none does; tokens
    int64 [B, T].
    """

    latents: Tensor
    coverage: Tensor
    shown: Tensor
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
    in turn; then scenes alone. Phases over the same pictures go on where the one before ended.
    """
    number, phase, step = config.place(step)
    kind = _kind(phase, step)
    before = sum(
        _shown(p, kind, p.steps) for p in config.phases[:number] if kind == "portrait" or p.scenes == phase.scenes
    )
    pool = range(config.portraits) if kind == "portrait" else scenes_of(config, phase)
    return kind, picture_numbers(config, kind, pool, before + _shown(phase, kind, step))


def _kind(phase: Phase, step: int) -> Kind:
    turn = step - phase.portraits
    return "portrait" if turn < 0 or (turn < phase.turns and turn % 2) else "scene"


def _shown(phase: Phase, kind: Kind, steps: int) -> int:
    """How many of the first `steps` steps of a phase show pictures of this kind."""
    turns = min(max(steps - phase.portraits, 0), phase.turns)
    portraits = min(steps, phase.portraits) + turns // 2
    return portraits if kind == "portrait" else steps - portraits


def scenes_of(config: StageConfig, phase: Phase) -> range:
    """Numbers of the scenes that a phase shows; the later ones are numbered after the first."""
    every = range(config.scenes + config.later_scenes)
    return {"first": every[: config.scenes], "later": every[config.scenes :], "all": every}[phase.scenes]


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


def channel_scales(config: StageConfig, phase: Phase) -> Tensor:
    """Standard deviations of the latent channels that a phase sees, float32 [C]: 1 for the mean colours,
    `phase.detail` for the others.
    """
    scales = torch.full((config.latent_channels,), phase.detail)
    scales[:COLOURS] = 1
    return scales


def permutation(count: int, seed: int, purpose: str, *ids: int) -> list[int]:
    """A keyed permutation of 0..count-1."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(key(seed, purpose, *ids))).tolist()


def shown_in_cells(shares: NDArray[np.float32], looks: NDArray[np.int8]) -> NDArray[np.int64]:
    """Shares [B, items, h, w] and looks [B, items, 2] of items -> looks of the item that covers more than half of each
    cell, int64 [B, 2, h, w], -1 where none does.
    """
    owner = shares.argmax(1)
    rows = np.arange(len(owner))[:, None, None]
    shown = looks.astype(np.int64)[rows, owner].transpose(0, 3, 1, 2)
    return np.where(shares.max(1, keepdims=True) > 0.5, shown, -1)


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
    shares = np.stack([shares_of_chunk(config, folder, kind, chunk)[n] for chunk, n in places]).astype(np.float32)
    looks = np.stack([looks_of_chunk(config, folder, kind, chunk)[n] for chunk, n in places])
    ids = [
        tokens_of_chunk(config, folder, kind, chunk, tokenizer)[n, variant]
        for (chunk, n), variant in zip(places, variants, strict=True)
    ]
    tokens = torch.from_numpy(np.stack(ids).astype(np.int64))
    dropped = torch.rand(len(places), generator=generator) < config.caption_dropout
    return Batch(
        torch.from_numpy(latents).float() * channel_scales(config, config.place(step).phase)[:, None, None],
        torch.from_numpy(shares.sum(1).clip(0, 1)),
        torch.from_numpy(shown_in_cells(shares, looks)),
        torch.where(dropped[:, None], empty, tokens),
    )

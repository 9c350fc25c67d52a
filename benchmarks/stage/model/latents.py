"""Cached training pairs: latents of the pictures, item coverage and tokens of their captions, one file a chunk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stage.draws import Draws, key
from stage.files import read_array, write_array
from stage.model.autoencoder import ANCHORED
from stage.model.config import Phase, StageConfig
from stage.model.pictures import (
    Kind,
    looks_of_chunk,
    pictures_of_chunk,
    places_of_chunk,
    remembered,
    scene_of,
    shares_of_chunk,
    to_signal,
)
from stage.world.captions import caption


class Twin(NamedTuple):
    """The other pictures that a step's items remember: latents float32 [B, C, h', w'], tokens int64 [B, T], the cells
    of them that show the item, bool [B, h', w'], and the cells of the step's own pictures that see these, bool
    [B, h, w].
    """

    latents: Tensor
    tokens: Tensor
    shown: Tensor
    item: Tensor


class Batch(NamedTuple):
    """One step: latents float32 [B, C, h, w]; share of every cell that items cover, float32 [B, h, w] in 0..1; index of
    kind and colour of the item that covers more than half of a cell, int64 [B, 2, h, w], -1 where none does; tokens
    int64 [B, T]; and, where the step has memories, their pictures.
    """

    latents: Tensor
    coverage: Tensor
    shown: Tensor
    tokens: Tensor
    twin: Twin | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """The same with every tensor changed."""
        twin = None if self.twin is None else Twin(*map(change, self.twin))
        latents, coverage, shown, tokens = map(change, self[:4])
        return Batch(latents, coverage, shown, tokens, twin)


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
    in turn; then scenes alone. A phase goes on with the pictures where the one before ended.
    """
    number, phase, step = config.place(step)
    kind = _kind(phase, step)
    before = sum(_shown(p, kind, p.steps) for p in config.phases[:number])
    return kind, picture_numbers(config, kind, before + _shown(phase, kind, step))


def _kind(phase: Phase, step: int) -> Kind:
    turn = step - phase.portraits
    return "portrait" if turn < 0 or (turn < phase.turns and turn % 2) else "scene"


def _shown(phase: Phase, kind: Kind, steps: int) -> int:
    """How many of the first `steps` steps of a phase show pictures of this kind."""
    turns = min(max(steps - phase.portraits, 0), phase.turns)
    portraits = min(steps, phase.portraits) + turns // 2
    return portraits if kind == "portrait" else steps - portraits


def batch_size(config: StageConfig, kind: Kind) -> int:
    """Pictures a step."""
    return config.portrait_batch if kind == "portrait" else config.scene_batch


def picture_numbers(config: StageConfig, kind: Kind, position: int) -> list[int]:
    """Numbers of the pictures of the `position`-th step of this kind: every picture once an epoch, the first epoch
    chunk by chunk in rising order.
    """
    batch = batch_size(config, kind)
    count = config.portraits if kind == "portrait" else config.scenes
    chunks, batches = count // config.chunk, config.chunk // batch
    epoch, place = divmod(position, chunks * batches)
    slot, part = divmod(place, batches)
    chunk = slot if epoch == 0 else permutation(chunks, config.seed, f"{kind} chunks", epoch)[slot]
    within = permutation(config.chunk, config.seed, f"{kind} pictures", epoch, chunk)
    return [chunk * config.chunk + n for n in within[part * batch : (part + 1) * batch]]


def channel_scales(config: StageConfig) -> Tensor:
    """Standard deviations of the latent channels that the denoiser sees, float32 [C]: 1 for mean colours and map,
    `config.detail` for the others.
    """
    scales = torch.full((config.latent_channels,), config.detail)
    scales[:ANCHORED] = 1
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


def box_cells(places: NDArray[np.float32], cells: int) -> NDArray[np.bool_]:
    """Boxes [B, 5] (`pictures.places_of_chunk`) -> cells whose middle lies in the box, bool [B, cells, cells]."""
    middles = (np.arange(cells) + 0.5) / cells
    x0, y0, x1, y1, _ = (column[:, None] for column in places.T)
    across, down = (middles > x0) & (middles < x1), (middles > y0) & (middles < y1)
    return down[:, :, None] & across[:, None]


def batch_of_step(
    config: StageConfig, folder: Path, step: int, *, tokenizer: Any, autoencoder: Any, empty: Tensor
) -> Batch:
    """The training pairs of one step; with probability `caption_dropout` a caption is `empty`, int64 [T]
    (arXiv:2207.12598).
    """
    kind, numbers = pictures_of_step(config, step)
    generator = torch.Generator().manual_seed(key(config.seed, "captions of step", step))
    variants = torch.randint(config.captions, (len(numbers),), generator=generator).tolist()

    # The pictures of a step lie in one chunk.
    chunk, within = numbers[0] // config.chunk, [n % config.chunk for n in numbers]

    def rows(part: Callable[..., NDArray[Any]], of: Kind, *others: Any) -> NDArray[Any]:
        return part(config, folder, of, chunk, *others)[within]

    def texts(of: Kind) -> Tensor:
        ids = rows(tokens_of_chunk, of, tokenizer)[np.arange(len(numbers)), variants]
        return torch.from_numpy(ids.astype(np.int64))

    scales = channel_scales(config)[:, None, None]
    shares, looks = rows(shares_of_chunk, kind).astype(np.float32), rows(looks_of_chunk, kind)
    dropped = torch.rand(len(numbers), generator=generator) < config.caption_dropout
    # Guidance adds what a memory changes to what the caption changes, so that the empty caption sees none.
    sees = (torch.rand(len(numbers), generator=generator) < config.place(step).phase.memories) & ~dropped
    twin = None
    if kind == "scene" and sees.any():
        chosen = [remembered(config, n, int((look[:, 0] >= 0).sum())) for n, look in zip(numbers, looks, strict=True)]
        places = rows(places_of_chunk, "scene")[np.arange(len(numbers)), chosen]
        hidden = shares.copy()
        hidden[np.arange(len(numbers)), chosen] = 0
        item = box_cells(places, shares.shape[-1]) & (hidden.sum(1) < 0.5) & sees.numpy()[:, None, None]
        shown = rows(shares_of_chunk, "twin").astype(np.float32).sum(1) > 0.5
        latents = torch.from_numpy(rows(latents_of_chunk, "twin", autoencoder)).float() * scales
        twin = Twin(latents, texts("twin"), torch.from_numpy(shown), torch.from_numpy(item))
    return Batch(
        torch.from_numpy(rows(latents_of_chunk, kind, autoencoder)).float() * scales,
        torch.from_numpy(shares.sum(1).clip(0, 1)),
        torch.from_numpy(shown_in_cells(shares, looks)),
        torch.where(dropped[:, None], empty, texts(kind)),
        twin,
    )

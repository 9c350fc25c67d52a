"""A small reader of kinds: a convolutional network that names the kind in a crop, trained on the world's pictures."""

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional

from stage.checkpoint import load_checkpoint, save_checkpoint
from stage.draws import Draws, key
from stage.world.scene import render, sample_scene
from stage.world.vocabulary import KINDS

CROP = 32
_SEED = 77
_STEPS, _BATCH, _SCENES = 600, 64, 3_000


def crop(picture: NDArray[np.uint8], box: tuple[float, float, float, float], *, blur: float = 0.0) -> NDArray[np.uint8]:
    """The box (x0, y0, x1, y1 in 0..1) with a margin of 6 % of the picture, resized to uint8 [32, 32, 3]; what lies
    outside is grey.
    """
    side = picture.shape[0]
    corners = [(value + margin) * side for value, margin in zip(box, (-0.06, -0.06, 0.06, 0.06), strict=True)]
    image = Image.fromarray(picture)
    image = image.filter(ImageFilter.GaussianBlur(blur)) if blur else image
    padded = Image.new("RGB", (3 * side, 3 * side), (128, 128, 128))
    padded.paste(image, (side, side))
    corner = tuple(value + side for value in corners)
    return np.asarray(padded.resize((CROP, CROP), Image.Resampling.BILINEAR, box=corner))


def build_reader() -> nn.Module:
    """The untrained network: uint8-scaled float32 [B, 3, 32, 32] in -1..1 -> logits [B, 11] over `KINDS`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(_SEED, "kind reader weights"))
        widths = (3, 24, 48, 96)
        blocks = [
            layer
            for a, b in itertools.pairwise(widths)
            for layer in (nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.ReLU(), nn.MaxPool2d(2))
        ]
        return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(96 * (CROP // 8) ** 2, len(KINDS)))


def _examples(seed: int, scenes: range) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Crops and kind indices of every item of these scenes, boxes jittered by up to 4 % of the picture, half of them
    blurred.
    """
    crops, labels = [], []
    for number in scenes:
        scene = sample_scene(seed, number)
        picture = render(scene)
        for item in scene.items:
            draws = Draws(seed, "crop", number, item.z)
            x0, y0, x1, y1 = (value + draws.uniform(-0.04, 0.04) for value in item.box)
            crops.append(crop(picture, (x0, y0, x1, y1), blur=draws.uniform(0.3, 1.1) if draws.chance(0.5) else 0.0))
            labels.append(KINDS.index(item.kind))
    return np.stack(crops), np.array(labels)


def _signal(crops: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.array(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def kinds_of(reader: nn.Module, crops: NDArray[np.uint8]) -> list[str]:
    """The most likely kind of every crop, uint8 [B, 32, 32, 3]."""
    return [KINDS[i] for i in reader(_signal(crops)).argmax(1).tolist()]


def train_reader(folder: Path) -> tuple[nn.Module, float]:
    """Train or load the reader.

    Returns:
        The network and its accuracy on 500 scenes of another seed, unblurred and blurred items mixed as in training.
    """
    path = folder / "kind_reader.safetensors"
    reader = build_reader()
    optimiser: Any = torch.optim.AdamW(reader.parameters(), lr=2e-3)
    if load_checkpoint(path, {"reader": reader})[0] < _STEPS:
        crops, labels = _examples(_SEED, range(_SCENES))
        began = time.monotonic()
        for step in range(_STEPS):
            for group in optimiser.param_groups:
                group["lr"] = 2e-3 * (1 - step / _STEPS)
            generator = torch.Generator().manual_seed(key(_SEED, "kind reader batch", step))
            chosen = torch.randint(len(crops), (_BATCH,), generator=generator).tolist()
            loss = functional.cross_entropy(reader(_signal(crops[chosen])), torch.from_numpy(labels[chosen]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if step % 250 == 0:
                print(f"kind reader {step} loss {loss.item():.3f} {time.monotonic() - began:.0f}s", flush=True)
        save_checkpoint(path, {"reader": reader}, optimiser, step=_STEPS, curve=[])
    crops, labels = _examples(_SEED + 1, range(500))
    found = kinds_of(reader.eval(), crops)
    return reader, float(np.mean([KINDS.index(kind) == label for kind, label in zip(found, labels, strict=True)]))


def largest_box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """The box (0..1) around a mask, bool [H, W], leaving out the outermost 2 % of its pixels on each side; None when
    it is empty.
    """
    if not mask.any():
        return None
    y, x = np.nonzero(mask)
    x0, x1 = np.quantile(x, (0.02, 0.98))
    y0, y1 = np.quantile(y, (0.02, 0.98))
    height, width = mask.shape
    return float(x0 / width), float(y0 / height), float((x1 + 1) / width), float((y1 + 1) / height)

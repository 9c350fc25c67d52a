"""Writing of the trained model as a diffusers folder that `StableDiffusionPipeline.from_pretrained` loads."""

import copy
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stage.files import replace_folder, write_json
from stage.model.autoencoder import divide_latents
from stage.model.networks import build_scheduler

SUMS = "SHA256SUMS"
# Files that others write into the folder.
KEPT = ("README.md", "raccord.json")


def export(target: Path, *, tokenizer: Any, autoencoder: Any, scales: Tensor, text_encoder: Any, unet: Any) -> None:
    """Write safetensors (half precision but for the text encoder), configs, tokenizer, scheduler, `model_index.json`
    and `SHA256SUMS` to `target`.

    The folder is built beside `target` and renamed into its place. The files named in `KEPT` are kept. The autoencoder
    is written with its latent channels multiplied by `scales`, float32 [C]: those that the denoiser was trained on.
    """
    import diffusers

    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    autoencoder = copy.deepcopy(autoencoder).cpu()
    divide_latents(autoencoder, 1 / scales)
    # diffusers reads half-precision files into float32 modules; transformers 5 keeps the file's type, so the text
    # encoder stays float32.
    for name, module, dtype in (
        ("vae", autoencoder, torch.float16),
        ("text_encoder", text_encoder, torch.float32),
        ("unet", unet, torch.float16),
    ):
        saved = copy.deepcopy(module).to(dtype, memory_format=torch.contiguous_format)
        saved.save_pretrained(fresh / name, safe_serialization=True)
    tokenizer.save_pretrained(fresh / "tokenizer")
    build_scheduler().save_pretrained(fresh / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_json(fresh / "model_index.json", index)
    for name in KEPT:
        if (target / name).exists():
            shutil.copyfile(target / name, fresh / name)
    write_sums(fresh)
    replace_folder(fresh, target)


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS` over every other file of the folder, in the format of sha256sum."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    ]
    (folder / SUMS).write_text("".join(lines))

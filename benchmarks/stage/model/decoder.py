"""A longer training of the decoder alone, on fixed latents; the denoiser can train at the same time because the
latents do not move.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stage.checkpoint import load_checkpoint, save_checkpoint
from stage.draws import key
from stage.files import write_json
from stage.model.autoencoder import NOISE, psnr, reconstruction_loss
from stage.model.config import StageConfig
from stage.model.latents import latents_of_chunk
from stage.model.pictures import Kind, pictures_of_chunk, to_signal
from stage.model.precision import autocast
from stage.model.rate import learning_rate

# Weight of steepness in the last steps, and width in pixels of the neighbourhood whose steepest edge counts.
STEEP, REACH = 0.5, 5


def _steepest(signals: Tensor) -> Tensor:
    across = signals[..., :-1, 1:] - signals[..., :-1, :-1]
    down = signals[..., 1:, :-1] - signals[..., :-1, :-1]
    # Not zero, where the square root has no slope.
    slope = (across.square().sum(1, keepdim=True) + down.square().sum(1, keepdim=True) + 1e-6).sqrt()
    return functional.max_pool2d(slope, REACH, stride=1, padding=REACH // 2)


def steepness_loss(result: Tensor, target: Tensor) -> Tensor:
    """Mean difference between the steepest edges around every pixel; [B, 3, H, W] in -1..1 -> scalar.

    Where an edge is uncertain by a pixel, the least pixel error is a blurred edge. The steepest edge nearby is the same
    wherever in the neighbourhood it stands, so here blur costs and a small shift does not.
    """
    return (_steepest(result) - _steepest(target)).abs().mean()


def decoder_rate(config: StageConfig, step: int) -> float:
    """The learning rate of a step: one warm-up and cosine, then one for steep edges."""
    steep = step - config.decoder_steps
    if steep < 0:
        return learning_rate(step, steps=config.decoder_steps, peak=config.decoder_rate, warmup=50)
    return learning_rate(steep, steps=config.steep_steps, peak=config.decoder_rate, warmup=50)


def training_pairs(config: StageConfig, folder: Path, step: int, autoencoder: Any) -> tuple[Tensor, Tensor]:
    """Latents [B, C, h, w] and signals [B, 3, H, W] of one step: portraits, or windows of scenes of the same size."""
    kind: Kind = "scene" if step % 2 else "portrait"
    generator = torch.Generator().manual_seed(key(config.seed, "decoder batch", step))
    chunks = (config.scenes if kind == "scene" else config.portraits) // config.chunk
    chunk = int(torch.randint(chunks, (1,), generator=generator))
    within = torch.randint(config.chunk, (config.vae_batch,), generator=generator).tolist()
    cells = config.side // config.factor // 2
    y, x = torch.randint(cells + 1, (2,), generator=generator).tolist() if kind == "scene" else (0, 0)
    latents = latents_of_chunk(config, folder, kind, chunk, autoencoder)[within][..., y : y + cells, x : x + cells]
    f = config.factor
    pictures = pictures_of_chunk(config, folder, kind, chunk)[within]
    pictures = pictures[:, f * y : f * (y + cells), f * x : f * (x + cells)]
    return torch.from_numpy(np.array(latents)).float(), to_signal(pictures)


def train_decoder(config: StageConfig, folder: Path, autoencoder: Any) -> Any:
    """Train or resume the decoder of `autoencoder` in place; keyed by step. Files: `decoder.safetensors`,
    `decoder_curve.json`.
    """
    device = torch.device(config.device)
    decoder: Any = torch.nn.ModuleDict({"post_quant_conv": autoencoder.post_quant_conv, "decoder": autoencoder.decoder})
    decoder.to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(
        decoder.parameters(), lr=config.decoder_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    path = folder / "decoder.safetensors"
    start, curve = load_checkpoint(path, {"decoder": decoder}, optimiser)
    began = time.monotonic()
    steps = config.decoder_steps + config.steep_steps
    for step in range(start, steps):
        for group in optimiser.param_groups:
            group["lr"] = decoder_rate(config, step)
        latents, target = training_pairs(config, folder, step, autoencoder)
        generator = torch.Generator().manual_seed(key(config.seed, "decoder noise", step))
        latents = (latents + NOISE * torch.randn(latents.shape, generator=generator)).to(device)
        target = target.to(device)
        with autocast(config):
            result = autoencoder.decode(latents / autoencoder.config.scaling_factor).sample.float()
        loss = reconstruction_loss(result, target, emphasis=0.5)
        if step >= config.decoder_steps:
            loss = loss + STEEP * steepness_loss(result, target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        done = step + 1 == steps
        if (step + 1) % 50 == 0 or done:
            curve.append([step + 1, loss.item(), psnr(result.detach(), target)])
            write_json(folder / "decoder_curve.json", curve)
            print(
                f"decoder {step + 1} loss {loss.item():.4f} psnr {curve[-1][2]:.2f} {time.monotonic() - began:.0f}s",
                flush=True,
            )
        if (step + 1) % config.checkpoint_every == 0 or done:
            save_checkpoint(path, {"decoder": decoder}, optimiser, step=step + 1, curve=curve)
    return autoencoder.eval()

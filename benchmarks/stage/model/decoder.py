"""A longer training of the decoder alone, on fixed latents; the denoiser can train at the same time because the
latents do not move.
"""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stage.checkpoint import load_checkpoint, save_checkpoint
from stage.draws import key
from stage.files import write_json
from stage.model.autoencoder import ANCHORED, NOISE, psnr, reconstruction_loss, training_pictures
from stage.model.config import StageConfig
from stage.model.latents import latents_of_chunk
from stage.model.precision import autocast
from stage.model.rate import learning_rate

# Greatest standard deviation of the further noise on detail channels.
LOOSE = 0.6
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


def loosened(latents: Tensor, generator: torch.Generator) -> Tensor:
    """Latents [B, C, h, w] with the noise that the decoder must bear: a little everywhere, and on the detail channels
    up to `LOOSE` more, differently for each picture. A denoiser's details are its worst channels, and what the picture
    and the map of the cells say suffices to draw sharply.
    """
    spread = torch.full(latents.shape[:2], NOISE)
    spread[:, ANCHORED:] += LOOSE * torch.rand(len(latents), 1, generator=generator).square()
    return latents + spread[:, :, None, None] * torch.randn(latents.shape, generator=generator)


def train_decoder(config: StageConfig, folder: Path, autoencoder: Any) -> Any:
    """Train or resume the decoder of `autoencoder` in place; keyed by step. Files: `decoder.safetensors`,
    `decoder_curve.json`.
    """
    device = torch.device(config.device)
    decoder: Any = torch.nn.ModuleDict({"post_quant_conv": autoencoder.post_quant_conv, "decoder": autoencoder.decoder})
    decoder.to(device).train()
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
        sample = training_pictures(config, folder, step, "decoder batch")
        target = sample.signals.to(device)
        latents = latents_of_chunk(config, folder, sample.kind, sample.chunk, autoencoder)[sample.rows]
        generator = torch.Generator().manual_seed(key(config.seed, "decoder noise", step))
        latents = loosened(torch.from_numpy(latents).float(), generator).to(device)
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

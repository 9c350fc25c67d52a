"""The stage's autoencoder: diffusers' `AutoencoderKL` at factor 4, trained on the world's pictures."""

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
from stage.model.config import StageConfig
from stage.model.pictures import pictures_of_chunk, to_signal


def build_autoencoder(config: StageConfig) -> Any:
    """An untrained `AutoencoderKL` whose weights depend on `config.seed` only."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    # Its annotations allow tuples of length one only.
    build: Any = AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(config.seed, "autoencoder weights"))
        depth = len(config.vae_channels)
        return build(
            down_block_types=("DownEncoderBlock2D",) * depth,
            up_block_types=("UpDecoderBlock2D",) * depth,
            block_out_channels=config.vae_channels,
            layers_per_block=1,
            latent_channels=config.latent_channels,
            norm_num_groups=8,
            sample_size=config.side,
            # The decoder's attention costs time and sees nothing that convolutions on flat drawings would need.
            mid_block_add_attention=False,
        )


def _edges(pictures: Tensor) -> tuple[Tensor, Tensor]:
    return pictures[..., 1:, :] - pictures[..., :-1, :], pictures[..., 1:] - pictures[..., :-1]


def reconstruction_loss(result: Tensor, target: Tensor, *, emphasis: float) -> Tensor:
    """L1 + L2 + L1 of the pixel differences, which keeps edges crisp; [B, 3, H, W] in -1..1 -> scalar.

    Pixels near saturated colour weigh up to 1 + 2 * emphasis: settings are pale, easy and most of the area.
    """
    chroma = target.amax(1, keepdim=True) - target.amin(1, keepdim=True)
    error = (result - target) * (1 + emphasis * functional.max_pool2d(chroma, 7, stride=1, padding=3))
    edges = sum((a - b).abs().mean() for a, b in zip(_edges(result), _edges(target), strict=True))
    return error.abs().mean() + error.square().mean() + 0.5 * edges


def psnr(result: Tensor, target: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over a whole batch of signals in -1..1 (peak to peak 2); the result is clipped
    first.
    """
    return -10 * torch.log10(((result.clamp(-1, 1) - target) / 2).square().mean()).item()


@torch.no_grad()
def normalise_latents(model: Any, signals: Tensor) -> None:
    """Fold an affine map into the 1x1 convolutions around the latents so that each channel has mean 0 and variance 1
    on `signals`.

    Reconstructions do not change; `scaling_factor` becomes 1 in effect, for every channel and not only on average.
    """
    latents = torch.cat([model.encode(part).latent_dist.mean for part in signals.split(64)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    model.quant_conv.bias[:channels] -= mean
    model.quant_conv.weight[:channels] /= std[:, None, None, None]
    model.quant_conv.bias[:channels] /= std
    # The second half is the log-variance of the posterior.
    model.quant_conv.bias[channels:] -= 2 * std.log()
    weight = model.post_quant_conv.weight
    model.post_quant_conv.bias += weight[:, :, 0, 0] @ mean
    weight *= std[None, :, None, None]
    model.register_to_config(scaling_factor=1.0)


def train_autoencoder(config: StageConfig, folder: Path) -> Any:
    """Train or resume the autoencoder; keyed by step, so a resumed run ends in the same weights.

    Files in `folder`: `vae.safetensors` (checkpoint), `vae_curve.json`.
    """
    model = build_autoencoder(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.vae_rate, betas=(0.9, 0.99), weight_decay=0.0)
    path = folder / "vae.safetensors"
    start, curve = load_checkpoint(path, {"model": model}, optimiser)
    chunks = [pictures_of_chunk(config, folder, chunk) for chunk in range(config.vae_chunks)]
    model.to(memory_format=torch.channels_last).train()
    began = time.monotonic()
    sampled, settled = config.vae_steps
    total = sampled + settled
    for step in range(start, total):
        place, length = (step, sampled) if step < sampled else (step - sampled, settled)
        rate = config.vae_rate * min(1.0, (place + 1) / 50) * 0.5 * (1 + np.cos(np.pi * place / length))
        for group in optimiser.param_groups:
            group["lr"] = float(rate)
        generator = torch.Generator().manual_seed(key(config.seed, "autoencoder batch", step))
        numbers = torch.randint(config.vae_chunks * config.chunk, (config.vae_batch,), generator=generator).tolist()
        target = to_signal(np.stack([chunks[n // config.chunk][n % config.chunk] for n in numbers]))
        posterior = model.encode(target).latent_dist
        latents = posterior.mean
        if step < sampled:
            latents = latents + posterior.std * torch.randn(latents.shape, generator=generator)
        result = model.decode(latents).sample
        loss = reconstruction_loss(result, target, emphasis=float(step >= sampled)) + 1e-6 * posterior.kl().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if step % 50 == 0 or step == total - 1:
            decibels = psnr(result.detach(), target)
            curve.append([step, loss.item(), decibels])
            write_json(folder / "vae_curve.json", curve)
            print(
                f"autoencoder {step} loss {loss.item():.4f} psnr {decibels:.2f} {time.monotonic() - began:.0f}s",
                flush=True,
            )
        if (step + 1) % config.checkpoint_every == 0 or step + 1 == total:
            save_checkpoint(path, {"model": model}, optimiser, step=step + 1, curve=curve)
    if model.config.scaling_factor != 1.0:
        normalise_latents(model, to_signal(chunks[0][:512]))
    return model.eval()

"""The stage's autoencoder: diffusers' `AutoencoderKL`, trained on portraits and on windows of whole scenes."""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from stage.checkpoint import load_checkpoint, save_checkpoint
from stage.draws import key
from stage.files import write_json
from stage.model import layout
from stage.model.config import StageConfig
from stage.model.muon import build_optimiser
from stage.model.pictures import Kind, layout_of_pictures, pictures_of_chunk, to_signal
from stage.model.precision import autocast
from stage.model.rate import learning_rate

# Standard deviation of the noise on the latents that the decoder sees in training: it must bear a denoiser's errors.
NOISE = 0.1
# The first channels of the latents hold the mean colours of their cells, the next ones the map (`stage.model.layout`).
COLOURS = 3
ANCHORED = COLOURS + layout.CHANNELS
# Weights of the three terms that shape the latents: mean colours, map, small values.
ANCHOR, MAP, SMALL = 0.3, 1.0, 1e-3


class Sample(NamedTuple):
    """Some pictures of one chunk, and their signals float32 [B, 3, H, W] in -1..1."""

    kind: Kind
    chunk: int
    rows: list[int]
    signals: Tensor


def build_autoencoder(config: StageConfig) -> Any:
    """An untrained `AutoencoderKL` whose weights depend on `config.seed` only."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    # Its annotations allow tuples of length one only.
    build: Any = AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(config.seed, "autoencoder weights"))
        depth = len(config.vae_channels)
        model = build(
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
    # A posterior of fixed variance: the half of this layer that gives the log-variance is constant.
    with torch.no_grad():
        model.quant_conv.weight[config.latent_channels :] = 0
        model.quant_conv.bias[config.latent_channels :] = 2 * math.log(NOISE)
    return model


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
    model.quant_conv.bias[: len(mean)] -= mean
    model.post_quant_conv.bias += model.post_quant_conv.weight[:, :, 0, 0] @ mean
    divide_latents(model, std)
    model.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def divide_latents(model: Any, divisors: Tensor) -> None:
    """Divide each latent channel by its divisor, float32 [C]; reconstructions do not change."""
    channels = len(divisors)
    model.quant_conv.weight[:channels] /= divisors[:, None, None, None]
    model.quant_conv.bias[:channels] /= divisors
    # The second half is the log-variance of the posterior.
    model.quant_conv.bias[channels:] -= 2 * divisors.log()
    model.post_quant_conv.weight *= divisors[None, :, None, None]


def latent_loss(latents: Tensor, target: Tensor, plan: Tensor) -> Tensor:
    """What keeps latents [B, C, h, w] of signals [B, 3, H, W] with maps [B, layout.CHANNELS, h, w] easy to denoise;
    scalar.

    The first channels are drawn to the mean colours of the cells and to the map, so that the latents hold a small
    picture and what is where, whatever else they hold; all values are drawn to 0 as the Kullback-Leibler term of an
    autoencoder with a posterior of fixed variance does (Kingma and Welling 2013, arXiv:1312.6114, appendix B).
    """
    colours = functional.avg_pool2d(target, target.shape[-1] // latents.shape[-1])
    pull = ANCHOR * (latents[:, :COLOURS] - 2 * colours).square().mean()
    pull = pull + MAP * (latents[:, COLOURS:ANCHORED] - plan).square().mean()
    return pull + SMALL * latents.square().mean()


def training_pictures(config: StageConfig, folder: Path, step: int, purpose: str) -> Sample:
    """Portraits and whole scenes in turn: those that one step of the autoencoder or of its decoder shows."""
    kind: Kind = "scene" if step % 2 else "portrait"
    # As many pixels either way.
    count = config.vae_batch if kind == "scene" else 4 * config.vae_batch
    generator = torch.Generator().manual_seed(key(config.seed, purpose, step))
    available = (config.scenes if kind == "scene" else config.portraits) // config.chunk
    chunk = int(torch.randint(available, (1,), generator=generator))
    rows = torch.randint(config.chunk, (count,), generator=generator).tolist()
    return Sample(kind, chunk, rows, to_signal(pictures_of_chunk(config, folder, kind, chunk)[rows]))


def train_autoencoder(config: StageConfig, folder: Path) -> Any:
    """Train or resume the autoencoder; keyed by step, so a resumed run ends in the same weights.

    Files in `folder`: `vae.safetensors` (checkpoint), `vae_curve.json`.
    """
    device = torch.device(config.device)
    model = build_autoencoder(config).to(device).train()
    optimiser = build_optimiser([model], [], muon_rate=config.vae_muon_rate, rate=config.vae_rate, weight_decay=0.0)
    path = folder / "vae.safetensors"
    start, curve = load_checkpoint(path, {"model": model}, optimiser)
    began = time.monotonic()
    for step in range(start, config.vae_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps=config.vae_steps, peak=group["peak"], warmup=50)
        sample = training_pictures(config, folder, step, "autoencoder batch")
        target = sample.signals.to(device)
        plan = layout_of_pictures(config, folder, sample.kind, sample.chunk, sample.rows).to(device)
        generator = torch.Generator().manual_seed(key(config.seed, "autoencoder noise", step))
        with autocast(config):
            latents = model.encode(target).latent_dist.mean
            noise = NOISE * torch.randn(latents.shape, generator=generator).to(device)
            result = model.decode(latents + noise).sample
        shape = latent_loss(latents.float(), target, plan)
        loss = reconstruction_loss(result.float(), target, emphasis=0.5) + shape
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        done = step + 1 == config.vae_steps
        if (step + 1) % 50 == 0 or done:
            curve.append([step + 1, round(loss.item(), 5), round(psnr(result.detach().float(), target), 3)])
            write_json(folder / "vae_curve.json", curve)
            seconds = time.monotonic() - began
            print(f"autoencoder {step + 1} loss {curve[-1][1]:.4f} psnr {curve[-1][2]:.2f} {seconds:.0f}s", flush=True)
        if (step + 1) % config.checkpoint_every == 0 or done:
            save_checkpoint(path, {"model": model}, optimiser, step=step + 1, curve=curve)
    model.eval()
    normalise_latents(model, to_signal(pictures_of_chunk(config, folder, "scene", 0)[:512]).to(device))
    return model

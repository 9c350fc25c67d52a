"""Joint training of the denoiser and the text encoder: v-prediction with zero terminal SNR, every draw keyed by (seed,
step).
"""

import copy
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from stage.checkpoint import load_checkpoint, save_checkpoint
from stage.files import write_json
from stage.model.config import StageConfig
from stage.model.export import export
from stage.model.latents import batch_of_step, channel_scales
from stage.model.memories import Memories
from stage.model.muon import build_optimiser
from stage.model.networks import build_scheduler, build_text_encoder, build_unet
from stage.model.probe import CellProbe
from stage.model.rate import learning_rate
from stage.model.step import Networks, differentiate
from stage.model.text import train_text_encoder


class Trained(NamedTuple):
    """Averaged text encoder and denoiser after the last step, and the loss curve [[step, loss], ...]."""

    text_encoder: Any
    unet: Any
    curve: list[Any]


def rate_of_step(config: StageConfig, step: int, rate: float) -> float:
    """The learning rate of a step: a warm-up and a cosine in every phase."""
    _, phase, within = config.place(step)
    return learning_rate(within, steps=phase.steps, peak=rate * phase.peak, warmup=config.warmup)


@torch.no_grad()
def average(target: nn.Module, source: nn.Module, decay: float) -> None:
    """target <- decay * target + (1 - decay) * source, for all parameters; buffers are copied."""
    for a, b in zip(target.parameters(), source.parameters(), strict=True):
        a.lerp_(b, 1 - decay)
    for a, b in zip(target.buffers(), source.buffers(), strict=True):
        a.copy_(b)


def train(
    config: StageConfig, folder: Path, *, tokenizer: Any, autoencoder: Any, target: Path, stop: int | None = None
) -> Trained:
    """Train or resume; a run resumed from any checkpoint ends in the same bytes as one never stopped.

    Args:
        folder: holds `denoiser.safetensors` (checkpoint), `curve.json` and the caches.
        target: the diffusers folder that receives the averaged weights every `export_every` steps.
        stop: end after this step as if killed there, without a final checkpoint.
    """
    from diffusers.models.attention_processor import AttnProcessor

    device = torch.device(config.device)
    text_encoder = build_text_encoder(config, tokenizer).to(device).train()
    train_text_encoder(config, folder, text_encoder, tokenizer)
    unet = build_unet(config).to(device).train()
    if device.type == "cpu":
        # Matrix products and a softmax: twice as fast to differentiate on a CPU as PyTorch's fused attention.
        unet.set_attn_processor(AttnProcessor())
    unet.to(memory_format=torch.channels_last)
    averages = {"text_encoder_average": copy.deepcopy(text_encoder).eval(), "unet_average": copy.deepcopy(unet).eval()}
    probe = CellProbe(config, unet).to(device)
    modules = {"text_encoder": text_encoder, "unet": unet, "probe": probe, **averages}
    first = Networks(text_encoder, unet, probe, Memories(unet))
    most = max(phase.parts for phase in config.phases)
    networks = [first] + [first.shared() for _ in range(most - 1)]
    threads = ThreadPoolExecutor(most, initializer=torch.set_num_threads, initargs=(1,))
    optimiser = build_optimiser(
        [unet],
        [text_encoder, probe],
        muon_rate=config.muon_rate,
        rate=config.rate,
        weight_decay=config.weight_decay,
        threads=threads,
    )
    checkpoint = folder / "denoiser.safetensors"
    start, curve = load_checkpoint(checkpoint, modules, optimiser)
    alphas = build_scheduler().alphas_cumprod.to(device)
    empty = torch.tensor(tokenizer("", padding="max_length", max_length=tokenizer.model_max_length).input_ids)
    began, recent = time.monotonic(), []
    for step in range(start, config.steps if stop is None else stop):
        batch = batch_of_step(config, folder, step, tokenizer=tokenizer, autoencoder=autoencoder, empty=empty)
        for group in optimiser.param_groups:
            group["lr"] = rate_of_step(config, step, group["peak"])
        phase = config.place(step).phase
        loss, denoising = differentiate(
            config, step, batch, networks=networks[: phase.parts], threads=threads, alphas=alphas
        )
        torch.nn.utils.clip_grad_norm_(first.parameters(), 1.0)
        optimiser.step()
        decay = min(phase.ema, (1 + step) / (10 + step))
        average(averages["text_encoder_average"], text_encoder, decay)
        average(averages["unet_average"], unet, decay)
        recent.append(denoising.item())
        if (step + 1) % 50 == 0:
            curve.append([step + 1, round(sum(recent) / len(recent), 5)])
            rate = (step + 1 - start) / (time.monotonic() - began)
            said = (loss - denoising).item()
            print(f"step {step + 1} loss {curve[-1][1]:.4f} probe {said:.4f} {rate:.2f} steps/s", flush=True)
            recent.clear()
        done = step + 1 == config.steps
        if (step + 1) % config.checkpoint_every == 0 or done:
            save_checkpoint(checkpoint, modules, optimiser, step=step + 1, curve=curve)
            write_json(folder / "curve.json", curve)
        if (step + 1) % config.export_every == 0 or done:
            export(
                target,
                tokenizer=tokenizer,
                autoencoder=autoencoder,
                scales=channel_scales(config),
                text_encoder=averages["text_encoder_average"],
                unet=averages["unet_average"],
            )
    threads.shutdown()
    return Trained(averages["text_encoder_average"], averages["unet_average"], curve)

"""A longer training of the decoder alone, on fixed latents; the denoiser can train at the same time because the
latents do not move.
"""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stage.checkpoint import load_checkpoint, save_checkpoint
from stage.draws import key
from stage.files import write_json
from stage.model.autoencoder import psnr, reconstruction_loss
from stage.model.config import StageConfig
from stage.model.latents import latents_of_chunk
from stage.model.pictures import pictures_of_chunk, to_signal

# Standard deviation of the noise on the unit-variance latents: samples of the denoiser are not exact latents either.
JITTER = 0.05


def train_decoder(config: StageConfig, folder: Path, autoencoder: Any) -> Any:
    """Train or resume the decoder of `autoencoder` in place; keyed by step. Files: `decoder.safetensors`,
    `decoder_curve.json`.
    """
    decoder: Any = torch.nn.ModuleDict({"post_quant_conv": autoencoder.post_quant_conv, "decoder": autoencoder.decoder})
    decoder.to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(
        decoder.parameters(), lr=config.decoder_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True
    )
    path = folder / "decoder.safetensors"
    start, curve = load_checkpoint(path, {"decoder": decoder}, optimiser)
    chunks = config.pictures // config.chunk
    began = time.monotonic()
    for step in range(start, config.decoder_steps):
        for group in optimiser.param_groups:
            group["lr"] = (
                config.decoder_rate
                * min(1.0, (step + 1) / 50)
                * 0.5
                * (1 + math.cos(math.pi * step / config.decoder_steps))
            )
        generator = torch.Generator().manual_seed(key(config.seed, "decoder batch", step))
        chunk = int(torch.randint(chunks, (1,), generator=generator))
        within = torch.randint(config.chunk, (config.vae_batch,), generator=generator).tolist()
        target = to_signal(pictures_of_chunk(config, folder, chunk)[within])
        latents = torch.from_numpy(np.array(latents_of_chunk(config, folder, chunk, autoencoder)[within]))
        latents = latents + JITTER * torch.randn(latents.shape, generator=generator)
        result = autoencoder.decode(latents / autoencoder.config.scaling_factor).sample
        loss = reconstruction_loss(result, target, emphasis=1.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        done = step + 1 == config.decoder_steps
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

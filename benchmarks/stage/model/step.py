"""One step of joint training: the loss of a batch, and its gradients, from parts of the batch on a thread each."""

import copy
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stage.draws import key
from stage.model.config import StageConfig
from stage.model.latents import Batch
from stage.model.memories import Memories, Sight
from stage.model.precision import autocast
from stage.model.probe import CellProbe


class Networks(NamedTuple):
    """What trains together; probe and memories listen to the denoiser."""

    text_encoder: Any
    unet: Any
    probe: CellProbe
    memories: Memories

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is trained."""
        return [p for module in (self.text_encoder, self.unet, self.probe) for p in module.parameters()]

    def shared(self) -> "Networks":
        """The same parameters in modules of their own, for one more thread: modules keep what one call shows to the
        next.
        """
        return copy.deepcopy(self, {id(parameter): parameter for parameter in self.parameters()})


class Drawn(NamedTuple):
    """What a step draws: noise float32 [B, C, h, w], timesteps int64 [B], and, where it has memories, the noise on
    their pictures.
    """

    noise: Tensor
    timesteps: Tensor
    twin: Tensor | None


def loss_weight(snr: Tensor, gamma: float) -> Tensor:
    """Weight of the v-prediction error, [B] -> [B]: min(SNR + 1, gamma) / (SNR + 1).

    Min-SNR (Hang et al. 2023, arXiv:2303.09556, section 3.4) caps the weight of the x0 error, SNR + 1 for v-prediction,
    at gamma. Their min(SNR, gamma) vanishes at zero SNR, where sampling starts and where layout and colours are
    decided; SNR + 1 under the same cap keeps the v error whole there.
    """
    return (snr + 1).clamp(max=gamma) / (snr + 1)


def draw(config: StageConfig, step: int, batch: Batch, count: int) -> Drawn:
    """Noise and timesteps of a step, keyed by (seed, step); `count` timesteps are there to be drawn."""
    latents = batch.latents
    generator = torch.Generator().manual_seed(key(config.seed, "diffusion", step))
    noise = torch.randn(latents.shape, generator=generator)
    # Stratified timesteps: one in every B-th of the range, which lowers the variance of the loss between steps.
    strata = (torch.arange(len(latents)) + torch.rand(len(latents), generator=generator)) * (count / len(latents))
    twin = None if batch.twin is None else torch.randn(batch.twin.latents.shape, generator=generator)
    return Drawn(noise, strata.long().clamp(max=count - 1), twin)


def step_loss(
    config: StageConfig, batch: Batch, drawn: Drawn, networks: Networks, alphas: Tensor
) -> tuple[Tensor, Tensor]:
    """The loss of a batch and its part without the probe; alphas float32 [1000] (cumulative products), everything on
    one device.
    """
    text_encoder, unet, probe, memories = networks
    latents, noise, timesteps = batch.latents, drawn.noise, drawn.timesteps
    alpha = alphas[timesteps]
    signal, sigma = alpha.sqrt()[:, None, None, None], (1 - alpha).sqrt()[:, None, None, None]
    target = signal * noise - sigma * latents
    with autocast(config):
        if batch.twin is not None and drawn.twin is not None:
            with torch.no_grad(), memories.keeping():
                states = text_encoder(batch.twin.tokens).last_hidden_state
                unet(signal * batch.twin.latents + sigma * drawn.twin, timesteps, states)
            memories.sight = Sight(batch.twin.item, batch.twin.shown)
        states = text_encoder(batch.tokens).last_hidden_state
        # Salimans and Ho 2022 (arXiv:2202.00512), appendix D: v = alpha eps - sigma x0.
        prediction = unet(signal * latents + sigma * noise, timesteps, states).sample
        said = probe.loss(batch.shown)
    memories.sight = None
    error = (prediction.float() - target).square().mean(1)
    weight = 1 + config.emphasis * batch.coverage
    error = (error * weight).sum((1, 2)) / weight.sum((1, 2))
    denoising = (loss_weight(alpha / (1 - alpha), config.snr_gamma) * error).mean()
    return denoising + config.probe * said, denoising.detach()


def differentiate(
    config: StageConfig,
    step: int,
    batch: Batch,
    *,
    networks: Sequence[Networks],
    threads: Executor,
    alphas: Tensor,
) -> tuple[Tensor, Tensor]:
    """Set the gradients of a step: the mean of those of the batch's parts, one for each of `networks`, which share
    their parameters. Every n-th picture is in one part, so that each sees the whole range of timesteps.

    Returns:
        The loss of the step and its part without the probe, both detached.
    """
    parts, device = len(networks), alphas.device
    drawn = draw(config, step, batch, len(alphas))

    def part(number: int) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        def rows(tensor: Tensor) -> Tensor:
            return tensor[number::parts].to(device)

        noise, timesteps, twin = drawn
        mine = Drawn(rows(noise), rows(timesteps), None if twin is None else rows(twin))
        loss, denoising = step_loss(config, batch.map(rows), mine, networks[number], alphas)
        return torch.autograd.grad(loss / parts, networks[number].parameters()), loss.detach(), denoising

    # In the order of the parts, whichever ends first.
    gradients, losses, denoisings = zip(*threads.map(part, range(parts)), strict=True)
    for parameter, *each in zip(networks[0].parameters(), *gradients, strict=True):
        parameter.grad = sum(each[1:], each[0])
    return torch.stack(losses).mean(), torch.stack(denoisings).mean()

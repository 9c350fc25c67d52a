"""Our schedulers inside diffusers' pipelines, with random weights."""

import json
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img import StableDiffusionImg2ImgPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler as TheirDDIM

from raccord.sampler.diffusers_schedulers import DDIMScheduler, DDPMScheduler

STEPS = 4


@pytest.fixture
def pipe(tiny_pipe):
    """The shared pipeline with a scheduler of its own, so that no test changes another's."""
    return StableDiffusionPipeline(**tiny_pipe.components, requires_safety_checker=False)


def latents(pipe: Any, scheduler: Any, **options) -> torch.Tensor:
    pipe.scheduler = scheduler
    pipe.set_progress_bar_config(disable=True)
    generator = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    with torch.no_grad():
        return pipe(
            prompt=["a red hat", "a blue hat"],
            num_inference_steps=STEPS,
            generator=generator,
            output_type="latent",
            **options,
        ).images


@pytest.mark.parametrize(("ours", "options"), [(DDIMScheduler, {}), (DDIMScheduler, {"eta": 0.8}), (DDPMScheduler, {})])
def test_swapped_in_it_draws_what_diffusers_draws(pipe, ours, options):
    config = {**pipe.scheduler.config, "timestep_spacing": "leading"}
    theirs = latents(pipe, getattr(diffusers, ours.__name__).from_config(config), **options)
    mine = latents(pipe, ours.from_config(config), **options)
    assert (mine - theirs).abs().max() / theirs.abs().max() < 1e-4


def test_a_saved_pipeline_comes_back_with_our_scheduler(pipe, tmp_path):
    before = latents(pipe, DDIMScheduler.from_config(pipe.scheduler.config), eta=0.5)
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["scheduler"] == ["raccord.sampler.diffusers_schedulers", "DDIMScheduler"]
    loaded = StableDiffusionPipeline.from_pretrained(tmp_path)
    assert type(loaded.scheduler) is DDIMScheduler
    assert torch.equal(latents(loaded, loaded.scheduler, eta=0.5), before)


def test_custom_timesteps_and_image_to_image(pipe: Any):
    config = pipe.scheduler.config
    scheduler: Any = DDIMScheduler.from_config(config)
    pipe.scheduler = scheduler
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        pipe("a hat", timesteps=[900, 500, 100], generator=torch.Generator().manual_seed(0), output_type="latent")
    assert scheduler.timesteps.tolist() == [900, 500, 100]
    redraw: Any = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    redraw.set_progress_bar_config(disable=True)
    picture = np.full((1, 16, 16, 3), 0.5, dtype=np.float32)
    results = []
    for kind in (DDIMScheduler, TheirDDIM):
        redraw.scheduler = kind.from_config({**config, "timestep_spacing": "leading"})
        with torch.no_grad():
            results.append(
                redraw(
                    "a hat",
                    image=picture,
                    strength=0.5,
                    num_inference_steps=STEPS,
                    generator=torch.Generator().manual_seed(0),
                    output_type="latent",
                ).images
            )
    assert (results[0] - results[1]).abs().max() / results[1].abs().max() < 1e-4

"""The guided step does what a scheduler's step does after guidance, bit for bit."""

import pytest
import torch

from raccord.kernels.guided_step import COEFFICIENTS, guided_step
from raccord.sampler import steps
from raccord.sampler.diffusers_schedulers import DDIMScheduler, DDPMScheduler
from raccord.sampler.noise import keyed_step_noise, step_noise
from raccord.sampler.plan import Frame, Item

SHAPE = (2, 4, 6, 10)
NUMBERS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def tensors(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *SHAPE), generator=generator).unbind(0)


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (DDIMScheduler, {"eta": 0.0}),
        (DDIMScheduler, {"eta": 0.7}),
        (DDPMScheduler, {"variance_type": "fixed_small"}),
        (DDPMScheduler, {"variance_type": "fixed_large"}),
    ],
)
def test_equals_guidance_and_the_step_of_the_scheduler_at_every_timestep(kind, options, prediction, clip):
    eta = options.get("eta")
    extra = {name: value for name, value in options.items() if name != "eta"}
    scheduler = kind(prediction_type=prediction, clip_sample=clip, clip_sample_range=0.8, **NUMBERS, **extra)
    scheduler.set_timesteps(7)
    sample, uncond, cond, noise = tensors(4)
    limited = 0
    for timestep in scheduler.timesteps:
        more = {} if eta is None else {"eta": eta}
        guided = uncond + 7.5 * (cond - uncond)
        expected = scheduler.step(guided, timestep, sample, variance_noise=noise, **more).prev_sample
        row = scheduler.guided_coefficients(timestep, **more)
        limited += float(row[COEFFICIENTS.index("bound")]) == 0.8
        found = guided_step(sample, uncond, cond, 7.5, row, noise=noise)
        assert torch.equal(found.view(torch.int32), expected.view(torch.int32))
    assert limited == (7 if clip else 0)


def test_a_step_that_is_more_than_arithmetic_has_no_coefficients():
    for kind in (DDIMScheduler, DDPMScheduler):
        scheduler = kind(thresholding=True, **NUMBERS)
        scheduler.set_timesteps(3)
        assert scheduler.guided_coefficients(scheduler.timesteps[0]) is None
    learned = DDPMScheduler(variance_type="learned_range", **NUMBERS)
    learned.set_timesteps(3)
    assert learned.guided_coefficients(learned.timesteps[0]) is None


def test_the_columns_are_those_of_the_kernel():
    weights = steps.ddim_coefficients(0.3, 0.6, prediction="v_prediction", limited=True)
    row = steps.guided_coefficients(weights, 0.3, prediction="v_prediction", bound=1.5)
    named = dict(zip(COEFFICIENTS, row, strict=True))
    assert {name: named[name] for name in weights._fields} == weights._asdict()
    assert (named["original_sample"], named["original_output"]) == (0.3**0.5, -(0.7**0.5))
    assert named["bound"] == 1.5
    assert steps.guided_coefficients(weights, 0.3, prediction="epsilon")[-1] == float("inf")


@pytest.mark.parametrize("items", [(), (Item(entity="cat", box=(0.1, 0.2, 0.7, 0.9)),)])
def test_the_key_of_a_frame_draws_the_noise_of_the_frame(items):
    frame = Frame(id="f", prompt="a place", items=items)
    sample, uncond, cond = (tensor[:1] for tensor in tensors(3))
    scheduler = DDIMScheduler(**NUMBERS)
    scheduler.set_timesteps(4)
    row = scheduler.guided_coefficients(scheduler.timesteps[1], eta=1.0)
    drawn = step_noise(3, 250, frame, {}, {}, shape=SHAPE[1:])
    given = keyed_step_noise(3, 250, frame, {}, {}, shape=SHAPE[1:])
    given = given[None] if isinstance(given, torch.Tensor) else given
    found = guided_step(sample, uncond, cond, 3.0, row, noise=given)
    assert torch.equal(found, guided_step(sample, uncond, cond, 3.0, row, noise=drawn[None]))
    assert not torch.equal(found, guided_step(sample, uncond, cond, 3.0, row))

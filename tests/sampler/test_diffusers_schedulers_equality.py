"""Our schedulers beside diffusers', over a grid of all options.

diffusers computes in float32, tables included: 1 - alphas_cumprod is off by up to 2.6e-5 at the first timesteps, near
zero terminal SNR a difference of tables loses more, and 1 - alpha_prev - sigma^2 cancels near eta 1. So the two agree
to 2e-5 a step and 1e-4 a run wherever diffusers itself is that near to float64, which on the usual schedules from 4
steps up is everywhere; ours is always within rounding. Its tables alone would not do: `benchmarks/schedulers.py`.
"""

import math
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler as TheirDDIM
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler as TheirDDPM
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from raccord.sampler import steps
from raccord.sampler.diffusers_schedulers import DDIMScheduler, DDPMScheduler

A_STEP, A_RUN = 2e-5, 1e-4
# half an ulp of float32
OURS_A_STEP = 2**-24
PHASES = [Phase.explicit, Phase.generate, Phase.shrink]
GRID = settings(phases=PHASES, derandomize=True, database=None, deadline=None, max_examples=40)
SHAPE = (2, 3, 5, 4)

COMMON = {
    "num_train_timesteps": st.sampled_from([1000, 1000, 100]),
    "betas": st.sampled_from(
        [("linear", 1e-4, 0.02), ("scaled_linear", 0.00085, 0.012), ("squaredcos_cap_v2", 0.1, 0.2)]
    ),
    "prediction_type": st.sampled_from(["epsilon", "sample", "v_prediction"]),
    "limit": st.sampled_from(
        [
            {"clip_sample": False},
            {"clip_sample": True, "clip_sample_range": 1.0},
            {"clip_sample": True, "clip_sample_range": 2.5},
            {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.7},
        ]
    ),
    "timestep_spacing": st.sampled_from(["leading", "trailing", "linspace"]),
    "steps_offset": st.sampled_from([0, 1]),
    "rescale_betas_zero_snr": st.booleans(),
}


def options(draw):
    """Constructor arguments, or None where diffusers would divide by zero."""
    chosen = {name: strategy for name, strategy in draw.items() if name not in ("betas", "limit")}
    kind, start, end = draw["betas"]
    if chosen["prediction_type"] == "epsilon":
        chosen["rescale_betas_zero_snr"] = False
    return chosen | draw["limit"] | {"beta_schedule": kind, "beta_start": start, "beta_end": end}


def relative(ours, theirs):
    return ((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()).item()


class Model:
    """Knows the picture and errs by a tenth, so that trajectories stay where a trained model's are."""

    def __init__(self, seed, level):
        generator = torch.Generator().manual_seed(seed)
        self.picture, self.noise = torch.randn(2, *SHAPE, generator=generator)
        self.level, self.generator = level, generator

    def start(self, timestep):
        alpha = self.level(timestep)
        return math.sqrt(alpha) * self.picture + math.sqrt(1 - alpha) * self.noise

    def __call__(self, sample, timestep, kind):
        alpha = self.level(timestep)
        picture = self.picture + 0.1 * torch.randn(SHAPE, generator=self.generator)
        if kind == "sample":
            return picture
        # what a model calls noise stays in the range of noise, however little of it the sample shows
        noise = ((sample - math.sqrt(alpha) * picture) / math.sqrt(1 - alpha)).clamp(-4, 4)
        return noise if kind == "epsilon" else math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * picture


def compare(ours, theirs, count, seed, step):
    """Assert that each step from one sample, and the two whole runs, agree as the top of this file says."""
    ours.set_timesteps(count)
    theirs.set_timesteps(count)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    config = ours.config
    usual = (
        # a jump of a third of the chain magnifies float32's roundings by more than there is room for
        count > 3
        and config.num_train_timesteps == 1000
        and config.beta_schedule != "squaredcos_cap_v2"
        and not config.rescale_betas_zero_snr
    )

    def agree(one, two, truth, ours_within, within):
        assert one.dtype == two.dtype == torch.float32
        assert one.shape == two.shape
        assert relative(one, truth) <= ours_within
        # `not <` holds for NaN too: at zero SNR and eta 1 diffusers may take the root of a rounding below 0
        assert relative(one, two) < within or (not usual and not relative(two, truth) < within - ours_within)

    model = Model(seed, lambda timestep: ours._levels[timestep])
    sample = model.start(int(ours.timesteps[0]))
    run_ours, run_theirs, run_exact = sample, sample, sample.double()
    for timestep in ours.timesteps:
        output = model(run_theirs, int(timestep), config.prediction_type)
        key = seed + int(timestep)
        two, _ = step(theirs, output, timestep, run_theirs, key)
        one, one_original = step(ours, output, timestep, run_theirs, key)
        truth, truth_original = step(ours, output.double(), timestep, run_theirs.double(), key)
        agree(one, two, truth, OURS_A_STEP, A_STEP)
        assert relative(one_original, truth_original) <= OURS_A_STEP
        run_ours = step(ours, output, timestep, run_ours, key)[0]
        run_exact = step(ours, output.double(), timestep, run_exact, key)[0]
        run_theirs = two if two.isfinite().all() else one
    # every step rounds once; a rounding at the noisy end grows with the signal when the noise is what is given
    growth = 1 / math.sqrt(ours._levels[int(ours.timesteps[0])]) if config.prediction_type == "epsilon" else 10
    agree(run_ours, run_theirs, run_exact, (1 + count) * OURS_A_STEP * growth, A_RUN)


def test_the_grids_counts_have_the_right_length_in_diffusers():
    # 61 is the first `trailing` count that diffusers gets wrong; the grids below stay under it
    theirs = TheirDDIM(timestep_spacing="trailing")
    theirs.set_timesteps(61)
    assert len(theirs.timesteps) == 62
    ours = DDIMScheduler(timestep_spacing="trailing")
    ours.set_timesteps(61)
    assert torch.equal(ours.timesteps, theirs.timesteps[:61])


@GRID
@given(
    draw=st.fixed_dictionaries({**COMMON, "set_alpha_to_one": st.booleans()}),
    count=st.integers(1, 30),
    eta=st.sampled_from([0.0, 0.3, 1.0]),
    clipped=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_ddim_is_diffusers_with_its_previous_step(draw, count, eta, clipped, seed):
    arguments = options(draw)
    theirs = TheirDDIM(**arguments)
    ours = DDIMScheduler(**arguments, previous_step="diffusers")

    def step(scheduler, output, timestep, sample, key):
        generators = [torch.Generator().manual_seed(key + row) for row in range(SHAPE[0])]
        noise: dict[str, Any] = {"generator": generators}
        if output.dtype == torch.float64:
            noise: dict[str, Any] = {
                "variance_noise": torch.cat([torch.randn(1, *SHAPE[1:], generator=each) for each in generators])
            }
        return scheduler.step(
            output, timestep, sample, eta=eta, use_clipped_model_output=clipped, return_dict=False, **noise
        )

    compare(ours, theirs, count, seed, step)


@GRID
@given(
    draw=st.fixed_dictionaries(
        {
            **COMMON,
            # diffusers' fixed_large_log takes the root of a negative logarithm
            "variance_type": st.sampled_from(
                ["fixed_small", "fixed_small_log", "fixed_large", "learned", "learned_range"]
            ),
        }
    ),
    count=st.integers(1, 30),
    seed=st.integers(0, 2**31),
)
def test_ddpm_is_diffusers(draw, count, seed):
    arguments = options(draw)
    theirs, ours = TheirDDPM(**arguments), DDPMScheduler(**arguments)
    predicted = torch.rand(SHAPE, generator=torch.Generator().manual_seed(seed))
    if arguments["variance_type"] == "learned_range":
        predicted = predicted * 2 - 1

    def step(scheduler, output, timestep, sample, key):
        noise: dict[str, Any] = {"generator": torch.Generator().manual_seed(key)}
        if output.dtype == torch.float64:
            noise = {"variance_noise": torch.randn(SHAPE, generator=noise["generator"])}
        if arguments["variance_type"].startswith("learned"):
            output = torch.cat([output, predicted], dim=1)
        return scheduler.step(output, timestep, sample, return_dict=False, **noise)

    compare(ours, theirs, count, seed, step)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_default_ddim_step_differs_only_where_diffusers_leaves_the_schedule(spacing):
    for count in (1, 10, 28, 30, 50):
        ours = DDIMScheduler(timestep_spacing=spacing)
        theirs = DDIMScheduler(timestep_spacing=spacing, previous_step="diffusers")
        ours.set_timesteps(count)
        theirs.set_timesteps(count)
        landed = [ours.previous_timestep(int(timestep)) for timestep in ours.timesteps]
        assert landed == [*ours.timesteps[1:].tolist(), -1]
        strided = [max(theirs.previous_timestep(int(timestep)), -1) for timestep in ours.timesteps]
        assert strided == [max(timestep - 1000 // count, -1) for timestep in ours.timesteps.tolist()]
        if spacing == "leading":
            assert landed == strided


def test_our_tables_are_nearer_to_the_formula_than_float32_sums():
    theirs = TheirDDIM(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    ours = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    for name in ("betas", "alphas_cumprod"):
        mine, yours = getattr(ours, name), getattr(theirs, name)
        assert mine.dtype == yours.dtype == torch.float32
        assert torch.allclose(mine, yours, rtol=1e-5, atol=0)
    exact = torch.tensor(ours._levels, dtype=torch.float64)
    assert torch.equal(ours.alphas_cumprod, exact.float())
    assert relative(1 - theirs.alphas_cumprod, 1 - exact) > 1e-7


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["ddim", "ddpm"])
def test_half_precision_keeps_its_dtype_and_is_no_less_exact_than_diffusers(dtype, kind):
    classes = {"ddim": (DDIMScheduler, TheirDDIM), "ddpm": (DDPMScheduler, TheirDDPM)}[kind]
    ours, theirs = (
        scheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False)
        for scheduler in classes
    )
    ours.set_timesteps(20)
    theirs.set_timesteps(20)
    generator = torch.Generator().manual_seed(0)
    worst_ours = worst_theirs = 0.0
    for timestep in ours.timesteps:
        sample, output = torch.randn(2, 2, 4, 16, 16, generator=generator).to(dtype)
        alpha, previous = ours._levels[int(timestep)], ours.previous_timestep(int(timestep))
        alpha_prev = ours._levels[previous] if previous >= 0 else 1.0
        pure = steps.ddim_step if kind == "ddim" else steps.ddpm_step
        noise = None
        if kind == "ddpm" and timestep > 0:
            noise = torch.randn(sample.shape, generator=torch.Generator().manual_seed(1), dtype=dtype).double()
        truth = pure(sample.double(), output.double(), noise, alpha=alpha, alpha_prev=alpha_prev).prev_sample
        results = [
            scheduler.step(output, timestep, sample, generator=torch.Generator().manual_seed(1)).prev_sample
            for scheduler in (ours, theirs)
        ]
        assert results[0].dtype == dtype
        worst_ours = max(worst_ours, relative(results[0], truth))
        worst_theirs = max(worst_theirs, relative(results[1], truth))
    assert worst_ours <= worst_theirs

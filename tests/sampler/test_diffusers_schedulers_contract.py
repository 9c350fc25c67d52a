"""The scheduler contract of diffusers 0.42: what pipelines, training scripts and saved folders rely on."""

import copy
import inspect
import json
import math
import pickle
import re
from functools import partial
from typing import Any

import diffusers
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler as TheirDDIM
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler as TheirDDPM
from torch.utils._python_dispatch import TorchDispatchMode

from raccord.sampler.diffusers_schedulers import DDIMScheduler, DDPMScheduler

BOTH = pytest.mark.parametrize("scheduler_class", [DDIMScheduler, DDPMScheduler])
SHAPE = (2, 4, 6, 6)


def tensors(seed=0, shape=SHAPE, count=2):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def ready(scheduler_class, count=10, **options):
    scheduler = scheduler_class(**options)
    scheduler.set_timesteps(count)
    return scheduler


def noisy(scheduler_class):
    """Options that make a step draw noise."""
    return {"eta": 0.7} if scheduler_class is DDIMScheduler else {}


@BOTH
def test_signatures_hold_what_pipelines_look_for(scheduler_class):
    theirs = getattr(diffusers, scheduler_class.__name__)
    for method in (
        "__init__",
        "step",
        "set_timesteps",
        "add_noise",
        "get_velocity",
        "scale_model_input",
        "_get_variance",
    ):
        ours_names = list(inspect.signature(getattr(scheduler_class, method)).parameters)
        their_names = list(inspect.signature(getattr(theirs, method)).parameters)
        assert ours_names[: len(their_names)] == their_names
    assert {"generator", "variance_noise", "return_dict"} <= set(inspect.signature(scheduler_class.step).parameters)
    assert "timesteps" in inspect.signature(scheduler_class.set_timesteps).parameters
    # defaults of the options are diffusers'
    defaults = inspect.signature(theirs.__init__).parameters
    ours = inspect.signature(scheduler_class.__init__).parameters
    assert all(ours[name].default == parameter.default for name, parameter in defaults.items())


@BOTH
def test_attributes_that_are_not_in_the_config(scheduler_class):
    ours, theirs = scheduler_class(), getattr(diffusers, scheduler_class.__name__)()
    assert (len(ours), ours.order, ours.init_noise_sigma) == (len(theirs), theirs.order, theirs.init_noise_sigma)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert ours.num_inference_steps is None
    for name in ("betas", "alphas", "alphas_cumprod"):
        assert torch.allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=0)
    if scheduler_class is DDIMScheduler:
        assert ours.final_alpha_cumprod == 1.0
        assert DDIMScheduler(set_alpha_to_one=False).final_alpha_cumprod == ours.alphas_cumprod[0]
    else:
        assert ours.one == 1.0
        assert ours.variance_type == "fixed_small"
    assert ours._compatibles == theirs._compatibles
    sample = tensors()[0]
    assert ours.scale_model_input(sample, 3) is sample


@BOTH
def test_save_load_pickle_and_copy_give_the_same_scheduler(scheduler_class, tmp_path):
    scheduler = ready(scheduler_class, beta_schedule="scaled_linear", timestep_spacing="trailing", clip_sample=False)
    scheduler.save_pretrained(tmp_path)
    loaded = scheduler_class.from_pretrained(tmp_path)
    options: dict[str, Any] = {name: value for name, value in scheduler.config.items() if not name.startswith("_")}
    assert {name: loaded.config[name] for name in options} == options
    loaded.set_timesteps(10)
    sample, output = tensors()
    noise = tensors(1)[0]
    expected = scheduler.step(output, 499, sample, variance_noise=noise, **noisy(scheduler_class))[0]
    for twin in (loaded, copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        ours = twin.step(output, twin.timesteps[5], sample, variance_noise=noise, **noisy(scheduler_class))[0]
        assert torch.equal(ours, expected)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["_class_name"] == scheduler_class.__name__
    # someone without raccord loads it as diffusers' own
    theirs = getattr(diffusers, scheduler_class.__name__).from_pretrained(tmp_path)
    assert theirs.config.timestep_spacing == "trailing"
    assert type(scheduler_class.from_config(theirs.config)) is scheduler_class
    # diffusers takes modules named after its pipelines for pipelines when it loads a saved one
    assert not hasattr(diffusers.pipelines, scheduler_class.__module__.split(".")[-2])


@BOTH
def test_generators_and_given_noise_are_the_same_noise(scheduler_class):
    scheduler = ready(scheduler_class)
    sample, output = tensors()
    step = partial(scheduler.step, output, 500, sample, **noisy(scheduler_class))
    rows = torch.cat([torch.randn(1, *SHAPE[1:], generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
    listed = step(generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)])[0]
    assert torch.equal(listed, step(variance_noise=rows)[0])
    whole = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    single = step(generator=torch.Generator().manual_seed(5))[0]
    assert torch.equal(single, step(variance_noise=whole)[0])
    assert not torch.equal(single, listed)
    # sample k of a list does not depend on its neighbours
    alone = scheduler.step(
        output[1:], 500, sample[1:], generator=[torch.Generator().manual_seed(6)], **noisy(scheduler_class)
    )[0]
    assert torch.equal(alone, listed[1:])
    with pytest.raises(ValueError, match="Cannot pass both generator and variance_noise"):
        step(generator=torch.Generator(), variance_noise=whole)
    with pytest.raises(
        ValueError, match=re.escape("variance_noise must have the sample's shape (2, 4, 6, 6), got (4,)")
    ):
        step(variance_noise=whole[0, :, 0, 0])


@BOTH
def test_results_are_an_output_or_a_tuple(scheduler_class):
    scheduler = ready(scheduler_class)
    sample, output = tensors()
    noise = tensors(1)[0]
    named = scheduler.step(output, 500, sample, variance_noise=noise)
    plain = scheduler.step(output, 500, sample, variance_noise=noise, return_dict=False)
    assert isinstance(plain, tuple)
    assert torch.equal(plain[0], named.prev_sample)
    assert torch.equal(plain[1], named.pred_original_sample)
    assert torch.equal(named[0], plain[0])


def test_config_is_read_late():
    # StableDiffusionPipeline rewrites the scheduler's config after it was built
    scheduler = DDIMScheduler(beta_schedule="scaled_linear")
    changed = dict(scheduler.config) | {"steps_offset": 1, "clip_sample": False, "prediction_type": "v_prediction"}
    scheduler._internal_dict = diffusers.configuration_utils.FrozenDict(changed)
    twin = ready(DDIMScheduler, **{key: value for key, value in changed.items() if not key.startswith("_")})
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == twin.timesteps.tolist() == list(range(901, 0, -100))
    sample, output = tensors()
    output = output * 10
    assert torch.equal(scheduler.step(output, 501, sample)[0], twin.step(output, 501, sample)[0])
    untouched = ready(DDIMScheduler, beta_schedule="scaled_linear", steps_offset=1)
    assert not torch.equal(scheduler.step(output, 501, sample)[0], untouched.step(output, 501, sample)[0])


@BOTH
def test_timesteps_come_as_ints_tensors_or_whole_floats_in_any_order(scheduler_class):
    scheduler = ready(scheduler_class, 7)
    sample, output = tensors()
    noise = tensors(1)[0]
    step = partial(scheduler.step, variance_noise=noise, **noisy(scheduler_class))
    for index in (3, 0, 6, 3):
        timestep = scheduler.timesteps[index]
        expected = step(output, int(timestep), sample)[0]
        for form in (timestep, timestep.clone(), timestep[None], timestep.float(), float(timestep), timestep.int()):
            assert torch.equal(step(output, form, sample)[0], expected)
    # a later run with another number of steps starts afresh
    scheduler.set_timesteps(50)
    assert scheduler.num_inference_steps == 50
    assert scheduler.previous_timestep(500) == 480
    # img2img begins in the middle, with a slice of the same storage
    for timestep, expected in zip(scheduler.timesteps[20:], range(580, -1, -20), strict=True):
        assert scheduler._host_timestep(timestep) == expected
    # timesteps set by hand are looked at again
    scheduler.timesteps = torch.tensor([700, 300, 10])
    assert [scheduler.previous_timestep(step) for step in scheduler.timesteps] == [300, 10, -1]
    assert scheduler.previous_timestep(500) == 300
    assert isinstance(scheduler.previous_timestep(scheduler.timesteps[0]), torch.Tensor)
    strided = torch.tensor([700, 5, 300, 5, 10, 5])[::2]
    scheduler.timesteps = strided
    assert [scheduler._host_timestep(step) for step in strided] == [700, 300, 10]


@BOTH
def test_custom_timesteps(scheduler_class):
    scheduler = scheduler_class()
    scheduler.set_timesteps(timesteps=[900, 500, 37, 3])
    assert scheduler.timesteps.tolist() == [900, 500, 37, 3]
    assert (scheduler.num_inference_steps, scheduler.custom_timesteps) == (4, True)
    assert [scheduler.previous_timestep(step) for step in (900, 500, 37, 3)] == [500, 37, 3, -1]
    scheduler.set_timesteps(4)
    assert scheduler.custom_timesteps is False


class CountReads(TorchDispatchMode):
    """Counts the operations that wait for a device when a tensor lives on one."""

    def __init__(self):
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.reads += func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")
        return func(*args, **(kwargs or {}))


@BOTH
def test_a_step_reads_no_scalar_from_a_device(scheduler_class):
    scheduler = ready(scheduler_class)
    theirs = ready(getattr(diffusers, scheduler_class.__name__))
    sample, output = tensors()
    counts = []
    for each in (scheduler, theirs):
        with CountReads() as counter:
            for timestep in each.timesteps:
                generator = torch.Generator().manual_seed(0)
                each.step(output, timestep, sample, generator=generator, **noisy(scheduler_class))
        counts.append(counter.reads)
    assert counts[0] == 0
    # the counter sees what it should: diffusers reads several a step
    assert counts[1] >= 10


@BOTH
@pytest.mark.parametrize("shape", [(1, 2, 64), (3, 16), (24,), (1, 4, 2, 6, 6)])
def test_sound_and_pictures_alike(scheduler_class, shape):
    scheduler = ready(scheduler_class, thresholding=True, sample_max_value=2.0)
    sample, output, noise = tensors(shape=shape, count=3)
    for timestep in scheduler.timesteps:
        sample = scheduler.step(output, timestep, sample, variance_noise=noise, **noisy(scheduler_class))[0]
    assert sample.shape == shape
    assert sample.isfinite().all()


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_forward_process_is_the_papers(scheduler_class, dtype):
    scheduler = scheduler_class()
    theirs = getattr(diffusers, scheduler_class.__name__)()
    original, noise = (tensor.to(dtype) for tensor in tensors(shape=(3, 4, 5)))
    timesteps = torch.tensor([0, 500, 999])
    alphas = torch.tensor([scheduler._levels[step] for step in timesteps], dtype=torch.float64).reshape(3, 1, 1)
    truth = alphas.sqrt() * original.double() + (1 - alphas).sqrt() * noise.double()
    velocity = alphas.sqrt() * noise.double() - (1 - alphas).sqrt() * original.double()
    ulp = torch.finfo(dtype).eps
    for ours, exact, yours in (
        (scheduler.add_noise(original, noise, timesteps), truth, theirs.add_noise(original, noise, timesteps)),
        (scheduler.get_velocity(original, noise, timesteps), velocity, theirs.get_velocity(original, noise, timesteps)),
    ):
        assert ours.dtype == dtype
        assert (ours.double() - exact).abs().max() <= 4 * ulp * exact.abs().max()
        # diffusers rounds its table to the sample's dtype first: 1 - alphas_cumprod[0] = 1e-4 is lost in half precision
        assert (ours.double() - exact).abs().max() <= (yours.double() - exact).abs().max() + 4 * ulp * 2**-3
    one = scheduler.add_noise(original, noise, torch.tensor([500]))
    assert torch.equal(one, scheduler.add_noise(original, noise, torch.tensor([500, 500, 500])))
    scalar = scheduler.add_noise(original, noise, torch.tensor(500))
    assert torch.equal(one, scalar)


def test_moving_the_table_keeps_its_digits_and_replacing_it_counts():
    scheduler = ready(DDIMScheduler)
    sample, output = tensors()
    before = scheduler.step(output, 500, sample)[0]
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.to("cpu").clone()
    assert torch.equal(scheduler.step(output, 500, sample)[0], before)
    other = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    noisy_before = scheduler.add_noise(sample, output, torch.tensor([500]))
    scheduler.alphas_cumprod = other.alphas_cumprod
    other.set_timesteps(10)
    expected = other.step(output, 500, sample)[0]
    assert torch.allclose(scheduler.step(output, 500, sample)[0], expected, rtol=1e-5, atol=1e-6)
    assert not torch.equal(scheduler.add_noise(sample, output, torch.tensor([500])), noisy_before)


@BOTH
def test_zero_terminal_snr_is_refused_with_epsilon_and_works_without(scheduler_class):
    message = "prediction_type='epsilon' cannot be used with zero terminal SNR"
    with pytest.raises(ValueError, match=message):
        scheduler_class(rescale_betas_zero_snr=True)
    with pytest.raises(ValueError, match=message):
        scheduler_class(trained_betas=[0.1, 0.5, 1.0], num_train_timesteps=3)
    options: dict[str, Any] = {
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
    }
    scheduler = ready(scheduler_class, **options)
    assert scheduler.alphas_cumprod[-1] == 0.0
    sample, output = tensors()
    noise = tensors(1)[0]
    for timestep in scheduler.timesteps:
        sample = scheduler.step(output, timestep, sample, variance_noise=noise, **noisy(scheduler_class))[0]
    assert sample.isfinite().all()
    # changed to epsilon afterwards, it is refused at the next set_timesteps
    scheduler.register_to_config(prediction_type="epsilon")
    with pytest.raises(ValueError, match=message):
        scheduler.set_timesteps(10)


def test_ddpm_splits_off_a_learned_variance():
    sample, output = tensors()
    noise, predicted = tensors(1)
    predicted = predicted.tanh()
    for kind in ("learned_range", "learned"):
        scheduler = ready(DDPMScheduler, variance_type=kind)
        theirs = ready(TheirDDPM, variance_type=kind)
        both = torch.cat([output, predicted if kind == "learned_range" else predicted.abs()], dim=1)
        ours = scheduler.step(both, 500, sample, generator=torch.Generator().manual_seed(3))
        yours = theirs.step(both, 500, sample, generator=torch.Generator().manual_seed(3))
        assert torch.allclose(ours[0], yours[0], rtol=1e-5, atol=1e-6)
        with pytest.raises(ValueError, match="needs a model that predicts its variance"):
            scheduler.step(output, 500, sample, variance_noise=noise)


def test_ddpm_adds_no_noise_at_timestep_0():
    scheduler = ready(DDPMScheduler)
    sample, output = tensors()
    first = scheduler.step(output, 0, sample, variance_noise=tensors(1)[0])[0]
    assert torch.equal(first, scheduler.step(output, 0, sample)[0])


@pytest.mark.parametrize("kind", ["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned_range"])
def test_variances_are_diffusers_numbers(kind):
    ours, theirs = ready(DDPMScheduler, variance_type=kind), ready(TheirDDPM, variance_type=kind)
    predicted = torch.linspace(-1, 1, 5)
    for timestep in (900, 500, 100):
        variance = ours._get_variance(timestep, predicted_variance=predicted)
        assert torch.allclose(variance, theirs._get_variance(timestep, predicted_variance=predicted), rtol=1e-4)
        assert ours._get_variance(timestep, predicted, "fixed_large") == pytest.approx(
            theirs._get_variance(timestep, predicted, "fixed_large").item(), rel=1e-4
        )
    ddim, yours = ready(DDIMScheduler), ready(TheirDDIM)
    for timestep, previous in ((980, 960), (420, 400), (0, -1)):
        assert ddim._get_variance(timestep, previous) == pytest.approx(
            yours._get_variance(timestep, previous).item(), rel=1e-4
        )


def test_fixed_large_log_is_the_large_variance_where_diffusers_gives_nan():
    sample, output = tensors()
    noise = tensors(1)[0]
    log, plain = (
        ready(DDPMScheduler, variance_type="fixed_large_log"),
        ready(DDPMScheduler, variance_type="fixed_large"),
    )
    ours = log.step(output, 500, sample, variance_noise=noise)[0]
    assert torch.equal(ours, plain.step(output, 500, sample, variance_noise=noise)[0])
    theirs = ready(TheirDDPM, variance_type="fixed_large_log").step(output, 500, sample)[0]
    assert theirs.isnan().all()


def test_trained_betas_and_their_length():
    betas = [0.02, 0.1, 0.3, 0.4]
    scheduler = ready(DDIMScheduler, 2, trained_betas=betas, num_train_timesteps=4)
    assert torch.equal(scheduler.betas, torch.tensor(betas))
    assert scheduler.timesteps.tolist() == [2, 0]
    assert scheduler.alphas_cumprod[-1].item() == pytest.approx(math.prod(1 - beta for beta in betas), rel=1e-6)
    with pytest.raises(ValueError, match=re.escape("timestep must be a whole number in 0..3, got 900")):
        ready(DDIMScheduler, trained_betas=betas).step(SAMPLE, 900, SAMPLE)


def bad(scheduler_class, method, *arguments, **options):
    scheduler = scheduler_class()
    if method == "step":
        scheduler.set_timesteps(10)
    return lambda: getattr(scheduler, method)(*arguments, **options)


SAMPLE = torch.zeros(SHAPE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (bad(DDIMScheduler, "set_timesteps"), "set_timesteps takes exactly one of num_inference_steps and timesteps"),
        (bad(DDPMScheduler, "set_timesteps", 3, timesteps=[2, 1]), "got num_inference_steps=3, timesteps=[2, 1]"),
        (bad(DDIMScheduler, "set_timesteps", 1001), "num_inference_steps must lie in 1..1000"),
        (bad(DDIMScheduler, "set_timesteps", timesteps=[3, 3]), "timesteps must descend"),
        (bad(DDIMScheduler, "step", SAMPLE, 500.5, SAMPLE), "timestep must be a whole number in 0..999, got 500.5"),
        (bad(DDPMScheduler, "step", SAMPLE, -1, SAMPLE), "timestep must be a whole number in 0..999, got -1"),
        (bad(DDPMScheduler, "step", SAMPLE, torch.tensor([5, 4]), SAMPLE), "timestep must be one number, got a tensor"),
        (bad(DDIMScheduler, "step", SAMPLE, 500, SAMPLE, eta=1.5), "eta must lie in 0..1"),
        (
            lambda: ready(DDIMScheduler, previous_step="next"),
            "previous_step must be 'scheduled' or 'diffusers', got 'next'",
        ),
        (lambda: ready(DDIMScheduler, beta_schedule="cosine"), "beta_schedule must be one of"),
        (lambda: DDIMScheduler().step(SAMPLE, 5, SAMPLE), "you need to run 'set_timesteps'"),
        (
            lambda: DDIMScheduler(previous_step="diffusers").set_timesteps(timesteps=[5, 3]),
            "previous_step='diffusers' has a fixed stride",
        ),
    ],
)
def test_bad_input_is_told_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()

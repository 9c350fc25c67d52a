"""The pure steps against the papers' equations, term by term in float64, and against laws that need no numbers."""

import math
import re
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raccord.sampler import prediction, schedule, steps

# the result is rounded once to float32
ROUNDING = 2**-24
GRID = settings(derandomize=True, database=None, deadline=None, max_examples=100)
LEVELS = schedule.alphas_cumprod(schedule.betas("scaled_linear", length=1000, start=0.00085, end=0.012))
PREDICTIONS = ["epsilon", "sample", "v_prediction"]
VARIANCES = ["fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"]
LIMITS = {
    "none": None,
    "clip": partial(prediction.clip, bound=0.8),
    "threshold": partial(prediction.dynamic_threshold, ratio=0.9, maximum=1.5),
}


def paper_x0_and_noise(x, output, alpha, kind):
    """arXiv 2006.11239 eq. 15, arXiv 2202.00512 appendix D; x_t = sqrt(alpha) x_0 + sqrt(1 - alpha) e."""
    signal, sigma = math.sqrt(alpha), math.sqrt(1 - alpha)
    if kind == "epsilon":
        return (x - sigma * output) / signal, output
    if kind == "sample":
        return output, (x - signal * output) / sigma
    return signal * x - sigma * output, sigma * x + signal * output


def paper_ddim(x, output, z, alpha, alpha_prev, kind, eta, limit, rederive):
    """arXiv 2010.02502, eq. 12 and 16."""
    x0, noise = paper_x0_and_noise(x, output, alpha, kind)
    if limit is not None:
        x0 = limit(x0)
        if rederive:
            noise = (x - math.sqrt(alpha) * x0) / math.sqrt(1 - alpha)
    sigma = eta * math.sqrt((1 - alpha_prev) / (1 - alpha)) * math.sqrt(1 - alpha / alpha_prev)
    # at eta 1 the radicand is (1 - alpha_prev)^2 alpha / ..., which may round a hair below 0 in this form
    direction = math.sqrt(max(1 - alpha_prev - sigma**2, 0.0))
    return math.sqrt(alpha_prev) * x0 + direction * noise + sigma * z, x0


def paper_ddpm(x, output, z, alpha, alpha_prev, kind, variance, predicted, limit):
    """arXiv 2006.11239, eq. 7 and section 3.2, with beta_t of the strided chain; arXiv 2102.09672, eq. 15."""
    x0, _ = paper_x0_and_noise(x, output, alpha, kind)
    if limit is not None:
        x0 = limit(x0)
    beta = 1 - alpha / alpha_prev
    mean = math.sqrt(alpha_prev) * beta / (1 - alpha) * x0
    mean = mean + math.sqrt(1 - beta) * (1 - alpha_prev) / (1 - alpha) * x
    small = (1 - alpha_prev) / (1 - alpha) * beta
    if variance == "learned":
        spread = predicted
    elif variance == "learned_range":
        share = (predicted + 1) / 2
        spread = torch.exp(share * math.log(beta) + (1 - share) * math.log(max(small, 1e-20)))
    else:
        spread = torch.tensor(small if "small" in variance else beta, dtype=torch.float64)
    return mean + torch.sqrt(spread) * z, x0


def inputs(seed, alpha, kind, shape=(2, 3, 5, 4)):
    """x_t of a clean sample near the unit range, a model's output that is off by a tenth, and noise; float32 values."""
    generator = torch.Generator().manual_seed(seed)
    x0, noise, z, error, predicted = torch.randn(5, *shape, generator=generator, dtype=torch.float64).float().double()
    x = (math.sqrt(alpha) * x0 + math.sqrt(1 - alpha) * noise).float().double()
    truth = {"epsilon": noise, "sample": x0, "v_prediction": math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * x0}[kind]
    return x, (truth + 0.1 * error).float().double(), z, predicted.tanh().float().double()


def relative(ours, truth):
    """Largest error over the largest value."""
    return ((ours.double() - truth).abs().max() / truth.abs().max()).item()


def pairs(draw_t, draw_gap):
    alpha = LEVELS[draw_t]
    before = draw_t - draw_gap
    return alpha, LEVELS[before] if before >= 0 else 1.0


@GRID
@given(
    t=st.integers(0, 999),
    gap=st.integers(1, 1000),
    kind=st.sampled_from(PREDICTIONS),
    eta=st.sampled_from([0.0, 0.3, 1.0]),
    limit=st.sampled_from(sorted(LIMITS)),
    rederive=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_ddim_step_is_the_papers(t, gap, kind, eta, limit, rederive, seed):
    alpha, alpha_prev = pairs(t, gap)
    x, output, z, _ = inputs(seed, alpha, kind)
    options: dict[str, Any] = {"prediction": kind, "eta": eta, "limit": LIMITS[limit], "rederive": rederive}
    truth, truth_x0 = paper_ddim(x, output, z, alpha, alpha_prev, kind, eta, LIMITS[limit], rederive)
    ours = steps.ddim_step(x, output, z, alpha=alpha, alpha_prev=alpha_prev, **options)
    assert ours.prev_sample.dtype == torch.float64
    # sqrt(1 - alpha_prev - sigma^2) of the written form cancels: half of float64's digits may go there
    assert relative(ours.prev_sample, truth) < 1e-8
    assert relative(ours.pred_original_sample, truth_x0) < 1e-13
    single = steps.ddim_step(x.float(), output.float(), z.float(), alpha=alpha, alpha_prev=alpha_prev, **options)
    assert single.prev_sample.dtype == torch.float32
    assert relative(single.prev_sample, truth) < ROUNDING
    assert relative(single.pred_original_sample, truth_x0) < ROUNDING


@GRID
@given(
    t=st.integers(0, 999),
    gap=st.integers(1, 1000),
    kind=st.sampled_from(PREDICTIONS),
    variance=st.sampled_from(VARIANCES),
    limit=st.sampled_from(sorted(LIMITS)),
    seed=st.integers(0, 2**32 - 1),
)
def test_ddpm_step_is_the_papers(t, gap, kind, variance, limit, seed):
    alpha, alpha_prev = pairs(t, gap)
    x, output, z, predicted = inputs(seed, alpha, kind)
    if variance == "learned":
        predicted = predicted.abs()
    options: dict[str, Any] = {"prediction": kind, "variance": variance, "limit": LIMITS[limit]}
    truth, truth_x0 = paper_ddpm(x, output, z, alpha, alpha_prev, kind, variance, predicted, LIMITS[limit])
    ours = steps.ddpm_step(x, output, z, alpha=alpha, alpha_prev=alpha_prev, predicted_variance=predicted, **options)
    assert relative(ours.prev_sample, truth) < 1e-12
    assert relative(ours.pred_original_sample, truth_x0) < 1e-13
    single = steps.ddpm_step(
        x.float(), output.float(), z.float(),
        alpha=alpha, alpha_prev=alpha_prev, predicted_variance=predicted.float(), **options,
    )  # fmt: skip
    assert single.prev_sample.dtype == torch.float32
    assert relative(single.prev_sample, truth) < ROUNDING
    assert relative(single.pred_original_sample, truth_x0) < ROUNDING


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("limit", sorted(LIMITS))
@pytest.mark.parametrize(("t", "before"), [(999, 979), (500, 0), (20, 19), (1, -1), (999, -1)])
def test_ddim_with_eta_1_is_ddpm_with_the_posteriors_variance(kind, limit, t, before):
    # DDPM draws its direction from x_0, as DDIM does with `rederive`: the same thing when x_0 is not limited
    levels: dict[str, Any] = {"alpha": LEVELS[t], "alpha_prev": LEVELS[before] if before >= 0 else 1.0}
    x, output, z, _ = inputs(7, levels["alpha"], kind)
    options: dict[str, Any] = {"prediction": kind, "limit": LIMITS[limit]}
    ddim = steps.ddim_step(x, output, z, eta=1.0, rederive=True, **levels, **options)
    ddpm = steps.ddpm_step(x, output, z, variance="fixed_small", **levels, **options)
    assert relative(ddim.prev_sample, ddpm.prev_sample) < 1e-12
    assert torch.equal(ddim.pred_original_sample, ddpm.pred_original_sample)


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("bound", [None, 0.8])
def test_guided_coefficients_do_the_whole_step(kind, bound):
    alpha, alpha_prev = LEVELS[700], LEVELS[650]
    x, output, z, _ = inputs(5, alpha, kind)
    levels: dict[str, Any] = {"alpha": alpha, "alpha_prev": alpha_prev, "prediction": kind}
    weights = steps.ddim_coefficients(**levels, eta=0.5, limited=bound is not None)
    row = steps.guided_coefficients(weights, alpha, prediction=kind, bound=bound)
    of_sample, of_output, of_original, of_noise, original_sample, original_output, limit = row
    assert limit == (math.inf if bound is None else bound)
    original = (original_sample * x + original_output * output).clamp(-limit, limit)
    previous = of_sample * x + of_output * output + of_original * original + of_noise * z
    whole = steps.ddim_step(x, output, z, **levels, eta=0.5, limit=None if bound is None else LIMITS["clip"])
    assert relative(original, whole.pred_original_sample) < 1e-15
    assert relative(previous, whole.prev_sample) < 1e-15


@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_a_float32_step_is_separate_roundings_of_products_and_sums(eta):
    # the contract of STEP_VERSION 1, spelled out in numpy: no fused multiply-add, one rounding at the end
    assert steps.STEP_VERSION == 1
    alpha, alpha_prev = LEVELS[700], LEVELS[650]
    x, output, z, _ = (tensor.float() for tensor in inputs(3, alpha, "v_prediction"))
    weights = steps.ddim_coefficients(alpha, alpha_prev, prediction="v_prediction", eta=eta)
    expected = x.double().numpy() * weights.sample + output.double().numpy() * weights.output
    if eta:
        expected = expected + z.double().numpy() * weights.noise
    ours = steps.ddim_step(x, output, z, alpha=alpha, alpha_prev=alpha_prev, prediction="v_prediction", eta=eta)
    assert np.array_equal(ours.prev_sample.numpy(), expected.astype(np.float32))


@pytest.mark.parametrize("shape", [(), (24,), (3, 8), (2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 2, 2)])
def test_steps_know_nothing_of_shapes(shape):
    x, output, z, _ = (tensor.flatten()[:24].float() for tensor in inputs(1, LEVELS[400], "epsilon"))
    if shape == ():
        x, output, z = x[:1], output[:1], z[:1]
    levels: dict[str, Any] = {"alpha": LEVELS[400], "alpha_prev": LEVELS[380], "limit": LIMITS["clip"]}
    for step in (partial(steps.ddim_step, eta=0.5), steps.ddpm_step):
        flat = step(x, output, z, **levels)
        shaped = step(x.reshape(shape), output.reshape(shape), z.reshape(shape), **levels)
        assert shaped.prev_sample.shape == shape
        assert torch.equal(shaped.prev_sample.flatten(), flat.prev_sample)
        assert torch.equal(shaped.pred_original_sample.flatten(), flat.pred_original_sample)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_is_stepped_in_float64_and_rounded_once(dtype):
    x, output, z, predicted = (tensor.to(dtype) for tensor in inputs(2, LEVELS[400], "epsilon"))
    levels: dict[str, Any] = {"alpha": LEVELS[400], "alpha_prev": LEVELS[380]}
    for step in (
        partial(steps.ddim_step, eta=0.5),
        steps.ddpm_step,
        partial(steps.ddpm_step, variance="learned_range", predicted_variance=predicted),
    ):
        ours = step(x, output, z, **levels)
        wide = step(x.double(), output.double(), z.double(), **levels)
        assert torch.equal(ours.prev_sample, wide.prev_sample.to(dtype))
        assert torch.equal(ours.pred_original_sample, wide.pred_original_sample.to(dtype))


def test_a_device_without_float64_computes_in_float32():
    class Elsewhere:
        device = SimpleNamespace(type="mps")

        def to(self, dtype):
            return dtype

    tensor: Any = Elsewhere()
    assert steps._states(tensor, tensor, None) == (torch.float32, torch.float32, None)


def test_the_last_step_returns_the_predicted_sample_bit_for_bit():
    x, output, z, _ = (tensor.float() for tensor in inputs(4, LEVELS[30], "epsilon"))
    for limit in LIMITS.values():
        for step in (steps.ddim_step, partial(steps.ddim_step, eta=1.0), partial(steps.ddim_step, rederive=True)):
            ours = step(x, output, z, alpha=LEVELS[30], alpha_prev=1.0, limit=limit)
            assert torch.equal(ours.prev_sample, ours.pred_original_sample)


def test_no_step_between_equal_levels():
    # set_alpha_to_one=False ends on such a step
    x, output, z, _ = inputs(4, LEVELS[0], "epsilon")
    ours = steps.ddim_step(x, output, z, alpha=LEVELS[0], alpha_prev=LEVELS[0], eta=1.0)
    assert relative(ours.prev_sample, x) < 1e-13


def test_an_infinite_output_is_tamed_by_the_limit():
    # float16 models overflow; the clipped x_0 is finite, and so is what is derived from it
    x = torch.zeros(3)
    output = torch.tensor([math.inf, -math.inf, 0.0])
    levels: dict[str, Any] = {
        "alpha": LEVELS[900],
        "alpha_prev": LEVELS[800],
        "limit": partial(prediction.clip, bound=1.0),
    }
    for step in (partial(steps.ddim_step, rederive=True), steps.ddpm_step):
        ours = step(x, output, **levels)
        assert torch.equal(ours.pred_original_sample, torch.tensor([-1.0, 1.0, 0.0]))
        assert ours.prev_sample.isfinite().all()


def test_zero_terminal_snr_steps_are_finite():
    x, output, z, _ = inputs(5, 0.0, "v_prediction")
    for kind in ("v_prediction", "sample"):
        levels: dict[str, Any] = {"alpha": 0.0, "alpha_prev": LEVELS[900], "prediction": kind}
        truth, _ = paper_ddim(x, output, z, 0.0, LEVELS[900], kind, 0.0, None, False)
        assert relative(steps.ddim_step(x, output, **levels).prev_sample, truth) < 1e-13
        truth, _ = paper_ddpm(x, output, z, 0.0, LEVELS[900], kind, "fixed_large", None, None)
        assert relative(steps.ddpm_step(x, output, z, variance="fixed_large", **levels).prev_sample, truth) < 1e-13


def test_ddpm_without_noise_is_its_mean():
    x, output, z, _ = inputs(6, LEVELS[500], "epsilon")
    levels: dict[str, Any] = {"alpha": LEVELS[500], "alpha_prev": LEVELS[480]}
    mean = steps.ddpm_step(x, output, **levels).prev_sample
    assert relative(mean, steps.ddpm_step(x, output, torch.zeros_like(z), **levels).prev_sample) == 0.0
    truth, _ = paper_ddpm(x, output, 0 * z, LEVELS[500], LEVELS[480], "epsilon", "fixed_small", None, None)
    assert relative(mean, truth) < 1e-12


def test_defaults_are_epsilon_deterministic_and_the_small_variance():
    x, output, z, _ = inputs(8, LEVELS[500], "epsilon")
    levels: dict[str, Any] = {"alpha": LEVELS[500], "alpha_prev": LEVELS[480]}
    ddim = steps.ddim_step(x, output, z, **levels).prev_sample
    assert torch.equal(ddim, steps.ddim_step(x, output, prediction="epsilon", eta=0.0, **levels).prev_sample)
    ddpm = steps.ddpm_step(x, output, z, **levels).prev_sample
    explicit = steps.ddpm_step(x, output, z, prediction="epsilon", variance="fixed_small", **levels).prev_sample
    assert torch.equal(ddpm, explicit)
    # `rederive` is off by default, and changes something once x_0 is limited
    limited: dict[str, Any] = {"limit": LIMITS["clip"], **levels}
    plain = steps.ddim_step(x, output, **limited).prev_sample
    assert torch.equal(plain, steps.ddim_step(x, output, rederive=False, **limited).prev_sample)
    assert relative(plain, steps.ddim_step(x, output, rederive=True, **limited).prev_sample) > 1e-3
    coefficients = steps.ddim_coefficients(LEVELS[500], LEVELS[480], prediction="epsilon")
    options: dict[str, Any] = {"prediction": "epsilon", "eta": 0.0, "limited": False, "rederive": False}
    assert coefficients == steps.ddim_coefficients(LEVELS[500], LEVELS[480], **options)
    coefficients = steps.ddim_coefficients(LEVELS[500], LEVELS[480], prediction="epsilon", limited=True)
    assert coefficients == steps.ddim_coefficients(LEVELS[500], LEVELS[480], **options | {"limited": True})
    coefficients = steps.ddpm_coefficients(LEVELS[500], LEVELS[480], prediction="epsilon")
    assert coefficients == steps.ddpm_coefficients(LEVELS[500], LEVELS[480], prediction="epsilon", limited=False)


def test_coefficients_say_which_terms_a_step_has():
    levels = (LEVELS[500], LEVELS[480])
    free = steps.ddim_coefficients(*levels, prediction="v_prediction", eta=0.5)
    assert free.original == 0.0
    assert free.noise == pytest.approx(0.5 * math.sqrt(steps.posterior_variance(*levels)), rel=1e-15)
    rederived = steps.ddim_coefficients(*levels, prediction="v_prediction", limited=True, rederive=True)
    assert (rederived.output, rederived.noise) == (0.0, 0.0)
    ddpm = steps.ddpm_coefficients(*levels, prediction="v_prediction", limited=True)
    assert (ddpm.output, ddpm.noise) == (0.0, 1.0)
    assert steps.ddpm_coefficients(*levels, prediction="v_prediction")[2:] == (0.0, 1.0)


def test_learned_range_reaches_from_the_posteriors_to_the_chains_variance():
    levels = (LEVELS[500], LEVELS[480])
    ends = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    low, high = torch.as_tensor(steps.ddpm_deviation(*levels, variance="learned_range", predicted=ends)).tolist()
    assert low == pytest.approx(steps.ddpm_deviation(*levels, variance="fixed_small"), rel=1e-14)
    assert high == pytest.approx(steps.ddpm_deviation(*levels, variance="fixed_large"), rel=1e-14)
    # towards the clean sample the posterior has no variance, and its logarithm stops at 1e-20
    last = torch.as_tensor(steps.ddpm_deviation(LEVELS[500], 1.0, variance="learned_range", predicted=ends))
    assert last[0].item() == pytest.approx(1e-10, rel=1e-12)
    assert steps.ddpm_deviation(LEVELS[500], 1.0, variance="fixed_small") == 0.0


LEVEL_RULE = (
    "signal levels must satisfy 0 <= alpha < 1 and alpha <= alpha_prev <= 1 with alpha_prev > 0, got alpha={},"
    " alpha_prev={}; check the betas (each in 0..1) and the order of the timesteps"
)
NOISE = torch.zeros(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *(
            (partial(function, alpha, alpha_prev, **options), LEVEL_RULE.format(alpha, alpha_prev))
            for function, options in (
                (steps.posterior_variance, {}),
                (steps.ddim_coefficients, {"prediction": "sample"}),
                (steps.ddpm_coefficients, {"prediction": "sample"}),
                (steps.ddpm_deviation, {"variance": "learned", "predicted": NOISE}),
            )
            for alpha, alpha_prev in ((-0.1, 0.5), (1.0, 1.0), (0.5, 0.4), (0.5, 1.1), (0.0, 0.0), (math.nan, 0.5))
        ),
        *(
            (
                partial(steps.ddim_step, NOISE, NOISE, NOISE, alpha=0.5, alpha_prev=0.6, eta=eta),
                f"eta must lie in 0..1 (0: deterministic DDIM, 1: DDPM's noise), got {eta}",
            )
            for eta in (-0.1, 1.5)
        ),
        (
            partial(steps.ddim_step, NOISE, NOISE, alpha=0.5, alpha_prev=0.6, eta=0.5),
            "ddim_step with eta=0.5 adds noise: pass `noise`, a standard normal tensor like `sample`",
        ),
        (
            partial(steps.ddpm_deviation, 0.5, 0.6, variance="large"),
            "variance_type must be one of fixed_small, fixed_small_log, fixed_large, fixed_large_log, learned,"
            " learned_range, got 'large'",
        ),
        *(
            (
                partial(steps.ddpm_step, NOISE, NOISE, NOISE, alpha=0.5, alpha_prev=0.6, variance=variance),
                f"variance_type '{variance}' needs a model that predicts its variance: twice the sample's channels in"
                " dimension 1; the output has none, so use a fixed variance_type",
            )
            for variance in ("learned", "learned_range")
        ),
    ],
)
def test_bad_input_is_told_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()

"""The steps end to end on distributions whose denoiser is known in closed form, in float64."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from raccord.sampler import prediction, schedule, steps

MEAN = torch.tensor([0.8, -0.3, 0.1], dtype=torch.float64)
ROOT = torch.tensor([[0.6, 0.0, 0.0], [0.3, 0.4, 0.0], [-0.2, 0.1, 0.3]], dtype=torch.float64)
COVARIANCE = ROOT @ ROOT.T
EYE = torch.eye(3, dtype=torch.float64)
PREDICTIONS = ["epsilon", "sample", "v_prediction"]


def output_for(kind, x, x0, alpha):
    """What a model of that kind says when it takes x_0 for the clean sample of x."""
    noise = (x - math.sqrt(alpha) * x0) / math.sqrt(1 - alpha)
    return {"epsilon": noise, "sample": x0, "v_prediction": math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * x0}[kind]


def gaussian_denoiser(kind, x, alpha):
    """E[x_0 | x_t] of N(MEAN, COVARIANCE) data, as a model's output; x is [B, 3]."""
    gain = math.sqrt(alpha) * COVARIANCE @ torch.linalg.inv(alpha * COVARIANCE + (1 - alpha) * EYE)
    return output_for(kind, x, MEAN + (x - math.sqrt(alpha) * MEAN) @ gain.T, alpha)


def continuous_level(time):
    """alpha_bar of the variance-preserving SDE with beta 0.1..20 (arXiv 2011.13456, eq. 33), time in 0..1."""
    return math.exp(-(0.1 * time + 9.95 * time * time))


def run_moments(levels, *, eta, kind="epsilon", ddpm=False):
    """Mean and covariance after the steps from N at levels[0], by what the step does to points and to unit noise."""
    alpha = levels[0]
    mean, covariance = math.sqrt(alpha) * MEAN, alpha * COVARIANCE + (1 - alpha) * EYE
    for alpha, alpha_prev in pairwise(levels):
        points = torch.cat([mean[None], mean + EYE])
        output = gaussian_denoiser(kind, points, alpha)
        arguments: dict[str, Any] = {"alpha": alpha, "alpha_prev": alpha_prev, "prediction": kind}

        def step(noise, points=points, output=output, arguments=arguments):
            if ddpm:
                return steps.ddpm_step(points, output, noise, **arguments).prev_sample
            return steps.ddim_step(points, output, noise, eta=eta, **arguments).prev_sample

        still, moved = step(torch.zeros_like(points)), step(torch.ones_like(points))
        jacobian = (still[1:] - still[0]).T
        deviation = moved[0] - still[0]
        mean, covariance = still[0], jacobian @ covariance @ jacobian.T + torch.diag(deviation**2)
    return mean, covariance


def exact_moments(levels, *, eta):
    """The same by the recursion of the posterior mean, per eigenvector of the data's covariance."""
    variances, vectors = torch.linalg.eigh(COVARIANCE)
    centre = vectors.T @ MEAN
    alpha = levels[0]
    mean, spread = math.sqrt(alpha) * centre, alpha * variances + 1 - alpha
    for alpha, alpha_prev in pairwise(levels):
        total = alpha * variances + 1 - alpha
        sigma2 = eta**2 * (1 - alpha_prev) / (1 - alpha) * (1 - alpha / alpha_prev)
        direction = math.sqrt(max(1 - alpha_prev - sigma2, 0.0))
        # x_0 = centre + to_x0 (x - sqrt(alpha) centre), noise = to_noise (x - sqrt(alpha) centre)
        to_x0, to_noise = math.sqrt(alpha) * variances / total, math.sqrt(1 - alpha) / total
        slope = math.sqrt(alpha_prev) * to_x0 + direction * to_noise
        mean = math.sqrt(alpha_prev) * centre + slope * (mean - math.sqrt(alpha) * centre)
        spread = slope**2 * spread + sigma2
    return vectors @ mean, vectors @ torch.diag(spread) @ vectors.T


def trained_levels(count, spacing="trailing"):
    table = schedule.alphas_cumprod(schedule.betas("linear", length=1000, start=1e-4, end=0.02))
    timesteps = schedule.spaced_timesteps(count, train_steps=1000, spacing=spacing)
    return [*(table[step] for step in timesteps), 1.0]


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_gaussian_data_end_to_end(kind, eta):
    levels = trained_levels(28)
    mean, covariance = run_moments(levels, eta=eta, kind=kind)
    truth_mean, truth_covariance = exact_moments(levels, eta=eta)
    # noise_sample of "sample" divides by sqrt(1 - alpha), 0.01 at the least: 28 steps of 100 ulps
    assert (mean - truth_mean).abs().max() < 1e-11
    assert (covariance - truth_covariance).abs().max() < 1e-11
    # the posterior mean is exact on the mean, whatever the step
    assert (mean - MEAN).abs().max() < 1e-11


def test_ddpm_on_gaussian_data_is_ddim_with_eta_1():
    levels = trained_levels(28)
    mean, covariance = run_moments(levels, eta=None, ddpm=True)
    truth_mean, truth_covariance = exact_moments(levels, eta=1.0)
    assert (mean - truth_mean).abs().max() < 1e-11
    assert (covariance - truth_covariance).abs().max() < 1e-11


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_steps_converge_to_the_true_marginal_with_order_one(eta):
    # t from 1000 to 100 of 1000: at the clean end alpha_bar is not smooth enough in n to show the order
    errors = []
    for count in (400, 800):
        levels = [continuous_level(1.0 - 0.9 * index / count) for index in range(count + 1)]
        _, covariance = run_moments(levels, eta=eta)
        end = levels[-1]
        errors.append((covariance - end * COVARIANCE - (1 - end) * EYE).abs().max().item())
    assert 0.98 < math.log2(errors[0] / errors[1]) < 1.02


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("count", [1, 2, 7, 28, 1000])
def test_a_perfect_denoiser_returns_the_picture(kind, count):
    generator = torch.Generator().manual_seed(count)
    picture, noise = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    levels = trained_levels(count)
    for eta in (0.0, 0.3, 1.0):
        x = math.sqrt(levels[0]) * picture + math.sqrt(1 - levels[0]) * noise
        for alpha, alpha_prev in pairwise(levels):
            z = torch.randn(5, 6, generator=generator, dtype=torch.float64)
            output = output_for(kind, x, picture, alpha)
            x = steps.ddim_step(x, output, z, alpha=alpha, alpha_prev=alpha_prev, prediction=kind, eta=eta).prev_sample
            if eta == 0.0:
                on_the_way = math.sqrt(alpha_prev) * picture + math.sqrt(1 - alpha_prev) * noise
                assert (x - on_the_way).abs().max() < 1e-11
        assert (x - picture).abs().max() < 1e-11


def test_two_modes_keep_their_shares():
    # 30 % at -1 and 70 % at 1, deviation 0.1: the deterministic map sends quantiles to quantiles, so a fine grid of
    # the normal's quantiles must fall 30 : 70, to within one grid cell and the 200 steps' error
    modes = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    logits, spread = torch.tensor([0.3, 0.7], dtype=torch.float64).log(), 0.01
    levels = trained_levels(200)
    x = torch.special.ndtri((torch.arange(2000, dtype=torch.float64) + 0.5) / 2000)
    for alpha, alpha_prev in pairwise(levels):
        total = alpha * spread + 1 - alpha
        offset = x[:, None] - math.sqrt(alpha) * modes
        responsibility = (logits - offset**2 / (2 * total)).softmax(dim=1)
        x0 = (responsibility * (modes + math.sqrt(alpha) * spread / total * offset)).sum(dim=1)
        x = steps.ddim_step(x, output_for("epsilon", x, x0, alpha), alpha=alpha, alpha_prev=alpha_prev).prev_sample
    assert (x > 0).double().mean().item() == pytest.approx(0.7, abs=0.005)
    # within the modes: deviation 0.1 each
    assert x[x > 0].mean().item() == pytest.approx(1.0, abs=0.01)
    assert x[x > 0].std().item() == pytest.approx(0.1, rel=0.1)
    assert x[x < 0].std().item() == pytest.approx(0.1, rel=0.1)


def test_limits_do_not_touch_a_denoiser_inside_the_range():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    picture = torch.rand(5, 6, generator=generator, dtype=torch.float64) * 2 - 1
    output = output_for("epsilon", x, picture, 0.3)
    free = steps.ddim_step(x, output, alpha=0.3, alpha_prev=0.4).prev_sample
    for limit in (
        lambda original: prediction.clip(original, bound=1.0),
        lambda original: prediction.dynamic_threshold(original, ratio=0.9, maximum=2.0),
    ):
        for rederive in (False, True):
            ours = steps.ddim_step(x, output, alpha=0.3, alpha_prev=0.4, limit=limit, rederive=rederive).prev_sample
            assert (ours - free).abs().max() < 1e-14 * 10

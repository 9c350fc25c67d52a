"""One step of DDIM and of DDPM, as pure functions of tensors and host numbers.

    x_s = a x_t + b output + c z        (+ d x_0 where x_0 was clipped or thresholded)

Constants and arithmetic are float64, by separate multiplies and adds in the order written, and the result is rounded
once to the sample's dtype: no fused multiply-add and no square root on a device decides a bit, and the division by
sqrt(alpha) at the noisy end (a factor of 150 for DDPM's own schedule) does not magnify float32's roundings. Between
steps the state is whatever the sample is, as a rule float32. A device without float64 (mps) computes in float32.
Shapes are of no interest here: pictures, sound, any rank.

Names: `alpha` and `alpha_prev` are `alpha_bar` (diffusers: `alphas_cumprod`) at the timestep the sample is at and at
the one it goes to, with `alpha_prev = 1` for the clean sample.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from raccord.sampler.prediction import conversion

STEP_VERSION = 1

# `learned_range` takes the logarithm of the posterior variance, which is 0 on the way to the clean sample
SMALLEST_VARIANCE = 1e-20

Limit = Callable[[Tensor], Tensor]


class Coefficients(NamedTuple):
    """Weights of the four terms of a step: x_t, the model's output, the limited x_0, and the noise."""

    sample: float
    output: float
    original: float
    noise: float


class Step(NamedTuple):
    """Result of a step: the sample at the earlier timestep, and the clean sample predicted on the way."""

    prev_sample: Tensor
    pred_original_sample: Tensor


def posterior_variance(alpha: float, alpha_prev: float) -> float:
    """Variance of q(x_s | x_t, x_0) (arXiv 2006.11239, eq. 7): DDIM's sigma^2 at eta 1 (arXiv 2010.02502, eq. 16)."""
    _check_levels(alpha, alpha_prev)
    return (1.0 - alpha_prev) / (1.0 - alpha) * (1.0 - alpha / alpha_prev)


def ddim_coefficients(
    alpha: float, alpha_prev: float, *, prediction: str, eta: float = 0.0, limited: bool = False, rederive: bool = False
) -> Coefficients:
    """Constants of a DDIM step (Song et al. 2021, arXiv 2010.02502, eq. 12 and 16).

    Args:
        alpha: alpha_bar at the sample's timestep, in [0, 1).
        alpha_prev: alpha_bar at the timestep it goes to, in [alpha, 1].
        prediction: "epsilon", "sample" or "v_prediction".
        eta: 0 (deterministic) to 1 (as much noise as DDPM).
        limited: x_0 is clipped or thresholded, so it enters as a term of its own.
        rederive: take the noise direction from the limited x_0 (Glide's `use_clipped_model_output`).

    Raises:
        ValueError: a level, `eta` or `prediction` out of range.
    """
    if not 0.0 <= eta <= 1.0:
        raise ValueError(f"eta must lie in 0..1 (0: deterministic DDIM, 1: DDPM's noise), got {eta}")
    variance = posterior_variance(alpha, alpha_prev)
    to_x0 = conversion(prediction, alpha)
    share = math.sqrt(alpha_prev)
    # the paper's sqrt(1 - alpha_prev - sigma^2), in a form that rounding cannot make negative
    spread = (1.0 - alpha / alpha_prev) / (1.0 - alpha)
    direction = math.sqrt((1.0 - alpha_prev) * (1.0 - eta * eta * spread))
    noise = eta * math.sqrt(variance)
    if not limited:
        sample = share * to_x0.original_sample + direction * to_x0.noise_sample
        output = share * to_x0.original_output + direction * to_x0.noise_output
        return Coefficients(sample, output, 0.0, noise)
    if rederive:
        per_noise = direction / math.sqrt(1.0 - alpha)
        return Coefficients(per_noise, 0.0, share - math.sqrt(alpha) * per_noise, noise)
    return Coefficients(direction * to_x0.noise_sample, direction * to_x0.noise_output, share, noise)


def ddpm_coefficients(alpha: float, alpha_prev: float, *, prediction: str, limited: bool = False) -> Coefficients:
    """Constants of the mean of a DDPM step (Ho et al. 2020, arXiv 2006.11239, eq. 7).

    Arguments and errors as `ddim_coefficients`. `noise` is 1, to be multiplied by `ddpm_deviation`.
    """
    _check_levels(alpha, alpha_prev)
    to_x0 = conversion(prediction, alpha)
    kept = alpha / alpha_prev
    original = math.sqrt(alpha_prev) * (1.0 - kept) / (1.0 - alpha)
    sample = math.sqrt(kept) * (1.0 - alpha_prev) / (1.0 - alpha)
    if limited:
        return Coefficients(sample, 0.0, original, 1.0)
    return Coefficients(sample + original * to_x0.original_sample, original * to_x0.original_output, 0.0, 1.0)


def guided_coefficients(
    weights: Coefficients, alpha: float, *, prediction: str, bound: float | None = None
) -> tuple[float, ...]:
    """A step's constants in the order of `raccord.kernels.guided_step.COEFFICIENTS`.

    Args:
        weights: of the step, `limited` where there is a bound.
        alpha, prediction: as `ddim_coefficients`.
        bound: x_0 is clipped to plus or minus this; None = not clipped.
    """
    to_x0 = conversion(prediction, alpha)
    return (*weights, to_x0.original_sample, to_x0.original_output, math.inf if bound is None else bound)


def ddpm_deviation(
    alpha: float, alpha_prev: float, *, variance: str, predicted: Tensor | None = None
) -> float | Tensor:
    """Standard deviation of a DDPM step's noise.

    Args:
        alpha, alpha_prev: as `ddim_coefficients`.
        variance: "fixed_small" and "fixed_small_log" (the posterior's), "fixed_large" and "fixed_large_log" (beta;
            both arXiv 2006.11239, section 3.2), "learned" (`predicted` is the variance), or "learned_range"
            (`predicted` in -1..1 interpolates between their logarithms, arXiv 2102.09672, eq. 15).
        predicted: what the model says of its variance, the sample's shape; for the learned types only.

    Raises:
        ValueError: unknown `variance`, or a learned one without `predicted`.
    """
    small = posterior_variance(alpha, alpha_prev)
    large = 1.0 - alpha / alpha_prev
    if variance in ("fixed_small", "fixed_small_log"):
        return math.sqrt(small)
    if variance in ("fixed_large", "fixed_large_log"):
        return math.sqrt(large)
    if variance not in ("learned", "learned_range"):
        known = "fixed_small, fixed_small_log, fixed_large, fixed_large_log, learned, learned_range"
        raise ValueError(f"variance_type must be one of {known}, got {variance!r}")
    if predicted is None:
        raise ValueError(
            f"variance_type {variance!r} needs a model that predicts its variance: twice the sample's channels in"
            " dimension 1; the output has none, so use a fixed variance_type"
        )
    if variance == "learned":
        return predicted.sqrt()
    low, high = (math.log(max(value, SMALLEST_VARIANCE)) for value in (small, large))
    # half of eq. 15: the deviation is the root of the variance
    return torch.exp(predicted * (0.25 * (high - low)) + 0.25 * (high + low))


def ddim_step(
    sample: Tensor,
    output: Tensor,
    noise: Tensor | None = None,
    *,
    alpha: float,
    alpha_prev: float,
    prediction: str = "epsilon",
    eta: float = 0.0,
    limit: Limit | None = None,
    rederive: bool = False,
) -> Step:
    """One DDIM step (arXiv 2010.02502, eq. 12).

        x_s = sqrt(alpha_prev) x_0 + sqrt(1 - alpha_prev - sigma^2) e + sigma z

    Args:
        sample: x_t, any shape, any floating dtype.
        output: the model's output, same shape.
        noise: z, same shape, standard normal; needed when `eta` is above 0.
        limit: applied to the predicted x_0 (see `raccord.sampler.prediction`).
        alpha, alpha_prev, prediction, eta, rederive: as `ddim_coefficients`. `rederive` does nothing without `limit`.

    Returns:
        Both tensors in the sample's dtype.

    Raises:
        ValueError: as `ddim_coefficients`, or `eta` above 0 without `noise`.
    """
    if eta > 0.0 and noise is None:
        raise ValueError(f"ddim_step with eta={eta} adds noise: pass `noise`, a standard normal tensor like `sample`")
    weights = ddim_coefficients(
        alpha, alpha_prev, prediction=prediction, eta=eta, limited=limit is not None, rederive=rederive
    )
    x, out, z = _states(sample, output, noise)
    original = _original(x, out, alpha, prediction, limit)
    previous = _weighted_sum(
        (weights.sample, x), (weights.output, out), (weights.original, original), (weights.noise, z)
    )
    return Step(previous.to(sample.dtype), original.to(sample.dtype))


def ddpm_step(
    sample: Tensor,
    output: Tensor,
    noise: Tensor | None = None,
    *,
    alpha: float,
    alpha_prev: float,
    prediction: str = "epsilon",
    variance: str = "fixed_small",
    predicted_variance: Tensor | None = None,
    limit: Limit | None = None,
) -> Step:
    """One DDPM step: the mean of q(x_s | x_t, x_0) at the predicted x_0, plus noise (arXiv 2006.11239, eq. 7).

    Args:
        sample, output, limit: as `ddim_step`.
        noise: z, same shape, standard normal; None for the mean alone, as at the last step.
        alpha, alpha_prev, prediction: as `ddim_coefficients`.
        variance, predicted_variance: as `ddpm_deviation`.

    Returns:
        Both tensors in the sample's dtype.

    Raises:
        ValueError: as `ddpm_coefficients` and `ddpm_deviation`.
    """
    weights = ddpm_coefficients(alpha, alpha_prev, prediction=prediction, limited=limit is not None)
    x, out, z = _states(sample, output, noise)
    original = _original(x, out, alpha, prediction, limit)
    previous = _weighted_sum((weights.sample, x), (weights.output, out), (weights.original, original))
    if z is not None:
        predicted = None if predicted_variance is None else predicted_variance.to(x.dtype)
        previous = previous + z * ddpm_deviation(alpha, alpha_prev, variance=variance, predicted=predicted)
    return Step(previous.to(sample.dtype), original.to(sample.dtype))


def _check_levels(alpha: float, alpha_prev: float) -> None:
    if not (0.0 <= alpha < 1.0 and alpha <= alpha_prev <= 1.0 and alpha_prev > 0.0):
        raise ValueError(
            f"signal levels must satisfy 0 <= alpha < 1 and alpha <= alpha_prev <= 1 with alpha_prev > 0, got"
            f" alpha={alpha}, alpha_prev={alpha_prev}; check the betas (each in 0..1) and the order of the timesteps"
        )


def _states(sample: Tensor, output: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    dtype = torch.float32 if sample.device.type == "mps" else torch.float64
    return sample.to(dtype), output.to(dtype), None if noise is None else noise.to(dtype)


def _original(x: Tensor, output: Tensor, alpha: float, prediction: str, limit: Limit | None) -> Tensor:
    to_x0 = conversion(prediction, alpha)
    original = _weighted_sum((to_x0.original_sample, x), (to_x0.original_output, output))
    return original if limit is None else limit(original)


def _weighted_sum(*terms: tuple[float, Tensor | None]) -> Tensor:
    # a term of weight 0 is left out, so an infinity in it cannot become a NaN
    products = [tensor * weight for weight, tensor in terms if tensor is not None and weight != 0.0]
    total = products[0]
    for product in products[1:]:
        total = total + product
    return total

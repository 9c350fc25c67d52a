"""What the model predicts, turned into a clean sample and a noise: the only place that knows the parametrisations.

Every conversion is linear in (sample, output), so it is four host constants. With `a = alpha_bar_t` and
`x_t = sqrt(a) x_0 + sqrt(1 - a) e`:

    epsilon        output = e                              arXiv 2006.11239, eq. 15
    sample         output = x_0
    v_prediction   output = sqrt(a) e - sqrt(1 - a) x_0    arXiv 2202.00512, appendix D
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Conversion(NamedTuple):
    """`x_0 = original_sample * x_t + original_output * output`, and likewise for the noise."""

    original_sample: float
    original_output: float
    noise_sample: float
    noise_output: float


def conversion(prediction: str, alpha_bar: float) -> Conversion:
    """Constants that turn a model's output at signal level `alpha_bar` into x_0 and noise.

    Args:
        prediction: "epsilon", "sample" or "v_prediction".
        alpha_bar: share of signal variance, in [0, 1).

    Raises:
        ValueError: unknown `prediction`, or "epsilon" at `alpha_bar` 0, where x_t holds no trace of x_0.
    """
    signal, sigma = math.sqrt(alpha_bar), math.sqrt(1.0 - alpha_bar)
    if prediction == "epsilon":
        if signal == 0.0:
            raise ValueError(
                "prediction_type 'epsilon' has no clean sample at zero SNR (alpha_bar = 0), where it would divide by 0:"
                " use a model with 'v_prediction' or 'sample', or rescale_betas_zero_snr=False"
            )
        return Conversion(1.0 / signal, -sigma / signal, 0.0, 1.0)
    if prediction == "sample":
        return Conversion(0.0, 1.0, 1.0 / sigma, -signal / sigma)
    if prediction == "v_prediction":
        return Conversion(signal, -sigma, sigma, signal)
    raise ValueError(f"prediction_type must be one of epsilon, sample, v_prediction, got {prediction!r}")


def clip(original: Tensor, *, bound: float) -> Tensor:
    """`original` limited to [-bound, bound], element by element."""
    return original.clamp(-bound, bound)


def dynamic_threshold(original: Tensor, *, ratio: float, maximum: float) -> Tensor:
    """Dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, section 2.3), one threshold per sample.

    `s` is the `ratio` quantile of |original| over everything but dimension 0 (over everything in 1-D), kept within
    [1, maximum]; the result is `clamp(original, -s, s) / s`.

    Args:
        original: float64 or float32, any rank; dimension 0 is the batch when there are two or more.
        ratio: quantile in 0..1.
        maximum: largest threshold; below 1 it wins over the lower limit.
    """
    rows = original.reshape(original.shape[0] if original.ndim > 1 else 1, -1)
    threshold = torch.quantile(rows.abs(), ratio, dim=1, keepdim=True).clamp(min=1.0, max=maximum)
    return (rows.clamp(-threshold, threshold) / threshold).reshape(original.shape)

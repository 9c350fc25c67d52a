"""The guided step in plain torch: the specification."""

import torch
from torch import Tensor

from raccord.kernels.noise import reference as noise_reference


def guided_step(
    sample: Tensor,
    output_uncond: Tensor,
    output_cond: Tensor,
    guidance: Tensor,
    coefficients: Tensor,
    stream_rows: Tensor | None,
    noise: Tensor | None,
    *,
    out: Tensor | None,
) -> Tensor:
    """float32 [R, C, H, W], contiguous.

    Args:
        sample: float32 [R, C, H, W].
        output_uncond, output_cond: the same shape, float32, float16 or bfloat16.
        guidance: float32 [R or 1] or [R or 1, 1, H, W].
        coefficients: [R or 1, 7], in the dtype of the arithmetic.
        stream_rows: int64 [R, 5] for noise to be drawn, see `raccord.kernels.noise.stream_rows`; or None.
        noise: float32, the sample's shape, or None.
        out: where the result goes: contiguous, not empty, maybe `sample` itself. None, for a result that has a
            derivative, only here.
    """
    if stream_rows is not None:
        shape = (sample.shape[1], sample.shape[2], sample.shape[3])
        noise = noise_reference.gaussian(stream_rows, shape, sample.device)
    uncond, cond = output_uncond.float(), output_cond.float()
    scale = guidance if guidance.ndim == 4 else guidance.view(-1, 1, 1, 1)
    x = sample.to(coefficients.dtype)
    output = (uncond + scale * (cond - uncond)).to(coefficients.dtype)
    weights = [column.view(-1, 1, 1, 1) for column in coefficients.unbind(1)]
    from_sample, from_output, from_original, from_noise, original_sample, original_output, bound = weights
    original = _term(original_sample, x) + _term(original_output, output)
    total = _term(from_sample, x) + _term(from_output, output)
    total = total + _term(from_original, torch.clamp(original, -bound, bound))
    if noise is not None:
        total = total + _term(from_noise, noise.to(coefficients.dtype))
    result = total.to(torch.float32).contiguous()
    return result if out is None else out.copy_(result)


def _term(weight: Tensor, value: Tensor) -> Tensor:
    """weight * value; where the weight is 0, -0.0, which changes nothing that it is added to."""
    return torch.where(weight != 0, weight * value, -0.0)

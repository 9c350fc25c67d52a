"""One step of a sampler in one pass: classifier-free guidance, prediction, clipping, DDIM or DDPM update, keyed noise.

With u, c the model's outputs without and with the text, g the guidance and (ws, wo, wx, wz, xs, xo, bound) the row's
coefficients, element by element:

    e  = u + g (c - u)                                    float32     (Ho and Salimans, arXiv 2207.12598, eq. 6)
    x0 = clamp(xs x + xo e, -bound, bound)                float64
    x' = ws x + wo e + wx x0 + wz z                       float64, rounded once to float32

Multiplications and additions are separate and in this order, and a term whose weight is 0 is left out (so an infinity
in it cannot become a NaN). z is `raccord.gaussian`'s noise, drawn element by element on the way, or given. Every
backend gives the same bits; where the result is NaN, its payload is nobody's promise.

Every number a step depends on lies in tensors, so a CUDA graph that holds a call can be replayed with other
coefficients, guidance and noise keys: `torch.ops.raccord.guided_step_` takes those tensors themselves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsIndex

import torch
from torch import Tensor

from raccord.kernels import _library, _native
from raccord.kernels._dispatch import Backend, Operation, interpreted, triton_reasons
from raccord.kernels.noise import stream_rows as noise_rows

__all__ = ["COEFFICIENTS", "OPERATION", "KeyedNoise", "guided_step"]

#: The columns of `coefficients`: weights of x, e, x0 and z; of x and e in x0; and the limit of x0, infinity for none.
COEFFICIENTS = ("sample", "output", "original", "noise", "original_sample", "original_output", "bound")

_OUTPUTS = (torch.float32, torch.float16, torch.bfloat16)


class KeyedNoise(NamedTuple):
    """Noise to be drawn as `gaussian(seed, purpose, streams, [step] * R, shape)` draws it.

    seed: 0 .. 2^63 - 1.
    streams: R ids.
    step: the timestep the step leads to.
    purpose: what the noise is for.
    """

    seed: SupportsIndex
    streams: Sequence[str | SupportsIndex]
    step: SupportsIndex
    purpose: str = "step"


def _cpu_accepts(*, device: torch.device, gradient: bool) -> list[str]:
    found = [] if device.type == "cpu" else [f"it computes on the CPU and the tensors are on {device}"]
    return found + _no_gradient(gradient)


def _triton_accepts(*, device: torch.device, gradient: bool) -> list[str]:
    home = "cpu" if interpreted() else "cuda"
    found = [] if device.type == home else [f"it computes on {home} here and the tensors are on {device}"]
    return found + _no_gradient(gradient)


def _no_gradient(gradient: bool) -> list[str]:
    return ["it has no derivative: call it under torch.no_grad()"] if gradient else []


OPERATION = Operation(
    "guided_step",
    {
        "cpu": Backend("raccord.kernels.guided_step.native", lambda: list(_native.reasons()), _cpu_accepts),
        "reference": Backend("raccord.kernels.guided_step.reference"),
        # Behind the reference, so only where it is forced: it has not run on a GPU yet.
        "triton": Backend("raccord.kernels.guided_step.triton", triton_reasons, _triton_accepts),
    },
)


def guided_step(
    sample: Tensor,
    output_uncond: Tensor,
    output_cond: Tensor,
    guidance: float | Tensor,
    coefficients: Tensor,
    *,
    noise: KeyedNoise | tuple[Any, ...] | Tensor | None = None,
    inplace: bool = False,
    backend: str | None = None,
) -> Tensor:
    """One guided step of R independent rows; the module's docstring defines the bits. Differentiable.

    Args:
        sample: x, float32 [R, C, H, W], [R, C, L] or [R, C].
        output_uncond: u, the sample's shape; float32, float16 or bfloat16. For an output that is guided already, give
            it twice.
        output_cond: c, likewise.
        guidance: g, a number, or float32 [] or [R], or a map [R or 1, 1, H, W] for a sample of four dimensions.
        coefficients: float64 [R, 7] or [7], columns as `COEFFICIENTS` (float32 on a device without float64);
            `raccord.sampler.steps` and the schedulers' `guided_coefficients` compute them.
        noise: z; `KeyedNoise` or a plain (seed, streams, step), drawn on the way, or float32 of the sample's shape. A
            row whose noise weight is 0 ignores it. None where all are 0.
        inplace: write the result into `sample`.
        backend: "cpu", "triton" or "reference" to force one; None for the first that can serve the call.

    Returns:
        x', float32 of the sample's shape, contiguous; `sample` itself with `inplace`.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together.
        RuntimeError: the forced backend cannot serve the call.
    """
    _check(sample, output_uncond, output_cond, coefficients)
    rows, device = sample.shape[0], sample.device
    if not isinstance(guidance, Tensor):
        guidance = torch.full((1,), guidance, dtype=torch.float32, device=device)
    elif (
        guidance.dtype != torch.float32
        or guidance.device != device
        or (guidance.ndim == 4 and guidance.shape[1:] != (1, *sample.shape[2:]))
        or (guidance.ndim not in (0, 1, 4) or (guidance.ndim > 0 and guidance.shape[0] not in (1, rows)))
    ):
        raise ValueError(
            f"guidance must be a number or float32 of shape [], [{rows}] or [{rows}, 1, H, W] for a sample "
            f"{list(sample.shape)} on {device}, got {guidance.dtype} {list(guidance.shape)} on {guidance.device}"
        )
    keys, drawn = _noise(noise, sample)
    if coefficients.ndim == 1:
        coefficients = coefficients.unsqueeze(0)
    if guidance.ndim == 0:
        guidance = guidance.unsqueeze(0)
    operands = (sample, output_uncond, output_cond, guidance, coefficients, keys, drawn, backend)
    if sample.ndim < 4:
        x, u, c = (_four(tensor) for tensor in (sample, output_uncond, output_cond))
        operands = (x, u, c, guidance, coefficients, keys, None if drawn is None else _four(drawn), backend)
    gradient = torch.is_grad_enabled() and any(isinstance(value, Tensor) and value.requires_grad for value in operands)
    if gradient or (type(sample) is Tensor and not torch.compiler.is_compiling()):
        # nobody is tracing: straight to the backend, as the dispatcher would take as long as a small latent does
        if inplace and not gradient:
            _run_inplace(*operands)
            return sample
        result = _run(*operands, gradient=gradient)
    elif inplace:
        _STEP_INPLACE(*operands)
        return sample
    else:
        result = _STEP(*operands)
    if sample.ndim < 4:
        result = result.view(sample.shape)
    return sample.copy_(result) if inplace else result


def _check(sample: Tensor, uncond: Tensor, cond: Tensor, coefficients: Tensor) -> None:
    # each attribute of a tensor is a call, so each is asked for once
    shape, device, dtype = sample.shape, sample.device, sample.dtype
    if dtype != torch.float32 or not 2 <= len(shape) <= 4:
        raise ValueError(
            f"sample must be float32 [R, C, H, W], [R, C, L] or [R, C], got {dtype} {list(shape)}: keep "
            "the state in float32 between steps, whatever the model computes in"
        )
    for name, output in (("output_uncond", uncond), ("output_cond", cond)):
        if output.shape != shape or output.dtype not in _OUTPUTS or output.device != device:
            raise ValueError(
                f"{name} must be float32, float16 or bfloat16 {list(shape)} on {device} like the sample, "
                f"got {output.dtype} {list(output.shape)} on {output.device}"
            )
    rows, wide = shape[0], torch.float32 if device.type == "mps" else torch.float64
    if coefficients.dtype != wide or coefficients.shape not in ((7,), (1, 7), (rows, 7)):
        raise ValueError(
            f"coefficients must be {wide} [{rows}, 7] or [7], columns {', '.join(COEFFICIENTS)}, got "
            f"{coefficients.dtype} {list(coefficients.shape)}"
        )
    if coefficients.device != device:
        raise ValueError(f"coefficients must be on {device} like the sample, got {coefficients.device}")


def _noise(noise: KeyedNoise | tuple[Any, ...] | Tensor | None, sample: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The rows of the keys, or the noise itself, or neither."""
    if noise is None:
        return None, None
    if isinstance(noise, Tensor):
        if noise.dtype != torch.float32 or noise.shape != sample.shape or noise.device != sample.device:
            raise ValueError(
                f"noise must be float32 {list(sample.shape)} on {sample.device} like the sample, got {noise.dtype} "
                f"{list(noise.shape)} on {noise.device}"
            )
        return None, noise
    keyed = noise if isinstance(noise, KeyedNoise) else KeyedNoise(*noise)
    shape, streams = sample.shape, keyed.streams
    rows = shape[0]
    if len(streams) != rows:
        raise ValueError(f"noise needs one stream for every row: the sample has {rows}, streams {len(streams)}")
    height, width = shape[2] if len(shape) == 4 else 1, shape[-1] if len(shape) > 2 else 1
    keys = noise_rows(keyed.seed, keyed.purpose, streams, [keyed.step] * rows, height=height, width=width)
    return keys if sample.device.type == "cpu" else keys.to(sample.device), None


def _four(tensor: Tensor) -> Tensor:
    """[R, C, L] and [R, C] as [R, C, H, W], with the sizes of 1 that `gaussian` gives (C, L) and (C,)."""
    return tensor.unsqueeze(2) if tensor.ndim == 3 else tensor[:, :, None, None]


def _run(
    sample: Tensor,
    uncond: Tensor,
    cond: Tensor,
    guidance: Tensor,
    coefficients: Tensor,
    stream_rows: Tensor | None = None,
    noise: Tensor | None = None,
    backend: str | None = None,
    *,
    out: Tensor | None = None,
    gradient: bool = False,
) -> Tensor:
    implementation = OPERATION.choose(backend, device=sample.device, gradient=gradient)
    if out is None and not gradient:
        out = torch.empty_like(sample, memory_format=torch.contiguous_format)
        if out.numel() == 0:
            return out
    return implementation(sample, uncond, cond, guidance, coefficients, stream_rows, noise, out=out)


def _run_inplace(sample: Tensor, *operands) -> None:
    if sample.is_contiguous() and sample.numel() > 0:
        _run(sample, *operands, out=sample)
    else:
        sample.copy_(_run(sample, *operands))


_ARGUMENTS = (
    "Tensor output_uncond, Tensor output_cond, Tensor guidance, Tensor coefficients, Tensor? stream_rows=None, "
    "Tensor? noise=None, str? backend=None"
)
_STEP = _library.define(
    f"guided_step(Tensor sample, {_ARGUMENTS}) -> Tensor",
    _run,
    lambda sample, *_: torch.empty_like(sample, memory_format=torch.contiguous_format),
)
_STEP_INPLACE = _library.define(f"guided_step_(Tensor(a!) sample, {_ARGUMENTS}) -> ()", _run_inplace, lambda *_: None)

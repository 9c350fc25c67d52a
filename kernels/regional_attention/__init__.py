"""Regional cross-attention: every position listens to the prompts of its own region, weighted.

For a position p of row b with weights w_s(p) over the row's text segments s:

    blend   O(p) = sum_s w_s(p) softmax(q_p K_s^T * scale) V_s / sum_s w_s(p)
    joint   O(p) = softmax over the tokens of all segments of (q_p K_s^T * scale + log w_s(p)), times their V

Blend is the sum-of-softmaxes form of the attention-couple family, joint the biased single softmax of DenseDiffusion
(Kim et al., arXiv 2308.12964). With one segment of weight 1 both are ordinary attention (Vaswani et al., 1706.03762).
"""

from typing import Literal, overload

import torch
from torch import Tensor

from raccord.kernels import _library, _native
from raccord.kernels._dispatch import Backend, Operation, triton_reasons, triton_refuses
from raccord.kernels.regional_attention.gradient.reference import gradients
from raccord.kernels.regional_attention.pack import PackedText, pack

__all__ = ["OPERATION", "PackedText", "pack", "regional_attention"]

_CPU_DTYPES = (torch.float32, torch.bfloat16)


def _cpu_accepts(*, device: torch.device, dtype: torch.dtype) -> list[str]:
    reasons = [] if device.type == "cpu" else [f"it computes on the CPU and the query is on {device}"]
    return reasons if dtype in _CPU_DTYPES else [*reasons, f"it takes float32 and bfloat16, and the query is {dtype}"]


OPERATION = Operation(
    "regional_attention",
    {
        "cpu": Backend("raccord.kernels.regional_attention.native", lambda: list(_native.reasons()), _cpu_accepts),
        "reference": Backend("raccord.kernels.regional_attention.reference"),
        # Behind the reference, so only where it is forced: it has not run on a GPU yet.
        "triton": Backend("raccord.kernels.regional_attention.triton", triton_reasons, triton_refuses),
    },
)


@overload
def regional_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    *,
    height: int,
    width: int,
    scale: float | None = None,
    combine: str = "blend",
    return_lse: Literal[False] = False,
    packed: PackedText | None = None,
    backend: str | None = None,
) -> Tensor: ...


@overload
def regional_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    *,
    height: int,
    width: int,
    scale: float | None = None,
    combine: str = "blend",
    return_lse: Literal[True],
    packed: PackedText | None = None,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]: ...


def regional_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    *,
    height: int,
    width: int,
    scale: float | None = None,
    combine: str = "blend",
    return_lse: bool = False,
    packed: PackedText | None = None,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend from image positions to a pool of text tokens, region by region. Differentiable.

    Args:
        query: [B, N, H, D], N = height * width positions in row-major order; float16, bfloat16, float32 or float64.
        key: [T, H, D], the pool's keys, same dtype as `query`.
        value: [T, H, D], the pool's values, same dtype as `query`.
        segments: int32 [B, S, 2], (start, length) into the pool; length 0 = the segment is absent.
        weight: floating [B, S, N], >= 0 and finite in float32; 0 = the position does not see the segment.
        height: rows of the attention grid.
        width: columns of the attention grid.
        scale: factor on q k^T, 1 / sqrt(D) by default.
        combine: "blend" (a weighted sum of one softmax per segment) or "joint" (one softmax, bias log w).
        return_lse: also return the log-sum-exp of the scaled scores of each segment (natural log, mean over heads), for
            every position whether it sees the segment or not; -inf for absent segments.
        packed: `pack(key, value, segments)` of this key and value and at least these segments, made once a story: it
            saves the CPU backend that work. No other backend reads it.
        backend: force a backend; None takes the first that can serve the call.

    Returns:
        output [B, N, H, D] in the query's dtype, or (output, lse float32 [B, S, N]) with `return_lse`. A position that
        sees nothing gives exactly 0.

    Raises:
        ValueError: shapes, dtypes or segments do not fit together, or no such backend.
        RuntimeError: the forced backend cannot serve the call.
    """
    _check(query, key, value, segments, weight, height=height, width=width, combine=combine)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    panels, spans = packed or (None, None)
    operands = (query, key, value, segments, weight, panels, spans, height, width, factor, combine, return_lse, backend)
    gradient = torch.is_grad_enabled() and any(x.requires_grad for x in (query, key, value, weight))
    # nobody is tracing and nobody wants a gradient: straight to the backend, past the dispatcher
    plain = type(query) is Tensor and not gradient and not torch.compiler.is_compiling()
    output, lse = _run(*operands) if plain else _ATTEND(*operands)
    return (output, lse) if return_lse else output


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    *,
    height: int,
    width: int,
    combine: str,
) -> None:
    if query.ndim != 4 or not query.is_floating_point():
        raise ValueError(f"query must be floating point [B, N, H, D], got {query.dtype} {list(query.shape)}")
    rows, positions, heads, head_width = query.shape
    if positions != height * width:
        raise ValueError(f"query has N = {positions} positions but height * width = {height} * {width}")
    if key.ndim != 3 or key.shape[1:] != (heads, head_width) or key.shape != value.shape:
        raise ValueError(
            f"key and value must both be [T, H={heads}, D={head_width}], got {list(key.shape)} and {list(value.shape)}"
        )
    if key.dtype != query.dtype or value.dtype != query.dtype:
        raise ValueError(f"query, key and value must share a dtype, got {query.dtype}, {key.dtype}, {value.dtype}")
    if segments.dtype != torch.int32 or segments.ndim != 3 or segments.shape[0] != rows or segments.shape[2] != 2:
        raise ValueError(f"segments must be int32 [B={rows}, S, 2], got {segments.dtype} {list(segments.shape)}")
    if not weight.is_floating_point() or weight.shape != (rows, segments.shape[1], positions):
        raise ValueError(
            f"weight must be floating point [B={rows}, S={segments.shape[1]}, N={positions}], "
            f"got {weight.dtype} {list(weight.shape)}"
        )
    if combine not in ("blend", "joint"):
        raise ValueError(f'combine must be "blend" or "joint", got {combine!r}')
    # the values of a tensor that is being traced are not known; the backends look at them again
    known = segments.device.type == "cpu" and type(segments) is Tensor and not torch.compiler.is_compiling()
    if segments.numel() and known:
        start, length = segments[..., 0], segments[..., 1]
        if bool((start < 0).any()) or bool((length < 0).any()) or bool((start + length > key.shape[0]).any()):
            raise ValueError(f"segments must lie inside the pool of T = {key.shape[0]} tokens, got {segments.tolist()}")


def _run(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    panels: Tensor | None,
    spans: Tensor | None,
    height: int,
    width: int,
    scale: float,
    combine: str,
    return_lse: bool,
    backend: str | None = None,
) -> tuple[Tensor, Tensor]:
    """(output, lse), the lse empty where it was not asked for."""
    packed = None if panels is None or spans is None else PackedText(panels, spans)
    output, lse = OPERATION.choose(backend, device=query.device, dtype=query.dtype)(
        query,
        key,
        value,
        segments,
        weight,
        height=height,
        width=width,
        scale=scale,
        combine=combine,
        return_lse=return_lse,
        packed=packed,
    )
    return output, weight.new_empty(0, dtype=torch.float32) if lse is None else lse.float()


def _run_fake(query, key, value, segments, weight, panels, spans, height, width, scale, combine, return_lse, *backend):
    lse = weight.new_empty(weight.shape if return_lse else (0,), dtype=torch.float32)
    return query.new_empty(query.shape), lse


def _differentiate(
    output_gradient: Tensor,
    lse_gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    height: int,
    width: int,
    scale: float,
    combine: str,
    return_lse: bool,
    backend: str | None,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients in query, key, value and weight, empty where not wanted."""
    tensors = (output_gradient, lse_gradient, query, key, value, segments, weight)
    options = {"scale": scale, "combine": combine, "return_lse": return_lse}
    served_by = OPERATION.pick(backend, device=query.device, dtype=query.dtype)
    if served_by == "triton" and wanted == [True, False, False, False]:
        from raccord.kernels.regional_attention.gradient.triton import query_gradient

        found = query_gradient(*tensors, height=height, width=width, **options)
        return found, found.new_empty(0), found.new_empty(0), found.new_empty(0)
    return gradients(*tensors, **options, wanted=wanted)


def _differentiate_fake(
    output_gradient, lse_gradient, query, key, value, segments, weight, h, w, scale, combine, lse, backend, wanted
):
    inputs = zip((query, key, value, weight), wanted, strict=True)
    return tuple(x.new_empty(x.shape if want else (0,)) for x, want in inputs)


def _setup_context(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:5])
    ctx.options = inputs[7:13]


def _backward(ctx, output_gradient, lse_gradient):
    needed = ctx.needs_input_grad
    wanted = [needed[0], needed[1], needed[2], needed[4]]
    found = _DIFFERENTIATE(output_gradient, lse_gradient, *ctx.saved_tensors, *ctx.options, wanted)
    query, key, value, weight = (gradient if want else None for gradient, want in zip(found, wanted, strict=True))
    return query, key, value, None, weight, *[None] * 8


_TENSORS = "Tensor query, Tensor key, Tensor value, Tensor segments, Tensor weight"
_ATTEND = _library.define(
    f"regional_attention({_TENSORS}, Tensor? panels, Tensor? spans, SymInt height, SymInt width, float scale, "
    "str combine, bool return_lse, str? backend=None) -> (Tensor, Tensor)",
    _run,
    _run_fake,
)
_DIFFERENTIATE = _library.define(
    f"regional_attention_backward(Tensor output_gradient, Tensor lse_gradient, {_TENSORS}, SymInt height, "
    "SymInt width, float scale, str combine, bool return_lse, str? backend, bool[4] wanted) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    _differentiate,
    _differentiate_fake,
)
torch.library.register_autograd("raccord::regional_attention", _backward, setup_context=_setup_context)

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

from raccord.kernels._dispatch import Backend, Operation

__all__ = ["OPERATION", "regional_attention"]

OPERATION = Operation("regional_attention", {"reference": Backend("raccord.kernels.regional_attention.reference")})


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
    backend: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend from image positions to a pool of text tokens, region by region. Differentiable in `query`.

    Args:
        query: [B, N, H, D], N = height * width positions in row-major order; float16, bfloat16, float32 or float64.
        key: [T, H, D], the pool's keys, same dtype as `query`.
        value: [T, H, D], the pool's values, same dtype as `query`.
        segments: int32 [B, S, 2], (start, length) into the pool; length 0 = the segment is absent.
        weight: floating [B, S, N], >= 0 and finite; 0 = the position does not see the segment.
        height: rows of the attention grid.
        width: columns of the attention grid.
        scale: factor on q k^T, 1 / sqrt(D) by default.
        combine: "blend" (a weighted sum of one softmax per segment) or "joint" (one softmax, bias log w).
        return_lse: also return the log-sum-exp of the scaled scores of each segment (natural log, mean over heads), for
            every position whether it sees the segment or not; -inf for absent segments.
        backend: force a backend; None takes the first that can serve the call.

    Returns:
        output [B, N, H, D] in the query's dtype, or (output, lse float32 [B, S, N]) with `return_lse`. A position that
        sees nothing gives exactly 0.

    Raises:
        ValueError: shapes, dtypes or segments do not fit together, or no such backend.
        RuntimeError: the forced backend cannot serve the call.
    """
    _check(query, key, value, segments, weight, height=height, width=width, combine=combine)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    output, lse = OPERATION.choose(backend)(
        query, key, value, segments, weight, scale=scale, combine=combine, return_lse=return_lse
    )
    return output if lse is None else (output, lse.float())


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
    if segments.numel() and segments.device.type == "cpu":
        start, length = segments[..., 0], segments[..., 1]
        if bool((start < 0).any()) or bool((length < 0).any()) or bool((start + length > key.shape[0]).any()):
            raise ValueError(f"segments must lie inside the pool of T = {key.shape[0]} tokens, got {segments.tolist()}")

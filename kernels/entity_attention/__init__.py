"""Entity attention: self-attention in which entities do not mix, and each also sees its own memory.

Position p of entity owner[p] (0 = background) attends, in one softmax, to

    own-frame positions q with visible[owner[p], owner[q]]       bias 0
    the bank tokens of entity owner[p]                           bias log(bank_weight)

Isolation follows Bounded Attention (Dahary et al., arXiv 2403.16990), extension by memory keys ConsiStory (Tewel et
al., 2402.03286) and StoryDiffusion (Zhou et al., 2405.01434); here masks come from the plan and each entity has its own
memory.
"""

import torch
from torch import Tensor

from raccord.kernels import _library, _native
from raccord.kernels._dispatch import Backend, Operation, triton_reasons, triton_refuses
from raccord.kernels.entity_attention import routes

__all__ = ["OPERATION", "entity_attention"]

_CPU_DTYPES = (torch.float32, torch.bfloat16)


_CUDA_DTYPES = (torch.float16, torch.bfloat16)


def _cpu_accepts(*, device: torch.device, dtype: torch.dtype, gradient: bool, head_width: int) -> list[str]:
    reasons = [] if device.type == "cpu" else [f"it computes on the CPU and the query is on {device}"]
    if dtype not in _CPU_DTYPES:
        reasons.append(f"it takes float32 and bfloat16, and the query is {dtype}")
    return reasons + _no_gradient(gradient)


def _triton_accepts(*, device: torch.device, dtype: torch.dtype, gradient: bool, head_width: int) -> list[str]:
    return triton_refuses(device, dtype) + _no_gradient(gradient)


def _sdpa_accepts(*, device: torch.device, dtype: torch.dtype, gradient: bool, head_width: int) -> list[str]:
    reasons = _no_gradient(gradient)
    if device.type not in ("cpu", "cuda"):
        return [*reasons, f"PyTorch's attention gives the log-sum-exp on the CPU and on CUDA, the query is on {device}"]
    dtypes = _CPU_DTYPES if device.type == "cpu" else _CUDA_DTYPES
    if dtype not in dtypes:
        reasons.append(f"it takes {' and '.join(map(str, dtypes))} on {device.type}, and the query is {dtype}")
    if device.type == "cuda" and (head_width % 8 or head_width > 256):
        reasons.append(f"PyTorch's attention takes heads of a multiple of 8 up to 256 wide on CUDA, not {head_width}")
    return reasons


def _no_gradient(gradient: bool) -> list[str]:
    return ["it has no derivative: call it under torch.no_grad()"] if gradient else []


OPERATION = Operation(
    "entity_attention",
    {
        "cpu": Backend("raccord.kernels.entity_attention.native", lambda: list(_native.reasons()), _cpu_accepts),
        "reference": Backend("raccord.kernels.entity_attention.reference"),
        # Behind the reference, so only where they are forced or `routes` names them: not faster than the C++ kernel on
        # any CPU measured, and not run on a GPU yet.
        "sdpa": Backend("raccord.kernels.entity_attention.sdpa", accepts=_sdpa_accepts),
        "triton": Backend("raccord.kernels.entity_attention.triton", triton_reasons, _triton_accepts),
    },
)


def entity_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    owner: Tensor,
    visible: Tensor,
    *,
    bank_key: Tensor,
    bank_value: Tensor,
    bank_segments: Tensor,
    bank_weight: float = 1.0,
    height: int,
    width: int,
    scale: float | None = None,
    backend: str | None = None,
) -> Tensor:
    """Self-attention under an owner map, extended by a per-entity bank. Differentiable.

    Args:
        query: [B, N, H, D], N = height * width positions in row-major order; float16, bfloat16, float32 or float64.
        key: [B, N, H, D], same dtype.
        value: [B, N, H, D], same dtype.
        owner: uint8 [B, N], 0 = background, 1..E = entity.
        visible: bool [B, E + 1, E + 1], visible[b, a, c] = positions of a see own-frame positions of c.
        bank_key: [M, H, D], same dtype, the memory keys of all entities; M may be 0.
        bank_value: [M, H, D], same dtype.
        bank_segments: int32 [B, E, 2], (start, length) into the bank for entity 1..E; length 0 = no memory.
        bank_weight: factor >= 0 on the memory keys' exponentials (bias log bank_weight); 0 = memory unseen.
        height: rows of the attention grid.
        width: columns of the attention grid.
        scale: factor on q k^T, 1 / sqrt(D) by default.
        backend: force a backend; None takes the first that can serve the call.

    Returns:
        [B, N, H, D] in the query's dtype. A position that sees nothing gives exactly 0.

    Raises:
        ValueError: shapes, dtypes, owners or segments do not fit together, or no such backend.
        RuntimeError: the forced backend cannot serve the call.
    """
    _check(query, key, value, owner, visible, bank_key, bank_value, bank_segments, bank_weight, height, width)
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    tensors = (query, key, value, owner, visible, bank_key, bank_value, bank_segments)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        # plain torch, which every tracer and autograd can follow
        return _run(*tensors, bank_weight, factor, backend, gradient=True)
    return _ATTEND(*tensors, bank_weight, factor, backend)


def _run(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    owner: Tensor,
    visible: Tensor,
    bank_key: Tensor,
    bank_value: Tensor,
    bank_segments: Tensor,
    bank_weight: float,
    scale: float,
    backend: str | None = None,
    *,
    gradient: bool = False,
) -> Tensor:
    if query.device.type == "cpu":
        _check_values(owner, visible.shape[-1], bank_segments, bank_key.shape[0])
    device, dtype, head_width = query.device, query.dtype, query.shape[3]
    first = routes.fastest(device, head_width, query.shape[1], dtype)
    implementation = OPERATION.choose(
        backend, first=first, device=device, dtype=dtype, gradient=gradient, head_width=head_width
    )
    operands = (query, key, value, owner, visible, bank_key, bank_value, bank_segments)
    return implementation(*operands, bank_weight=bank_weight, scale=scale).contiguous()


_ATTEND = _library.define(
    "entity_attention(Tensor query, Tensor key, Tensor value, Tensor owner, Tensor visible, Tensor bank_key, "
    "Tensor bank_value, Tensor bank_segments, float bank_weight, float scale, str? backend=None) -> Tensor",
    _run,
    lambda query, *_: torch.empty_like(query, memory_format=torch.contiguous_format),
)


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    owner: Tensor,
    visible: Tensor,
    bank_key: Tensor,
    bank_value: Tensor,
    bank_segments: Tensor,
    bank_weight: float,
    height: int,
    width: int,
) -> None:
    if query.ndim != 4 or not query.is_floating_point() or key.shape != query.shape or value.shape != query.shape:
        raise ValueError(
            "query, key and value must be floating point and all [B, N, H, D], got "
            f"{query.dtype} {list(query.shape)}, {list(key.shape)}, {list(value.shape)}"
        )
    rows, positions, heads, head_width = query.shape
    if positions != height * width:
        raise ValueError(f"query has N = {positions} positions but height * width = {height} * {width}")
    if bank_key.shape != bank_value.shape or bank_key.ndim != 3 or bank_key.shape[1:] != (heads, head_width):
        raise ValueError(
            f"bank_key and bank_value must both be [M, H={heads}, D={head_width}], "
            f"got {list(bank_key.shape)} and {list(bank_value.shape)}"
        )
    if len({query.dtype, key.dtype, value.dtype, bank_key.dtype, bank_value.dtype}) != 1:
        raise ValueError(
            "query, key, value, bank_key and bank_value must share a dtype, got "
            f"{query.dtype}, {key.dtype}, {value.dtype}, {bank_key.dtype}, {bank_value.dtype}"
        )
    if owner.dtype != torch.uint8 or owner.shape != (rows, positions):
        raise ValueError(f"owner must be uint8 [B={rows}, N={positions}], got {owner.dtype} {list(owner.shape)}")
    kinds = visible.shape[-1]
    if visible.dtype != torch.bool or visible.shape != (rows, kinds, kinds) or kinds < 1:
        raise ValueError(f"visible must be bool [B={rows}, E+1, E+1], got {visible.dtype} {list(visible.shape)}")
    if bank_segments.dtype != torch.int32 or bank_segments.shape != (rows, kinds - 1, 2):
        raise ValueError(
            f"bank_segments must be int32 [B={rows}, E={kinds - 1}, 2], "
            f"got {bank_segments.dtype} {list(bank_segments.shape)}"
        )
    if not 0 <= bank_weight < float("inf"):
        raise ValueError(f"bank_weight must be finite and >= 0, got {bank_weight}")


def _check_values(owner: Tensor, kinds: int, bank_segments: Tensor, tokens: int) -> None:
    if owner.numel() and int(owner.max()) >= kinds:
        raise ValueError(f"owner names entity {int(owner.max())} but visible knows only 0..{kinds - 1}")
    if any(
        start < 0 or length < 0 or start + length > tokens for row in bank_segments.tolist() for start, length in row
    ):
        raise ValueError(f"bank_segments must lie in the bank of M = {tokens} tokens, got {bank_segments.tolist()}")

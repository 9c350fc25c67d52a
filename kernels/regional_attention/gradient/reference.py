"""Gradients of regional attention by torch's autograd over the reference: the specification of the others."""

import torch
from torch import Tensor

from raccord.kernels.regional_attention import reference


def gradients(
    output_gradient: Tensor,
    lse_gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    *,
    scale: float,
    combine: str,
    return_lse: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients in query, key, value and weight, empty where not wanted; scores are computed again."""
    inputs = [x.detach().requires_grad_(want) for x, want in zip((query, key, value, weight), wanted, strict=True)]
    with torch.enable_grad():
        outputs = reference.regional_attention(
            inputs[0],
            inputs[1],
            inputs[2],
            segments,
            inputs[3],
            height=1,
            width=query.shape[1],
            scale=scale,
            combine=combine,
            return_lse=return_lse,
        )
    given = [output_gradient, lse_gradient]
    used = [(x, g.to(x.dtype)) for x, g in zip(outputs, given, strict=True) if x is not None and x.requires_grad]
    leaves = [x for x in inputs if x.requires_grad]
    found: list[Tensor | None] = [None] * len(leaves)
    if used and leaves:
        found = list(torch.autograd.grad([x for x, _ in used], leaves, [g for _, g in used], allow_unused=True))
    each = iter(found)
    return tuple(  # pyright: ignore[reportReturnType]
        x.new_empty(0) if not x.requires_grad else torch.zeros_like(x) if (g := next(each)) is None else g
        for x in inputs
    )

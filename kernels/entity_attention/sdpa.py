"""Entity attention by PyTorch's own fused attention, without a mask: each owner's queries meet what they see of their
own frame, gathered, and the bank's stretch as it lies; the two results are joined by their log-sum-exps.

It looks at owners and segments on the host, so a CUDA graph cannot hold it. Bits of a position can depend on how many
others its owner has, for PyTorch's blocks do.
"""

import math

import torch
from torch import Tensor


def entity_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    owner: Tensor,
    visible: Tensor,
    bank_key: Tensor,
    bank_value: Tensor,
    bank_segments: Tensor,
    *,
    bank_weight: float,
    scale: float,
) -> Tensor:
    """As `reference.entity_attention`, in the dtype's own products, without its gradient."""
    out = torch.zeros_like(query, memory_format=torch.contiguous_format)
    for row, spans in enumerate(bank_segments.tolist()):
        who = owner[row].long()
        for kind in who.unique().tolist():
            mine, seen = (who == kind).nonzero()[:, 0], visible[row, kind][who].nonzero()[:, 0]
            queries = query[row].index_select(0, mine)
            parts = []
            # PyTorch's kernels must not be called without keys: on the CPU they divide by their number
            if len(seen) > 0:
                keys, values = key[row], value[row]
                if len(seen) < len(who):
                    keys, values = keys.index_select(0, seen), values.index_select(0, seen)
                parts.append(_attend(queries, keys, values, scale))
            start, length = spans[kind - 1] if kind > 0 else (0, 0)
            if length > 0 and bank_weight > 0:
                stretch = slice(start, start + length)
                memory, lse = _attend(queries, bank_key[stretch], bank_value[stretch], scale)
                parts.append((memory, lse + math.log(bank_weight)))
            if parts:
                out[row].index_copy_(0, mine, _joined(parts).to(query.dtype))
    return out


def _attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """[N, H, D] and the log-sum-exp of the scores, float32 [N, H, 1]; N and the keys' number at least 1."""
    heads_first = [x.transpose(0, 1)[None] for x in (query, key, value)]
    aten = torch.ops.aten
    fused = (
        aten._scaled_dot_product_flash_attention if query.is_cuda else aten._scaled_dot_product_flash_attention_for_cpu
    )
    output, lse, *_ = fused(*heads_first, scale=scale)
    return output[0].transpose(0, 1), lse[0].transpose(0, 1)[..., None]


def _joined(parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """One softmax over the keys of all (one or two) parts."""
    if len(parts) == 1:
        return parts[0][0]
    (frame, frame_lse), (memory, memory_lse) = parts
    return (frame_lse - memory_lse).sigmoid() * frame + (memory_lse - frame_lse).sigmoid() * memory

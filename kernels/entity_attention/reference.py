"""Entity attention in plain PyTorch: the specification that every other backend is tested against."""

import math

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


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
    """One dense bias per row; arithmetic in float32, or float64 when the query is float64."""
    compute = torch.float64 if query.dtype == torch.float64 else torch.float32
    log_bank_weight = math.log(bank_weight) if bank_weight > 0 else -math.inf
    outputs = []
    for row, spans in enumerate(bank_segments.tolist()):
        who = owner[row].long()
        allowed = [visible[row][who][:, who]]
        keys, values = [key[row]], [value[row]]
        for entity, (start, length) in enumerate(spans, start=1):
            if length > 0 and bank_weight > 0:
                keys.append(bank_key[start : start + length])
                values.append(bank_value[start : start + length])
                allowed.append((who == entity)[:, None].expand(-1, length))
        seen = torch.cat(allowed, 1)
        bias = torch.where(seen, 0.0, -torch.inf).to(compute)
        bias[:, who.shape[0] :] += log_bank_weight
        sees = seen.any(1)[:, None]
        q, k, v = (x.to(compute).transpose(0, 1)[None] for x in (query[row], torch.cat(keys), torch.cat(values)))
        out = scaled_dot_product_attention(q, k, v, attn_mask=torch.where(sees, bias, 0.0), scale=scale)[0]
        outputs.append(torch.where(sees[None], out, 0.0).transpose(0, 1).to(query.dtype))
    return torch.stack(outputs) if outputs else torch.empty_like(query)

"""Regional cross-attention in plain PyTorch: the specification that every other backend is tested against."""

import torch
from torch import Tensor


def regional_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Tensor,
    weight: Tensor,
    *,
    height: int,
    width: int,
    scale: float,
    combine: str,
    return_lse: bool,
    packed: object = None,
) -> tuple[Tensor, Tensor | None]:
    """One loop over rows, one over segments; arithmetic in float32, or float64 when the query is float64.

    How positions are arranged, and `packed`, are for other backends.
    """
    positions = query.shape[1]
    compute = torch.float64 if query.dtype == torch.float64 else torch.float32
    spans = segments.tolist()
    absent = query.new_full((positions,), -torch.inf, dtype=compute)
    outputs, lses = [], []
    for row, row_spans in enumerate(spans):
        q = query[row].to(compute).transpose(0, 1)
        w = weight[row].to(compute)
        visible = [s for s, (_, length) in enumerate(row_spans) if length > 0 and bool((w[s] > 0).any())]
        wanted = [s for s, (_, length) in enumerate(row_spans) if length > 0] if return_lse else visible
        scores = {}
        for s in wanted:
            start, length = row_spans[s]
            scores[s] = scale * (q @ key[start : start + length].to(compute).permute(1, 2, 0))
        if return_lse:
            lses.append(
                torch.stack([scores[s].logsumexp(-1).mean(0) if s in scores else absent for s in range(len(row_spans))])
            )
        values = {s: value[row_spans[s][0] : sum(row_spans[s])].to(compute).transpose(0, 1) for s in visible}
        if combine == "blend":
            out = _blend({s: scores[s] for s in visible}, values, w, like=q)
        else:
            out = _joint({s: scores[s] for s in visible}, values, w, like=q)
        outputs.append(out.transpose(0, 1).to(query.dtype))
    return torch.stack(outputs), torch.stack(lses) if return_lse else None


def _blend(scores: dict[int, Tensor], values: dict[int, Tensor], weight: Tensor, *, like: Tensor) -> Tensor:
    """sum_s w_s softmax_s(q K_s) V_s / sum_s w_s over the visible segments; 0 where all weights are 0."""
    if len(scores) == 1:
        (s,) = scores
        return torch.where((weight[s] > 0)[None, :, None], scores[s].softmax(-1) @ values[s], 0.0)
    total = torch.zeros_like(like)
    for s, score in scores.items():
        total = total + weight[s][None, :, None] * (score.softmax(-1) @ values[s])
    norm = weight[list(scores)].sum(0)[None, :, None]
    return torch.where(norm > 0, total / torch.where(norm > 0, norm, 1.0), 0.0)


def _joint(scores: dict[int, Tensor], values: dict[int, Tensor], weight: Tensor, *, like: Tensor) -> Tensor:
    """One softmax over the tokens of all visible segments with bias log w_s(p); 0 where all weights are 0."""
    if not scores:
        return torch.zeros_like(like)
    biased = torch.cat([score + weight[s].log()[None, :, None] for s, score in scores.items()], -1)
    seen = (weight[list(scores)] > 0).any(0)[None, :, None]
    probability = torch.where(seen, biased, 0.0).softmax(-1)
    return torch.where(seen, probability @ torch.cat([values[s] for s in scores], 1), 0.0)

"""Other ways to share what frames look like, as arithmetic: rivals of entity attention with another meaning.

Both see less or more than raccord does, so their results are not compared; what they cost is. The choice of tokens is
drawn beforehand, which they do once a step for all layers.
"""

from collections.abc import Callable
from typing import Any


def story_diffusion(query: Any, key: Any, value: Any) -> Callable[[], Any]:
    """Zhou et al., arXiv 2405.01434: a frame sees all of itself and a random half of every other frame.

    As one attention over the positions of all frames under a dense mask. query, key, value: [F, N, H, D].
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    frames, count = query.shape[:2]
    drawn = (
        torch.rand((frames, frames, count), generator=torch.Generator(query.device).manual_seed(1), device=query.device)
        < 0.5
    )
    drawn |= torch.eye(frames, dtype=torch.bool, device=query.device)[:, :, None]
    mask = torch.where(drawn.flatten(1), 0.0, -torch.inf).to(query.dtype).repeat_interleave(count, 0)
    q, k, v = (x.flatten(0, 1).transpose(0, 1)[None].contiguous() for x in (query, key, value))
    return lambda: sdpa(q, k, v, attn_mask=mask)[0].transpose(0, 1).unflatten(0, (frames, count))


def consistory(query: Any, key: Any, value: Any, owner: Any) -> Callable[[], Any]:
    """Tewel et al., arXiv 2402.03286, section 4.1: a frame sees itself and half of the subjects of two anchor frames.

    All subjects are one mask; the tokens are gathered, and no mask is left. query, key, value: [F, N, H, D]; owner:
    uint8 [F, N], 0 = no subject.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    frames = query.shape[0]
    kept = (owner > 0) & (
        torch.rand(owner.shape, generator=torch.Generator(owner.device).manual_seed(2), device=owner.device) < 0.5
    )
    subjects = [kept[g].nonzero()[:, 0] for g in range(min(2, frames))]

    def call() -> torch.Tensor:
        out = []
        for f in range(frames):
            seen = [
                (x[f], *(x[g].index_select(0, at) for g, at in enumerate(subjects) if g != f)) for x in (key, value)
            ]
            q, k, v = (x.transpose(0, 1)[None] for x in (query[f], *(torch.cat(parts) for parts in seen)))
            out.append(sdpa(q, k, v)[0].transpose(0, 1))
        return torch.stack(out)

    return call


def flex(query: Any, key: Any, value: Any, owner: Any, visible: Any) -> tuple[Callable[[], Any], float]:
    """What raccord computes, by FlexAttention over all frames' positions, sorted by frame and owner; (call, seconds).

    Sorting, which makes most blocks of one kind, is in the call. visible: bool [E + 1, E + 1].
    """
    import torch
    from flex import compiled

    frames, count = query.shape[:2]
    order = (
        (owner.long() + 256 * torch.arange(frames, device=owner.device)[:, None]).flatten().sort(stable=True).indices
    )
    back = order.argsort()
    who, frame = owner.flatten()[order].long(), order // count

    def mask_mod(b, h, q, k):
        same = frame[q] == frame[k]
        return (same & visible[who[q], who[k]]) | (~same & (who[q] == who[k]) & (who[q] > 0))

    def sorted_(x: Any) -> torch.Tensor:
        return x.flatten(0, 1).index_select(0, order).transpose(0, 1)[None]

    run, seconds = compiled(*map(sorted_, (query, key, value)), score_mod=None, mask_mod=mask_mod)

    def call() -> torch.Tensor:
        found = run(*map(sorted_, (query, key, value)))
        return found[0].transpose(0, 1).index_select(0, back).unflatten(0, (frames, count))

    return call, seconds

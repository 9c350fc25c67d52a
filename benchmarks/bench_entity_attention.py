"""Entity attention beside what shares entities between frames today, one thread on the CPU.

    PYTHONSAFEPATH=1 .venv/bin/python benchmarks/bench_entity_attention.py [--quick]

F frames; two entities own 15 % of a frame each, in boxes. A position sees its own frame, entities do not see each
other, and an entity sees itself in the other frames. Rivals that compute just that, each checked against the float64
reference first:

- SDPA dense mask: one call over the positions of all frames with a mask [F N, F N] made beforehand, on views of what
  the projections give, as attention processors call it;
- SDPA dense mask, heads first: the same on copies [1, H, F N, D] made beforehand, which is faster and no pipeline has;
- SDPA row mask: one call a frame over its own positions and the memory, with a mask made beforehand;
- SDPA gather: for every owner in every frame, its queries and what they see are gathered and attended without a mask;
- FlexAttention (one layer, for its compilation takes long): the same mask by blocks, positions sorted by owner.

And with another meaning, so only timed:

- own frame only: SDPA without mask or sharing, which is less work: what the UNet costs without raccord;
- StoryDiffusion's and ConsiStory's sharing (benchmarks/sharing.py).

Ours includes gathering the memory (keys and values of the other frames' entities) on every call. Writes
benchmarks/results/entity_attention.json.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# name -> side of the attention grid, heads, head width; one head stands for all where they would take minutes
LAYERS = {"16x16 H8 D160": (16, 8, 160), "32x32 H8 D80": (32, 8, 80), "64x64 H1 D40": (64, 1, 40)}
FRAMES = (1, 4)
SHARE = 0.15
FLEX = ("32x32 H8 D80", 4)
OTHERS = ("own frame only", "StoryDiffusion's sharing", "ConsiStory's sharing")
# left edge of each entity's box in every frame, as shares of the side; the boxes wander
PLACES = ((0.0, 0.5), (0.1, 0.6), (0.05, 0.45), (0.0, 0.55))


def owners(frames: int, side: int) -> Any:
    """uint8 [F, N]: two boxes of SHARE of the frame each."""
    import torch

    owner = torch.zeros((frames, side, side), dtype=torch.uint8)
    wide = round(side * 0.36)
    high = round(side * side * SHARE / wide)
    for frame in range(frames):
        for entity, place in enumerate(PLACES[frame % len(PLACES)], start=1):
            left, top = round(place * side), (frame * 3 + entity) % (side - high)
            owner[frame, top : top + high, left : left + wide] = entity
    return owner.flatten(1)


def rivals(
    frames: int, side: int, heads: int, width: int, dtype: Any, *, flex: bool = False, backend: str | None = None
) -> tuple[dict[str, Any], Any, dict[str, float]]:
    """name -> call that gives [F, N, H, D]; the exact result in float64; name -> seconds of compilation.

    On torch's default device. `backend` is raccord's.
    """
    import sharing
    import torch
    from torch.nn.functional import scaled_dot_product_attention as sdpa

    from raccord.kernels.entity_attention import OPERATION, entity_attention

    generator = torch.Generator(torch.get_default_device()).manual_seed(0)
    count = side * side
    query, key, value = torch.randn((3, frames, count, heads, width), generator=generator).to(dtype).unbind(0)
    owner = owners(frames, side)
    visible = torch.eye(3, dtype=torch.bool)
    visible[0, :] = visible[:, 0] = True
    visible = visible.expand(frames, 3, 3).contiguous()
    # the memory of (frame, entity): its positions in the other frames
    listed = [
        [[(g, (owner[g] == e).nonzero()[:, 0]) for g in range(frames) if g != f] for e in (1, 2)] for f in range(frames)
    ]
    # raccord's bank: an entity's positions of frames 1 .. F - 1, 0 .. F - 2, of which each frame's memory is a stretch
    flat, segments, start = [], torch.zeros((frames, 2, 2), dtype=torch.int32), 0
    for entity in (1, 2):
        ring = [(k + 1) % frames for k in range(2 * frames - 2)]
        parts = [g * count + (owner[g] == entity).nonzero()[:, 0] for g in ring]
        ends = [start, *(start + sum(len(part) for part in parts[: k + 1]) for k in range(len(parts)))]
        for f in range(frames):
            segments[f, entity - 1] = torch.tensor([ends[f], ends[f + frames - 1] - ends[f]])
        flat, start = flat + parts, ends[-1]
    picked = torch.cat(flat) if flat else torch.zeros(0, dtype=torch.int64)
    grid = {"bank_segments": segments, "height": side, "width": side}

    def ours(backend: str | None = backend, wide: Any = None) -> torch.Tensor:
        q, k, v = (query, key, value) if wide is None else (query.to(wide), key.to(wide), value.to(wide))
        bank_key, bank_value = (x.flatten(0, 1).index_select(0, picked) for x in (k, v))
        return entity_attention(
            q, k, v, owner, visible, bank_key=bank_key, bank_value=bank_value, **grid, backend=backend
        )

    own = visible[0][owner.long()[:, :, None], owner.long()[:, None, :]]
    same = (owner.flatten()[:, None] == owner.flatten()[None]) & (owner.flatten() > 0)[:, None]
    dense = torch.where(torch.block_diag(*own) | same, 0.0, -torch.inf).to(dtype)
    of_frame = torch.block_diag(*[torch.ones(count, count, dtype=torch.bool) for _ in range(frames)])
    dense[of_frame & ~torch.block_diag(*own)] = -torch.inf
    views = [x.flatten(0, 1).transpose(0, 1)[None] for x in (query, key, value)]
    copies = [x.contiguous() for x in views]

    def dense_mask(tensors: list[torch.Tensor]) -> torch.Tensor:
        return sdpa(*tensors, attn_mask=dense)[0].transpose(0, 1).unflatten(0, (frames, count))

    by_row = []
    for f in range(frames):
        columns = torch.cat([where for entity in listed[f] for where in [g * count + w for g, w in entity]] or [picked])
        memory = owner[f][:, None] == owner.flatten()[columns][None]
        by_row.append((columns, torch.where(torch.cat([own[f], memory], 1), 0.0, -torch.inf).to(dtype)))

    def row_mask() -> torch.Tensor:
        out = []
        for f, (columns, mask) in enumerate(by_row):
            k, v = (torch.cat([x[f], x.flatten(0, 1).index_select(0, columns)]) for x in (key, value))
            q, k, v = (x.transpose(0, 1)[None] for x in (query[f], k, v))
            out.append(sdpa(q, k, v, attn_mask=mask)[0].transpose(0, 1))
        return torch.stack(out)

    groups = []
    for f in range(frames):
        for e in range(3):
            where = f * count + (owner[f] == e).nonzero()[:, 0]
            seen = f * count + own[f][where[0] - f * count].nonzero()[:, 0]
            others = [g * count + w for g, w in listed[f][e - 1]] if e else []
            groups.append((where, torch.cat([seen, *others])))

    def gather() -> torch.Tensor:
        q, k, v = (x.flatten(0, 1) for x in (query, key, value))
        out = torch.empty_like(q)
        for where, seen in groups:
            some = (q.index_select(0, where), k.index_select(0, seen), v.index_select(0, seen))
            a, b, c = (x.transpose(0, 1)[None] for x in some)
            out[where] = sdpa(a, b, c)[0].transpose(0, 1)
        return out.unflatten(0, (frames, count))

    def own_frame() -> torch.Tensor:
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        return sdpa(q, k, v)

    calls = {
        "SDPA dense mask": lambda: dense_mask(views),
        "SDPA dense mask, heads first": lambda: dense_mask(copies),
        "SDPA row mask": row_mask,
        "SDPA gather": gather,
        "own frame only": own_frame,
        "raccord": ours,
    }
    if frames > 1:
        calls["StoryDiffusion's sharing"] = sharing.story_diffusion(query, key, value)
        calls["ConsiStory's sharing"] = sharing.consistory(query, key, value, owner)
    device = torch.get_default_device()
    if not OPERATION.backends["sdpa"].reasons(device=device, dtype=dtype, gradient=False, head_width=width):
        calls["raccord, through SDPA"] = lambda: ours("sdpa")
    compilation = {}
    if flex:
        calls["FlexAttention"], compilation["FlexAttention"] = sharing.flex(query, key, value, owner, visible[0])
    return calls, ours(backend="reference", wide=torch.float64), compilation


def main() -> None:
    """Time all rivals on every layer."""
    import torch
    from side_by_side import compare, machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds instead of five")
    rounds = 3 if parser.parse_args().quick else 5
    torch.set_num_threads(1)
    rows = []
    with torch.no_grad():
        for name, (side, heads, width) in LAYERS.items():
            for frames in FRAMES:
                for dtype in (torch.float32, torch.bfloat16):
                    wanted = (name, frames) == FLEX
                    calls, exact, compilation = rivals(frames, side, heads, width, dtype, flex=wanted)
                    for who, call in calls.items():
                        if who not in OTHERS:
                            error = (call().double() - exact).norm() / exact.norm()
                            assert error < (1e-5 if dtype == torch.float32 else 1e-2), (who, float(error))
                    found = compare(calls, ours="raccord", rounds=rounds)
                    for who, seconds in compilation.items():
                        found[who]["compile_s"] = seconds
                    kind = str(dtype).removeprefix("torch.")
                    rows.append({"layer": name, "frames": frames, "dtype": kind, "who": found})
                    speeds = {who: f"{one['speedup']:.2f}" for who, one in found.items() if "speedup" in one}
                    # after every row: a run that is cut short has said something
                    result = {"machine": machine(), "share": 2 * SHARE, "rows": rows}
                    (HERE / "results" / "entity_attention.json").write_text(json.dumps(result, indent=1) + "\n")
                    print(name, frames, kind, round(found["raccord"]["median_us"]), speeds, flush=True)


if __name__ == "__main__":
    main()

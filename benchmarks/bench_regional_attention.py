"""Regional attention beside what people run today, one thread, text keys and values computed (and packed) beforehand.

    PYTHONSAFEPATH=1 .venv/bin/python benchmarks/bench_regional_attention.py [--quick]

A call is one cross-attention layer of one guided frame: the unconditional row hears the negative prompt, the
conditional row the frame prompt, the background and R items, with the weights the sampler gives them. R = 0 is a frame
without regions: two rows of 77 keys. Every rival's result is compared with ours first. Writes
benchmarks/results/regional_attention.json.

"projecting texts" is what those methods do in every step: keys and values come from the texts' states by two matrix
products a region, where raccord keeps them for the story. FlexAttention takes part in one case a dtype, for its
compilation takes long; xformers' kernels need a GPU.
"""

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# model -> (side of the grid, heads H, width D)
LAYERS = {
    "SD1.5 64x64": (64, 8, 40),
    "SD1.5 32x32": (32, 8, 80),
    "SD1.5 16x16": (16, 8, 160),
    "SD1.5 8x8": (8, 8, 160),
    "SD2.1 48x48": (48, 10, 64),
    "SDXL 64x64": (64, 10, 64),
    "SDXL 32x32": (32, 20, 64),
}
# width of a text's states
STATES = {"SD1.5": 768, "SD2.1": 1024, "SDXL": 2048}
FLEX = ("SDXL 32x32", 4, "boxes")
TYPICAL = ("SD1.5 64x64", "SDXL 32x32")
TOKENS = 77
LAYOUTS = ("boxes", "strips", "overlap")


def boxes(layout: str, count: int) -> list[list[float]]:
    """Boxes of `count` items in 0..1: scattered as in a story, side by side, or all the whole frame."""
    if layout == "overlap":
        return [[0.0, 0.0, 1.0, 1.0]] * count
    if layout == "strips":
        return [[i / count, 0.0, (i + 1) / count, 1.0] for i in range(count)]
    draws = random.Random(count)  # noqa: S311
    found = []
    for _ in range(count):
        width, height = draws.uniform(0.2, 0.45), draws.uniform(0.3, 0.6)
        left, top = draws.uniform(0.0, 1.0 - width), draws.uniform(0.0, 1.0 - height)
        found.append([left, top, left + width, top + height])
    return found


def weights(layout: str, count: int, side: int) -> Any:
    """float32 [2, S, N]: the rows of the unconditional and the conditional branch."""
    import torch

    from raccord import Entity, Frame, Item, Plan
    from raccord.sampler.conditioning import frame_conditioning

    if count == 0:
        return torch.ones((2, 1, side * side))
    items = [Item(entity=f"e{i}", box=box, action="there", z=i) for i, box in enumerate(boxes(layout, count))]
    plan = Plan(
        size=[8 * 64, 8 * 64],
        entities=[Entity(id=f"e{i}", card="card") for i in range(count)],
        frames=[Frame(id="f", prompt="all", background="nobody", items=items)],
    )
    conditional = frame_conditioning(plan, plan.frames[0], latent_width=64, beta=0.1).weights(True, side, side)
    unconditional = torch.zeros_like(conditional)
    unconditional[0] = 1.0
    return torch.stack([unconditional, conditional])


class Case:
    """The operands of one call and every rival's way to compute it."""

    def __init__(
        self, side: int, heads: int, width: int, states: int, layout: str, count: int, dtype: Any, *, frames: int = 1
    ) -> None:
        """On torch's default device. Rows are the unconditional ones of all frames, which are laid out alike, then the
        conditional ones."""
        import torch

        from raccord.kernels.regional_attention import pack

        device = torch.get_default_device()
        generator = torch.Generator(device).manual_seed(0)
        self.side, self.count, self.frames = side, count, frames
        with torch.device("cpu"):
            self.weight = weights(layout, count, side).repeat_interleave(frames, 0)
        self.weight = self.weight.to(device)
        voices = self.weight.shape[1]
        pool = (TOKENS * (voices + 1), heads, width)
        query = torch.randn((2 * frames, side * side, heads, width), generator=generator)
        # the texts' states, and what projects them to keys and values
        self.states = torch.randn((pool[0], states), generator=generator).to(dtype)
        projections = torch.randn((2, heads * width, states), generator=generator) / states**0.5
        self.to_key, self.to_value = projections.to(dtype).unbind(0)
        self.query = query.to(dtype)
        self.key, self.value = ((self.states @ w.T).view(pool) for w in (self.to_key, self.to_value))
        self.segments = torch.zeros((2 * frames, voices, 2), dtype=torch.int32)
        self.segments[:frames, 0, 1] = TOKENS
        for s in range(voices):
            self.segments[frames:, s] = torch.tensor([TOKENS * (s + 1), TOKENS], dtype=torch.int32)
        self.packed = pack(self.key, self.value, self.segments) if device.type == "cpu" else None
        # what the rivals prepare: heads first, and a mask over the longest row's keys
        self.heads_first = self.query.transpose(1, 2)
        self.unconditional, self.conditional = self.heads_first[:frames], self.heads_first[frames:]
        own = self.weight[-1]
        texts = [
            (
                self.key[TOKENS * i : TOKENS * (i + 1)].transpose(0, 1).contiguous(),
                self.value[TOKENS * i : TOKENS * (i + 1)].transpose(0, 1).contiguous(),
            )
            for i in range(voices + 1)
        ]
        self.negative, self.texts = texts[0], texts[1:]
        joined = [torch.cat([text[part] for text in self.texts], 1) for part in (0, 1)]
        self.all_keys, self.all_values = (x[None] for x in joined)
        self.mask = own.log().repeat_interleave(TOKENS, 0).T[None, None].to(dtype).contiguous()
        padding = [torch.zeros_like(x) for x in joined]
        for empty, negative in zip(padding, self.negative, strict=True):
            empty[:, :TOKENS] = negative
        self.both_keys, self.both_values = (
            torch.stack([p, x]).repeat_interleave(frames, 0) for p, x in zip(padding, joined, strict=True)
        )
        first = torch.full_like(self.mask, -torch.inf)
        first[..., :TOKENS] = 0.0
        self.both_masks = torch.cat([first, self.mask]).repeat_interleave(frames, 0)
        self.seen = [voice.nonzero()[:, 0] for voice in own]
        self.seen_weight = [voice[seen][:, None].to(dtype) for voice, seen in zip(own, self.seen, strict=True)]
        self.shares = own[:, :, None].to(dtype)

    def visible(self) -> float:
        """Segments a position sees, on average over both rows."""
        return float((self.weight > 0).sum()) / (len(self.weight) * self.side**2)

    def raccord(self, **options: Any) -> Any:
        from raccord.kernels.regional_attention import regional_attention

        operands = (self.query, self.key, self.value, self.segments, self.weight)
        return regional_attention(*operands, height=self.side, width=self.side, packed=self.packed, **options)

    def dense_mask(self) -> Any:
        return attention(self.heads_first, self.both_keys, self.both_values, self.both_masks)

    def dense_mask_apart(self) -> Any:
        import torch

        row = attention(self.conditional, self.all_keys, self.all_values, self.mask)
        return torch.cat([self._unconditional(), row])

    def gather(self) -> Any:
        """Each text only for the positions that see it, without a mask, added up where they came from."""
        import torch

        out = torch.zeros_like(self.conditional)
        for (key, value), seen, weight in zip(self.texts, self.seen, self.seen_weight, strict=True):
            if len(seen):
                out.index_add_(2, seen, weight * attention(self.conditional[:, :, seen], key[None], value[None]))
        return torch.cat([self._unconditional(), out])

    def region_loop(self) -> Any:
        """IP-Adapter's arithmetic: each text for all positions, times its mask, added up."""

        return self._region_loop([self.negative, *self.texts])

    def region_loop_projecting(self) -> Any:
        """The same, each text projected first, as IP-Adapter's processor does in every call."""
        return self._region_loop([self._project(self.states[i : i + TOKENS]) for i in self._starts()])

    def _region_loop(self, texts: list[Any]) -> Any:
        import torch

        out = torch.zeros_like(self.conditional)
        for (key, value), share in zip(texts[1:], self.shares, strict=True):
            out = out + attention(self.conditional, key[None], value[None]) * share
        first = attention(self.unconditional, texts[0][0][None], texts[0][1][None])
        return torch.cat([first, out])

    def _starts(self) -> range:
        return range(0, len(self.states), TOKENS)

    def _project(self, states: Any) -> tuple[Any, Any]:
        """Keys and values of states [..., T, C], heads first."""
        heads = self.query.shape[2]
        key, value = ((states @ w.T).unflatten(-1, (heads, -1)).transpose(-3, -2) for w in (self.to_key, self.to_value))
        return key, value

    def attention_couple(self) -> Any:
        """The queries repeated for every text, one attention over that batch, a masked sum."""
        import torch

        keys, values = (torch.stack([text[part] for text in [self.negative, *self.texts]]) for part in (0, 1))
        return self._attention_couple(keys, values)

    def attention_couple_projecting(self) -> Any:
        """The same, all texts projected first, as in every step there."""
        return self._attention_couple(*self._project(self.states.unflatten(0, (-1, TOKENS))))

    def _attention_couple(self, keys: Any, values: Any) -> Any:
        import torch

        voices, frames = len(self.texts), self.frames
        repeated = torch.cat([self.unconditional, self.conditional.repeat(voices, 1, 1, 1)])
        keys, values = (x.repeat_interleave(frames, 0) for x in (keys, values))
        out = attention(repeated, keys, values)
        each = out[frames:].unflatten(0, (voices, frames)) * self.shares[:, None, None]
        return torch.cat([out[:frames], each.sum(0)])

    def flex(self) -> tuple[Any, float]:
        """(FlexAttention under the mask and bias of raccord's joint softmax, seconds to compile it).

        Texts are filled up to whole blocks of keys, so that no block holds two of them.
        """
        import torch
        from flex import compiled, keys_of_a_block

        block = keys_of_a_block(self.query.device)
        length = -(-TOKENS // block) * block
        padding = (0, 0, 0, length - TOKENS)
        keys, values = (
            torch.nn.functional.pad(x.unflatten(2, (-1, TOKENS)), padding).flatten(2, 3)
            for x in (self.both_keys, self.both_values)
        )
        bias = torch.full_like(self.weight, -torch.inf)
        bias[: self.frames, 0] = 0.0
        bias[self.frames :] = self.weight[self.frames :].log()
        seen = bias.isfinite()

        def mask_mod(b, h, q, k):
            return seen[b, k // length, q] & (k % length < TOKENS)

        def score_mod(score, b, h, q, k):
            return score + bias[b, k // length, q]

        run, seconds = compiled(self.heads_first, keys, values, score_mod=score_mod, mask_mod=mask_mod)
        return lambda: run(self.heads_first, keys, values), seconds

    def plain(self) -> Any:
        """No regions at all: the frame prompt for every position."""
        import torch

        both = (torch.stack([self.negative[part], self.texts[0][part]]) for part in (0, 1))
        return attention(self.heads_first, *(x.repeat_interleave(self.frames, 0) for x in both))

    def _unconditional(self) -> Any:
        return attention(self.unconditional, self.negative[0][None], self.negative[1][None])

    def rivals(self, **options: Any) -> dict[str, Any]:
        """Name -> call; `options` are raccord's."""
        if self.count == 0:
            return {"raccord": lambda: self.raccord(**options), "SDPA, 77 keys": self.plain}
        return {
            "raccord": lambda: self.raccord(**options),
            "raccord, joint": lambda: self.raccord(combine="joint", **options),
            "raccord, with lse": lambda: self.raccord(return_lse=True, **options),
            "SDPA, dense mask": self.dense_mask,
            "SDPA, dense mask, branches apart": self.dense_mask_apart,
            "SDPA, gathered": self.gather,
            "loop over regions (IP-Adapter)": self.region_loop,
            "loop over regions, projecting texts": self.region_loop_projecting,
            "Attention Couple": self.attention_couple,
            "Attention Couple, projecting texts": self.attention_couple_projecting,
            "SDPA, 77 keys, no regions": self.plain,
        }

    def check(self, tolerance: float, **options: Any) -> None:
        """Rivals of the same meaning give the same result; `options` are raccord's."""
        import torch

        same = [(self.raccord(**options), self.plain)] if self.count == 0 else []
        if self.count:
            blend = self.raccord(**options)
            same = [(blend, call) for call in (self.gather, self.region_loop, self.attention_couple)]
            same += [(blend, call) for call in (self.region_loop_projecting, self.attention_couple_projecting)]
            same += [
                (self.raccord(combine="joint", **options), call) for call in (self.dense_mask, self.dense_mask_apart)
            ]
        for ours, rival in same:
            torch.testing.assert_close(rival().transpose(1, 2), ours, rtol=tolerance, atol=tolerance)


def attention(query: Any, key: Any, value: Any, mask: Any = None) -> Any:
    """SDPA, whatever backend torch takes on this machine. A single row of keys and values serves all queries."""
    from torch.nn.functional import scaled_dot_product_attention

    if len(key) < len(query):
        key, value = (x.expand(len(query), -1, -1, -1) for x in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask)


def main() -> None:
    """Check and time every case, and write the results."""
    import torch
    from side_by_side import compare, machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one layer and R = 4 only")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    cases = [(layer, count, "boxes", torch.float32) for layer in LAYERS for count in (0, 4)]
    cases += [(layer, count, "boxes", torch.float32) for layer in TYPICAL for count in (1, 8)]
    cases += [("SDXL 32x32", 4, layout, torch.float32) for layout in LAYOUTS[1:]]
    cases += [(layer, count, "boxes", torch.bfloat16) for layer in LAYERS for count in (0, 4)]
    cases += [("SDXL 32x32", count, "boxes", torch.bfloat16) for count in (1, 8)]
    cases += [("SDXL 32x32", 4, layout, torch.bfloat16) for layout in LAYOUTS[1:]]
    if quick:
        cases = [("SD1.5 32x32", 4, "boxes", torch.float32)]
    rows = []
    for layer, count, layout, dtype in cases:
        case = Case(*LAYERS[layer], STATES[layer.split()[0]], layout, count, dtype)
        rivals, compilation, tolerance = case.rivals(), {}, 1e-4 if dtype == torch.float32 else 5e-2
        with torch.no_grad():
            case.check(tolerance)
            if (layer, count, layout) == FLEX and not quick:
                flex, compilation["FlexAttention"] = case.flex()
                same = case.raccord(combine="joint")
                torch.testing.assert_close(flex().transpose(1, 2), same, rtol=tolerance, atol=tolerance)
                rivals["FlexAttention"] = flex
            found = compare(rivals, ours="raccord", rounds=5, seconds=0.02)
        for name, seconds in compilation.items():
            found[name]["compile_s"] = seconds
        named = {"layer": layer, "R": count, "layout": layout, "dtype": str(dtype).removeprefix("torch.")}
        rows.append({**named, "texts seen": round(case.visible(), 2), "who": found})
        speed = {name: round(one["speedup"], 2) for name, one in found.items() if "speedup" in one}
        print(*named.values(), round(case.visible(), 2), f"{found['raccord']['median_us']:.0f} us", speed, flush=True)
        if not quick:
            result = {"machine": machine(), "rows": rows}
            (HERE / "results" / "regional_attention.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""The kernels on a CUDA device beside what people run there, side by side in one run; each rival checked first.

    PYTHONSAFEPATH=1 .venv/bin/python benchmarks/bench_gpu.py [--dtype bfloat16] [--minutes 6] [--flex]

Layers of SD 1.5, SD 2.1 and SDXL, F frames at once, with guidance. raccord's calls force Triton. A time is the median
of `triton.testing.do_bench`, which empties the cache between calls, and beside it that of a CUDA graph's replay, which
does not, and takes no launches one by one. A layer's rivals are timed one right after the other; whatever has not been
reached after the minutes is left out, and what was next is named. Rivals are those of bench_regional_attention.py and
bench_entity_attention.py, and xformers where it is installed. Writes benchmarks/results/gpu.json, with what the device
can do at most.

`--check` times nothing: on tiny layers, on the CPU with TRITON_INTERPRET=1, it shows that everything runs and agrees.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

# name -> side of the grid, heads, head width, width of a text's states
LAYERS = {
    "SDXL 64x64": (64, 10, 64, 2048),
    "SDXL 32x32": (32, 20, 64, 2048),
    "SD1.5 64x64": (64, 8, 40, 768),
    "SD1.5 32x32": (32, 8, 80, 768),
    "SD1.5 16x16": (16, 8, 160, 768),
    "SD1.5 8x8": (8, 8, 160, 768),
    "SD2.1 96x96": (96, 5, 64, 1024),
}
TINY = {"tiny 8x8": (8, 1, 40, 32)}
Calls = dict[str, Callable[[], Any]]
#: What it is, its rivals, and whose speed is compared.
Source = Iterator[tuple[dict[str, Any], Calls, str]]


def regional(layers: Any, dtype: Any, *, flex: bool, check: bool) -> Source:
    """Regional attention, checked."""
    import torch
    from bench_regional_attention import Case

    cases = [(frames, count, "boxes") for frames in (4, 8, 1) for count in (4, 8, 1, 0)]
    cases += [(4, 4, "strips"), (4, 4, "overlap")]
    for frames, count, layout in cases[:2] if check else cases:
        for name, (side, heads, width, states) in layers.items():
            case = Case(side, heads, width, states, layout, count, dtype, frames=frames)
            case.check(1e-4 if dtype == torch.float32 else 5e-2, backend="triton")
            calls = case.rivals(backend="triton")
            about = {"kernel": "regional", "layer": name, "F": frames, "R": count, "layout": layout}
            if count:
                calls |= gradients(case)
            if xformers := xformers_call(case):
                calls["xformers, dense mask"] = xformers
            if flex and (name, frames, count, layout) == ("SDXL 64x64", 4, 4, "boxes"):
                calls["FlexAttention"], about["FlexAttention compiled in s"] = case.flex()
            yield about, calls, "raccord"


def gradients(case: Any) -> Calls:
    """The gradient in the query, ours beside that of the same attention in plain torch."""
    import torch

    query = case.query.detach().requires_grad_()
    operands = (query, case.key, case.value, case.segments, case.weight)
    from raccord.kernels.regional_attention import regional_attention

    found = {}
    for name, backend in (("raccord, gradient", "triton"), ("plain torch, gradient", "reference")):
        with torch.enable_grad():
            output = regional_attention(*operands, height=case.side, width=case.side, backend=backend)
        along = torch.ones_like(output)
        found[name] = lambda output=output, along=along: torch.autograd.grad(output, query, along, retain_graph=True)[0]
    ours, theirs = (call().float() for call in found.values())
    assert (ours - theirs).norm() < 2e-2 * theirs.norm()
    return found


def xformers_call(case: Any) -> Callable[[], Any] | None:
    """xformers' memory-efficient attention under the dense mask, where it is installed."""
    try:
        from xformers.ops import memory_efficient_attention  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    keys, values = (x.transpose(1, 2).contiguous() for x in (case.both_keys, case.both_values))
    count = keys.shape[1]
    # its biases must lie in rows of a multiple of eight
    wide = case.both_masks.new_zeros((*case.both_masks.shape[:-1], -(-count // 8) * 8))
    wide[..., :count] = case.both_masks
    mask = wide[..., :count].expand(-1, case.query.shape[2], -1, -1)
    return lambda: memory_efficient_attention(case.query, keys, values, attn_bias=mask)


def shared(layers: Any, dtype: Any, *, flex: bool, check: bool) -> Source:
    """As `regional`, for entity attention."""
    import torch
    from bench_entity_attention import OTHERS, rivals

    for frames in (2,) if check else (4, 8, 1):
        for name, (side, heads, width, _) in layers.items():
            wanted = flex and (name, frames) == ("SDXL 32x32", 4)
            # the branches of guidance share nothing: one of them is timed
            calls, exact, compiled = rivals(frames, side, heads, width, dtype, flex=wanted, backend="triton")
            for who, call in calls.items():
                if who not in OTHERS:
                    error = (call().double() - exact).norm() / exact.norm()
                    assert error < (1e-5 if dtype == torch.float32 else 1e-2), (who, float(error))
            about = {"kernel": "entity", "layer": name, "F": frames}
            yield about | {f"{who} compiled in s": seconds for who, seconds in compiled.items()}, calls, "raccord"


def steps(dtype: Any, *, check: bool) -> Source:
    """As `regional`, for the guided step: DDIM, with and without noise, beside guidance and step of diffusers."""
    import diffusers
    import torch

    from raccord.kernels.guided_step import KeyedNoise, guided_step
    from raccord.sampler.diffusers_schedulers import DDIMScheduler

    settings = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
    # as in a pipeline: tables on the host, whatever is the default
    with torch.device("cpu"):
        theirs, own = diffusers.DDIMScheduler(**settings), DDIMScheduler(**settings)
        for scheduler in (theirs, own):
            scheduler.set_timesteps(50)
    moment, destination = theirs.timesteps[20], int(theirs.timesteps[21])
    device = torch.get_default_device()
    for frames in (1,) if check else (1, 4, 8):
        shape = (frames, 4, 8, 8) if check else (frames, 4, 128, 128)
        sample = torch.randn(shape)
        outputs = torch.randn((2 * frames, *shape[1:])).to(dtype)
        for eta in (0.0, 1.0):
            row: Any = own.guided_coefficients(moment, eta=eta)
            row = row.to(device)
            noise = KeyedNoise(1, [str(frame) for frame in range(frames)], destination) if eta else None

            def peer(eta=eta, sample=sample, outputs=outputs):
                uncond, cond = outputs.chunk(2)
                guided = uncond + 5.0 * (cond - uncond)
                return theirs.step(guided, moment, sample, eta=eta, return_dict=False)[0]  # pyright: ignore[reportArgumentType]

            def ours(backend="triton", sample=sample, outputs=outputs, row=row, noise=noise):
                uncond, cond = outputs.chunk(2)
                return guided_step(sample, uncond, cond, 5.0, row, noise=noise, backend=backend)

            assert torch.equal(ours(), ours("reference"))
            calls = {"diffusers": peer, "raccord": ours, "raccord, plain torch": lambda ours=ours: ours("reference")}
            yield {"kernel": "step", "layer": "SDXL latents", "F": frames, "eta": eta}, calls, "raccord"


def roof() -> dict[str, float]:
    """What the device does at most: TB/s of a copy, TFLOP/s of a product of 8192 x 8192 matrices in bfloat16."""
    import torch
    from triton.testing import do_bench

    block = torch.empty(2**28, dtype=torch.float32)
    target, a = torch.empty_like(block), torch.randn((8192, 8192), dtype=torch.bfloat16)
    times: Any = do_bench(lambda: target.copy_(block)), do_bench(lambda: a @ a)
    copy, product = times
    return {"copy TB/s": 2 * block.nbytes / copy / 1e9, "product TFLOP/s": 2 * 8192**3 / product / 1e9}


def timed(calls: Calls, ours: str) -> dict[str, dict[str, float]]:
    """rival -> median us, us in a replayed graph where it can be captured, their time over ours."""
    import torch
    from triton.testing import do_bench, do_bench_cudagraph

    found: dict[str, dict[str, float]] = {}
    for who, call in calls.items():
        quartiles: Any = do_bench(call, warmup=20, rep=60, quantiles=[0.25, 0.5, 0.75])
        low, middle, high = quartiles
        found[who] = {"median_us": 1e3 * middle, "low_us": 1e3 * low, "high_us": 1e3 * high}
        if "gradient" not in who and "plain torch" not in who and "Flex" not in who:
            try:
                replayed: Any = do_bench_cudagraph(call, rep=20, return_mode="median")
                found[who]["graph_us"] = 1e3 * replayed
            except RuntimeError as error:  # some cannot be captured: they look at values on the host
                torch.cuda.synchronize()
                found[who]["graph_us"] = float("nan")
                print(f"{who}: no graph, {str(error).splitlines()[0]}", file=sys.stderr)
    for who, one in found.items():
        base = found["raccord, gradient"] if who == "plain torch, gradient" else found[ours]
        one["speedup"] = one["median_us"] / base["median_us"]
        if "graph_us" in one and "graph_us" in base:
            one["graph_speedup"] = one["graph_us"] / base["graph_us"]
    return found


def machine(dtype: Any) -> dict[str, Any]:
    """What the figures were taken on."""
    import torch
    import triton
    from side_by_side import machine as host

    return host() | {
        "gpu": torch.cuda.get_device_name(),
        "capability": torch.cuda.get_device_capability(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "triton": triton.__version__,
        "dtype": str(dtype),
        "sdpa order": [str(x) for x in torch._C._get_sdp_priority_order()],
        "roof": roof(),
    }


def record(sources: list[Source], result: dict[str, Any], path: Path, *, ends: float) -> None:
    """Time what the sources give, in turn, so that time runs out for all alike; rewrites `path` after every row.

    Args:
        sources: what to time; emptied.
        result: what the file holds besides, the machine.
        ends: when to stop, on time.monotonic's clock; what was next is named then.
    """
    rows, left = [], []
    result |= {"rows": rows, "stopped before": left}
    while sources:
        for source in list(sources):
            if (found := next(source, None)) is None:
                sources.remove(source)
                continue
            about, calls, ours = found
            if time.monotonic() > ends:
                left.append(about)
                sources.remove(source)
            else:
                rows.append(about | {"who": timed(calls, ours)})
                print(about, {who: round(one["speedup"], 2) for who, one in rows[-1]["who"].items()}, flush=True)
            # after every row: a run that is cut short has said something
            path.write_text(json.dumps(result, indent=1) + "\n")


def main() -> None:
    """Check and time everything, as long as there is time."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--flex", action="store_true", help="FlexAttention too, which compiles for minutes")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    dtype = torch.float16 if given.check else getattr(torch, given.dtype)
    ends = time.monotonic() + 60 * given.minutes
    with torch.device("cpu" if given.check else "cuda"), torch.no_grad():
        layers = TINY if given.check else LAYERS
        options = {"flex": given.flex, "check": given.check}
        sources = [
            shared(layers, dtype, **options),
            regional(layers, dtype, **options),
            steps(dtype, check=given.check),
        ]
        if given.check:
            for about, calls, _ in itertools.chain(*sources):
                print(about, *calls)
        else:
            record(sources, {"machine": machine(dtype)}, HERE / "results" / "gpu.json", ends=ends)


if __name__ == "__main__":
    main()

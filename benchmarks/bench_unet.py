"""One UNet step of a planned frame beside the plain step of diffusers, random weights, both side by side in one run.

    .venv/bin/python benchmarks/bench_unet.py [--model sd15] [--items 4] [--rounds 5] [--profile]

Works on a CUDA device when there is one (float16), else on the CPU (float32, one thread, CPU time). Writes
benchmarks/results/unet.json.
Memory is not part of it: the entities have none here, so the step is regional attention and isolation.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))


def main() -> None:
    """Time the two steps interleaved and write the ratio of medians."""
    models = json.loads((HERE / "architectures.json").read_text())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[name for name in models if name != "about"], default="sd15")
    parser.add_argument("--items", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="also print where the time goes (torch.profiler)")
    arguments = parser.parse_args()

    import torch
    from diffusers import UNet2DConditionModel
    from side_by_side import machine

    from raccord import Entity, Frame, Item, Plan
    from raccord.sampler.conditioning import frame_conditioning
    from raccord.sampler.diffusers_attention import Controller, Row
    from raccord.sampler.text import TextPool

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    dtype = torch.float16 if device == "cuda" else torch.float32
    shape = models[arguments.model]
    torch.manual_seed(0)
    unet: Any = UNet2DConditionModel(**shape)
    unet.to(device, dtype).eval()
    side, width = shape["sample_size"], shape["cross_attention_dim"]
    texts: dict[str, torch.Tensor] = {}

    def encode(text: str) -> torch.Tensor:
        return texts.setdefault(text, torch.randn((77, width), device=device, dtype=dtype))

    columns = max(1, -(-arguments.items // 2))
    names = [f"e{number}" for number in range(arguments.items)]
    boxes = [
        [c / columns + 0.02, r / 2 + 0.05, (c + 1) / columns - 0.02, r / 2 + 0.45]
        for r in range(2)
        for c in range(columns)
    ]
    items = [Item(entity=name, box=box, action=name) for name, box in zip(names, boxes, strict=False)]
    plan = Plan(
        size=[8 * side, 8 * side],
        entities=[Entity(id=name, card=f"card {name}") for name in names],
        frames=[Frame(id="f", prompt="all of them", background="nobody", items=items)],
    )
    conditioning = frame_conditioning(plan, plan.frames[0], latent_width=side, beta=0.1)
    sample = torch.randn((2, 4, side, side), device=device, dtype=dtype)
    hidden = torch.stack([encode(""), encode("all of them")])
    added = None
    if shape.get("addition_embed_type") == "text_time":
        added = {
            "text_embeds": torch.randn((2, 1280), device=device, dtype=dtype),
            "time_ids": torch.full((2, 6), 1024.0, device=device, dtype=dtype),
        }
    control = Controller(unet, TextPool(encode))

    @torch.no_grad()
    def step(planned: bool) -> float:
        if planned:
            control.install()
            control.rows = (Row(conditioning, False, {}), Row(conditioning, True, {}))
        moment = torch.tensor(500, device=device)
        if device == "cuda":
            torch.cuda.synchronize()
        clock = time.perf_counter if device == "cuda" else time.process_time
        began = clock()
        unet(sample, moment, encoder_hidden_states=hidden, added_cond_kwargs=added, return_dict=False)
        if device == "cuda":
            torch.cuda.synchronize()
        seconds = clock() - began
        if planned:
            control.remove()
        return seconds

    for planned in (False, True):
        step(planned)
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(arguments.rounds):
        for planned in (False, True):
            times[planned].append(step(planned))
    medians = {planned: statistics.median(values) for planned, values in times.items()}
    result = {
        "command": f"benchmarks/bench_unet.py --model {arguments.model} --items {arguments.items} "
        f"--rounds {arguments.rounds}",
        "model": arguments.model,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "dtype": str(dtype),
        "machine": machine(),
        "plain_seconds": medians[False],
        "planned_seconds": medians[True],
        "ratio": medians[True] / medians[False],
        "spread": {name: [min(times[k]), max(times[k])] for name, k in (("plain", False), ("planned", True))},
    }
    (HERE / "results" / "unet.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    if arguments.profile:
        with torch.profiler.profile() as profile:
            step(True)
        by = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
        print(profile.key_averages().table(sort_by=by, row_limit=25))


if __name__ == "__main__":
    main()

"""Train the embedded planner: `train.py base`, then `train.py adapter`. Either resumes where it was interrupted.

Checkpoints lie in build/planner; `export.py` makes models/planner of them.
"""

import argparse
import time

import torch
from corpus import BUILD
from recipe import ADAPTER, BASE, new_model, with_adapter
from stage.checkpoint import load_checkpoint
from tokens import planner_tokenizer
from training import train


def _reporter(steps: int, label: str):
    started, tokens, losses = time.monotonic(), 0, []

    def report(step: int, loss: float, count: int) -> None:
        nonlocal tokens
        tokens += count
        losses.append(loss)
        if step % 20 == 0 or step == steps:
            rate = tokens / (time.monotonic() - started)
            print(
                f"{label} {step}/{steps} loss {sum(losses[-20:]) / len(losses[-20:]):.4f} {rate:.0f} tokens/s",
                flush=True,
            )

    return report


def main() -> None:
    """Run one of the two trainings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("base", "adapter"))
    part = parser.parse_args().part
    tokenizer = planner_tokenizer()
    model = new_model(tokenizer)
    base = BUILD / "base.safetensors"
    if part == "base":
        train(model, tokenizer, BASE, base, report=_reporter(BASE.steps, part))
        return
    if not base.exists():
        raise SystemExit(f"{base}: missing; run `train.py base` first")
    load_checkpoint(base, {"model": model})
    train(with_adapter(model), tokenizer, ADAPTER, BUILD / "adapter.safetensors", report=_reporter(ADAPTER.steps, part))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""Train the embedded planner: `train.py all`, or one by one `model`, then the adapters `base`, `crowd` and `framing`.
Each resumes where it was interrupted.

Checkpoints lie in build/planner; `export.py` makes models/planner of them.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import torch
from corpus import BUILD
from recipe import ADAPTERS, BASE, adapter_to_train, checkpoint, new_model
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


def _train(part: str) -> None:
    tokenizer = planner_tokenizer()
    if part == "model":
        train(new_model(tokenizer), tokenizer, BASE, BUILD / "base.safetensors", report=_reporter(BASE.steps, part))
        return
    run = ADAPTERS[part]
    try:
        model = adapter_to_train(part, tokenizer, BUILD)
    except FileNotFoundError as error:
        raise SystemExit(f"{error}: run `train.py model` first, and `train.py base` before other adapters") from None
    train(model, tokenizer, run, checkpoint(BUILD, part), report=_reporter(run.steps, part))


def main() -> None:
    """Run one of the trainings, or all of them in their order."""
    parts = ("model", *ADAPTERS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=(*parts, "all"))
    part = parser.parse_args().part
    for one in parts if part == "all" else (part,):
        _train(one)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

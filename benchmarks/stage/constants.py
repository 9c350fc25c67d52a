"""Compare constants of raccord for the stage model, on calibration stories that no published figure uses.

    .venv/bin/python -P benchmarks/stage/constants.py [--stories 8] [--model models/stage]

Writes `benchmarks/results/constants.json`. What is chosen from it stands in `calibrate.py`; what the figures are,
`stage.drawn` says.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
STAGE = ROOT / "models" / "stage"

# Guidance and eta with the regions alone, then memories on top.
VARIANTS: tuple[dict[str, Any], ...] = (
    *({"guidance": guidance, "eta": eta} for guidance in (3.0, 5.0, 8.0) for eta in (0.0, 1.0)),
    *({"bank_weight": weight} for weight in (0.25, 1.0, 4.0)),
)


def main() -> None:
    """Draw, read, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=8)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--model", type=Path, default=STAGE)
    arguments = parser.parse_args()

    from raccord.sampler.calibration import Calibration
    from raccord.sampler.diffusers_pipeline import load_pipeline
    from stage.calibrate import FIXED, SEED
    from stage.drawn import Stories, figures, write_figures
    from stage.instruments.reader import load_reader
    from stage.model.config import SMALL_CPU

    reader, pipe = load_reader(), load_pipeline(arguments.model)
    stories = Stories(SEED, arguments.stories, arguments.frames, arguments.steps, SMALL_CPU.rates)
    # Noise field 0, not chosen by presence, and no repair: what the constants do by themselves.
    bare = Calibration(**FIXED | {"casting_candidates": 1, "bank_weight": 0.0, "presence_threshold": None})
    rows = []
    for changes in VARIANTS:
        row, _ = figures(pipe, reader, stories, dataclasses.replace(bare, **changes))
        rows.append({"constants": ", ".join(f"{name} {value:g}" for name, value in changes.items()), **row})
        print(rows[-1], flush=True)
    command = f"benchmarks/stage/constants.py {stories.arguments}"
    if arguments.model != STAGE:
        command += f" --model {arguments.model}"
    path = ROOT / "benchmarks" / "results" / "constants.json"
    write_figures(path, command, pipe, rows, otherwise=dataclasses.asdict(bare))


if __name__ == "__main__":
    main()

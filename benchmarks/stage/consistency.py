"""What each mechanism adds on the stage: the same stories drawn plainly, with regions, casting, bank and repair. The
bank stands in a row of its own, whether the model's calibration uses it or not.

    .venv/bin/python -P benchmarks/stage/consistency.py [--stories 8]

Writes `benchmarks/results/consistency.json`; what the figures are, `stage.drawn` says.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

SEED = 9_000_001


def main() -> None:
    """Draw all variants, read them back, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=int, default=8, help="of each kind: colours named, colours left open")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet of the first story here (PNG)")
    arguments = parser.parse_args()

    from PIL import Image

    from raccord.sampler.calibration import read_calibration
    from raccord.sampler.diffusers_pipeline import load_pipeline
    from stage.drawn import Stories, figures, write_figures
    from stage.instruments.reader import load_reader
    from stage.model.config import SMALL_CPU

    reader = load_reader()
    pipe = load_pipeline(ROOT / "models" / "stage")
    full = read_calibration(ROOT / "models" / "stage")
    stories = Stories(SEED, arguments.stories, arguments.frames, arguments.steps, SMALL_CPU.rates)
    off: dict[str, Any] = {"casting_candidates": 1, "bank_weight": 0.0, "presence_threshold": None}
    cast = off | {"casting_candidates": full.casting_candidates}
    variants: dict[str, dict[str, Any] | None] = {
        "frame prompt only": None,
        "+ regions, isolation, anchored noise": off,
        "+ cast noise": cast,
        "+ cast noise and entity bank": cast | {"bank_weight": full.bank_weight or 1.0},
        "all of raccord, as calibrated": {},
    }
    rows, sheet = [], []
    for name, changes in variants.items():
        calibration = dataclasses.replace(full, **changes or {})
        row, pictures = figures(pipe, reader, stories, calibration, prompt_alone=changes is None)
        rows.append({"variant": name, **row})
        sheet.append(pictures)
        print(rows[-1], flush=True)
    path = ROOT / "benchmarks" / "results" / "consistency.json"
    command = f"benchmarks/stage/consistency.py {stories.arguments}"
    write_figures(path, command, pipe, rows, calibration=dataclasses.asdict(full))
    if arguments.sheet:
        side = 160
        page = Image.new("RGB", (side * arguments.frames, side * len(sheet)), "white")
        for y, pictures in enumerate(sheet):
            for x, picture in enumerate(pictures):
                large = Image.fromarray(picture).resize((side - 8, side - 8), Image.Resampling.LANCZOS)
                page.paste(large, (x * side + 4, y * side + 4))
        page.save(arguments.sheet)


if __name__ == "__main__":
    main()

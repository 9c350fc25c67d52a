"""Draw how the shipped models learned: `benchmarks/results/stage_curves.png`.

    .venv/bin/python -P benchmarks/stage/curves.py

A function of committed JSON: the curves in `benchmarks/results/stage.json`, which `report.py` copies there, and the
reader's in `benchmarks/stage/instruments/weights/curve.json`.
"""

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


class Panel(NamedTuple):
    """One diagram: rows of step and values, and the column and unit of every line."""

    title: str
    rows: list[list[float]] | None
    columns: tuple[tuple[int, str], ...]
    logarithmic: bool = True


def panels(stage: dict[str, Any], reader: dict[str, Any]) -> list[Panel]:
    """The diagrams of both files; `rows` is None where a curve was not kept."""
    return [
        Panel("autoencoder", stage["autoencoder_curve"], ((2, "PSNR of a training batch, dB"),), logarithmic=False),
        Panel("decoder, further", stage["decoder_curve"], ((2, "PSNR of a training batch, dB"),), logarithmic=False),
        Panel("text encoder", stage.get("text_curve"), ((1, "loss: what captions say"),)),
        Panel("denoiser", stage["loss_curve"], ((1, "loss, mean of the last steps"),), logarithmic=False),
        Panel("reader: finding", reader["rows"], ((1, "centre"), (2, "sides"))),
        Panel("reader: naming", reader["rows"], ((3, "names, all heads"), (4, "box"))),
    ]


def plot(drawn: list[Panel], path: Path) -> None:
    """Write the diagrams as one PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4))
    # Not fitted to the labels: no panel moves another.
    figure.subplots_adjust(left=0.05, right=0.99, top=0.95, bottom=0.08, wspace=0.2, hspace=0.35)
    for axes, panel in zip(figure.subplots(2, 3).flat, drawn, strict=True):
        axes.set_title(panel.title)
        axes.set_xlabel("step")
        axes.grid(True, which="both", alpha=0.25)
        if panel.rows is None:
            axes.text(0.5, 0.5, "not kept", ha="center", transform=axes.transAxes)
            continue
        for column, label in panel.columns:
            axes.plot([row[0] for row in panel.rows], [row[column] for row in panel.rows], label=label, linewidth=1.2)
        if panel.logarithmic:
            axes.set_yscale("log")
        axes.legend(fontsize="small")
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def main() -> None:
    """Read and draw."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    stage = json.loads((RESULTS / "stage.json").read_text())
    reader = json.loads((ROOT / "benchmarks" / "stage" / "instruments" / "weights" / "curve.json").read_text())
    plot(panels(stage, reader), RESULTS / "stage_curves.png")


if __name__ == "__main__":
    main()

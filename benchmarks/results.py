"""Write benchmarks/RESULTS.md from the JSON files in benchmarks/results/: `.venv/bin/python benchmarks/results.py`.

Nothing in the tables is typed by hand. A file that is absent is named as not measured.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
Found = dict[str, Any]


def percent(value: float) -> str:
    """0.971 -> 97.1 %."""
    return f"{100 * value:.1f} %"


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def leaves(found: Any, path: str = "") -> list[list[str]]:
    """Every number, text and truth value of a JSON tree with its path; lists longer than 8 only by their length."""
    if isinstance(found, dict):
        return [leaf for key, value in found.items() for leaf in leaves(value, f"{path}.{key}" if path else key)]
    if isinstance(found, list):
        if len(found) > 8:
            return [[path, f"{len(found)} entries"]]
        return [leaf for index, value in enumerate(found) for leaf in leaves(value, f"{path}[{index}]")]
    return [[path, f"{found:.4g}" if isinstance(found, float) else str(found)]]


def story(found: Found) -> str:
    rows = [
        ["`make story` on a fresh clone, installation included", f"{found['make_story_seconds']} s"],
        [f"drawing the {found['frames']} frames again, imports included", f"{found['draw_again_seconds']} s"],
        ["same pixels", found["same_pixels_when_drawn_again"]],
        ["cores", found["cores"]],
    ]
    return table(["what", "figure"], rows)


def drawn(found: Found) -> str:
    """Figures of `benchmarks/stage/drawn.py`, one row for each of what the first field names."""
    given = next(iter(found["rows"][0]))
    rows = [
        [
            row[given],
            percent(row["success_at_05"]),
            percent(row["same_kind"]),
            percent(row["item_success"]),
            percent(row["outside"]),
            percent(row["same_colour"]),
            f"{row['unet_calls_per_frame']:.1f}",
            f"{row['cpu_seconds_per_frame']:.2f}",
        ]
        for row in found["rows"]
    ]
    first = found["rows"][0]
    note = (
        f"{first['items']} items with named colours, {first['pairs']} pairs of frames with colours left open, "
        f"model {found['model']}, torch {found['torch']}, {found['threads']} thread(s). "
        "Casting is counted in the calls."
    )
    head = [
        given,
        "success@0.5",
        "same kind",
        "colour in its box",
        "colour outside boxes",
        "same colour",
        "UNet calls a frame",
        "CPU s a frame",
    ]
    return table(head, rows) + "\n\n" + note


def mutation(found: Found) -> str:
    return table(["figure", "value"], [leaf for leaf in leaves(found) if not leaf[0].startswith("survivors")])


def benchmarked(found: Found) -> str:
    """pytest-benchmark's JSON."""
    rows = [
        [
            one["group"],
            one["params"]["who"],
            f"{1e6 * one['stats']['median']:.0f}",
            f"{1e6 * one['stats']['min']:.0f}",
            f"{1e6 * one['stats']['iqr']:.0f}",
        ]
        for one in sorted(found["benchmarks"], key=lambda one: one["group"])
    ]
    machine = (
        f"{found['machine_info']['cpu'].get('brand_raw', 'CPU')}, torch {found['machine_info']['torch']}, one thread"
    )
    return table(["shape", "who", "median us", "min us", "IQR us"], rows) + "\n\n" + machine


def stage(found: Found) -> str:
    figures = table(["figure", "value"], [leaf for leaf in leaves(found) if not leaf[0].startswith("config.")])
    return figures + "\n\n![Loss and quality while training](results/stage_curves.png)"


def side_by_side(found: Found) -> str:
    """The JSON of benchmarks that use `benchmarks/side_by_side.py`: rivals by row, in columns what they were given."""
    given = [name for name in found["rows"][0] if name != "who"]
    rows = []
    for row in found["rows"]:
        for who, one in row["who"].items():
            speed = (
                f"{one['speedup']:.2f} ({one['speedup_low']:.2f}-{one['speedup_high']:.2f})" if "speedup" in one else ""
            )
            label = f"{who}, first compiled in {one['compile_s']:.0f} s" if "compile_s" in one else who
            rows.append(
                [*(row[name] for name in given), label, f"{one['median_us']:.0f}", f"{one['min_us']:.0f}", speed]
            )
    machine = found["machine"]
    able = f" ({', '.join(machine['levels'])})" if "levels" in machine else ""
    made = f", commit {machine['commit']}" if "commit" in machine else ""
    note = (
        f"{machine['cpu']}{able}{made}, torch {machine['torch']}, {machine['threads']} thread(s), "
        f"load {machine['load'][0]:.1f}. "
        "CPU time; the last column is their time over raccord's, median of rounds and quartiles."
    )
    return table([*given, "who", "median us", "min us", "raccord is faster by"], rows) + "\n\n" + note


def gpu(found: Found) -> str:
    """The JSON of benchmarks/bench_gpu.py: a table a kernel."""
    machine, parts = found["machine"], []
    for kernel in dict.fromkeys(row["kernel"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["kernel"] == kernel]
        given = [name for name in rows[0] if name not in ("kernel", "who") and "compiled" not in name]
        lines = []
        for row in rows:
            for who, one in row["who"].items():
                compiled = row.get(f"{who} compiled in s")
                lines.append(
                    [
                        *(row[name] for name in given),
                        who if compiled is None else f"{who}, first compiled in {compiled:.0f} s",
                        f"{one['median_us']:.0f} ({one['low_us']:.0f}-{one['high_us']:.0f})",
                        "" if math.isnan(one.get("graph_us", math.nan)) else f"{one['graph_us']:.0f}",
                        f"{one['speedup']:.2f}",
                        "" if math.isnan(one.get("graph_speedup", math.nan)) else f"{one['graph_speedup']:.2f}",
                    ]
                )
        head = [*given, "who", "median us (quartiles)", "in a graph", "raccord is faster by", "in graphs"]
        parts += [f"### {kernel.capitalize()}", table(head, lines)]
    roof = ", ".join(f"{name} {value:.1f}" for name, value in machine["roof"].items())
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "cuda", "cudnn", "triton", "commit"))
    capability = "".join(map(str, machine["capability"]))
    parts.append(
        f"{machine['gpu']} (sm_{capability}), {machine['dtype']}, {versions}; roof: {roof}. "
        "Where nothing stands under graphs, it cannot be captured or was not tried."
    )
    if found["stopped before"]:
        parts.append(f"Time was up before: {'; '.join(str(about) for about in found['stopped before'])}.")
    return "\n\n".join(parts)


def instruments(found: Found) -> str:
    """Accuracies, then what is read on degraded pictures."""
    figures = table(["figure", "value"], [leaf for leaf in leaves(found) if not leaf[0].startswith("degraded")])
    head = ["degraded by", "level", "items still named", "kind right of these"]
    rows = [
        [row["way"], row["level"], percent(row["named"]), percent(row["kind_right_of_named"])]
        for row in found["degraded"]
        if row["kind_right_of_named"] is not None
    ]
    return figures + "\n\n" + table(head, rows)


def anything(found: Found) -> str:
    return table(["figure", "value"], leaves(found))


SECTIONS: list[tuple[str, str, str, Callable[[Found], str]]] = [
    ("story", "The main job on a fresh clone", "benchmarks/fresh_clone.sh", story),
    ("consistency", "What each mechanism adds", "benchmarks/stage/consistency.py", drawn),
    ("constants", "Constants compared on calibration stories", "benchmarks/stage/constants.py", drawn),
    ("calibration", "Presence threshold", "benchmarks/stage/calibrate.py", anything),
    ("stage", "The embedded diffusion model", "benchmarks/stage/report.py", stage),
    ("instruments", "The reader on held-out renders", "benchmarks/stage/instruments/check.py", instruments),
    ("planner", "The embedded planner", "benchmarks/planner/report.py", anything),
    ("open_colours", "Colours that a story leaves open", "benchmarks/planner/open_colours.py", anything),
    ("planner_round", "One round of correction", "benchmarks/planner/failure_round.py", anything),
    ("schedulers", "Schedulers against diffusers and against the truth", "benchmarks/schedulers.py", anything),
    ("mutation", "Mutation score of schedules, predictions and steps", "benchmarks/mutation.py", mutation),
    ("noise", "Keyed noise beside torch.randn", "pytest benchmarks/bench_noise.py", benchmarked),
    ("guided_step", "Guided step beside diffusers' guidance and step", "benchmarks/bench_guided_step.py", side_by_side),
    (
        "regional_attention",
        "Regional attention beside SDPA",
        "benchmarks/bench_regional_attention.py",
        side_by_side,
    ),
    ("entity_attention", "Entity attention beside SDPA", "benchmarks/bench_entity_attention.py", side_by_side),
    ("unet", "A planned UNet step beside the plain one", "benchmarks/bench_unet.py", anything),
]


def written(folder: Path) -> str:
    """The document made of the JSON files in `folder`."""
    found_gpu = (folder / "gpu.json").is_file()
    parts = [
        "# Results",
        "Written by `benchmarks/results.py` from the JSON files in `benchmarks/results/`; each section names the "
        f"command that makes its file. All figures{' but those of the last section' if found_gpu else ''} are from 2 "
        "shared CPU cores without a GPU, some with AVX-512 and AVX512-BF16, some with AVX-512 and AMX; absolute times "
        f"there vary by tens of per cent between runs.{'' if found_gpu else ' GPU rows are open: no GPU was at hand.'}",
    ]
    # the last one is shown only where its file is
    for name, title, command, write in [*SECTIONS, ("gpu", "The kernels on a GPU", "benchmarks/gpu.sh", gpu)]:
        path = folder / f"{name}.json"
        if path.is_file():
            found = json.loads(path.read_text())
            parts += [f"## {title}", f"`{found.pop('command', command)}`", write(found)]
        elif name != "gpu":
            parts += [f"## {title}", f"Not measured yet: `{command}`."]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Write RESULTS.md."""
    (HERE / "RESULTS.md").write_text(written(HERE / "results"))


if __name__ == "__main__":
    main()

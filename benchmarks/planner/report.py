"""Measure models/planner on held-out stories, with and without its adapter, before and after repair:
benchmarks/results/planner.json."""

import platform
import time
from pathlib import Path
from statistics import median

import corpus
import torch
from measure import Score, score, total
from stage.files import write_json

from raccord.planner.compose import compose
from raccord.planner.direct import DirectError, form_scene, read_for
from raccord.planner.embedded import embedded_model
from raccord.planner.language_model import ADAPTERS, LanguageModelError, load_language_model
from raccord.planner.reading import split_story
from raccord.planner.repair import repair
from raccord.sampler.plan import read_plan, write_plan

STORIES = 100
RESULT = Path(__file__).resolve().parents[1] / "results" / "planner.json"


def evaluate(adapter: str | None, stories: int) -> dict[str, object]:
    """Figures in per cent for one adapter, over the first held-out stories."""
    model = load_language_model(embedded_model("planner"), adapter=adapter)
    raw: list[Score] = []
    repaired: list[Score] = []
    valid, repairs, tokens, seconds = 0, 0, 0, []
    for number in range(stories):
        told = corpus.held_out_story(number)
        sentences = split_story(told.text)
        started = time.monotonic()
        try:
            reading = read_for(model, told.text, sentences)
            scene, written = form_scene(model, reading, sentences)
        except (LanguageModelError, DirectError):
            continue
        fixed = repair(scene, reading=reading)
        plan = compose(fixed.scene, sentences=sentences, world=model.world, seed=0, size=(64, 64))
        if len(sentences) == 4:
            seconds.append(time.monotonic() - started)
        valid += read_plan(write_plan(plan)) == plan
        repairs += len(fixed.repairs)
        tokens += written.tokens
        raw.append(score(scene, told.scene))
        repaired.append(score(fixed.scene, told.scene))
    return {
        "valid_plans_percent": round(100 * valid / stories, 1),
        "as_written_percent": total(raw),
        "after_repair_percent": total(repaired),
        "repairs_per_story": round(repairs / stories, 2),
        "tokens_per_story": round(tokens / stories, 1),
        "seconds_per_four_frame_story_median": round(median(seconds), 2),
    }


def main() -> None:
    """Write the report."""
    adapters = sorted(path.name for path in (embedded_model("planner") / ADAPTERS).glob("*"))
    started = time.strftime("%Y-%m-%d")
    results = {name or "none": evaluate(name, STORIES) for name in (None, *adapters)}
    machine = f"{platform.machine()}, 1 thread, shared with other jobs, torch {torch.__version__}, float32"
    content = {
        "command": "benchmarks/planner/report.py",
        "date": started,
        "machine": machine,
        "held_out_stories": STORIES,
        "adapters": results,
    }
    write_json(RESULT, content)
    print(RESULT.read_text())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

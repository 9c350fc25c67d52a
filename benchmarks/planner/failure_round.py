"""One round of correction: draw stories, teach the planner what was missing, draw stories it has not seen.

    .venv/bin/python -P benchmarks/planner/failure_round.py [--lessons 24] [--unseen 24] [--minutes 15]

Every story not seen before is drawn as planned before and after the lessons, one story after the other, until all are
or the minutes are over; the figures are those of the stories drawn both ways. What was drawn lies in
build/planner/round and is not drawn again, so a run that was stopped, or that ran out of time, goes on where it was.

An item fails if the presence check calls it missing after all repair, or, where its looks name a colour, if the trained
reader does not find it: right kind, IoU at least 0.5 and a fifth of its colour. Stories, plans, pictures, the order of
the lessons and the adapter's first values are functions of keys, so the figures come out again on the same machine.
Unseen stories have names and wordings of their own. The same noise and memories are used before and after. The interval
is that of a paired bootstrap over stories (Efron, 1979), its draws keyed. Writes
`benchmarks/results/planner_round.json`.
"""

import argparse
import hashlib
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))

import corpus
import numpy as np
import torch
from stage.draws import Draws
from stage.files import replacing, write_json
from stage.instruments.colours import SUCCESS, colour_share
from stage.instruments.metrics.layout import placements
from stage.instruments.reader import load_reader
from stage.stories.story import Story as Told
from stage.stories.story import story
from stage.world.scene import Item
from stage.world.vocabulary import COLOURS

from raccord.planner.adapters import Adapter, find_adapters
from raccord.planner.direct import propose
from raccord.planner.embedded import embedded_model
from raccord.planner.language_model import LanguageModel, load_language_model
from raccord.planner.lessons import Lesson, LessonError, lesson_of_failure
from raccord.planner.looks import card_looks
from raccord.planner.tune import Tuning, tune
from raccord.planner.world import World
from raccord.sampler.diffusers_pipeline import Model, load_pipeline
from raccord.sampler.plan import Plan
from raccord.sampler.story import Story

RESULT = Path(__file__).resolve().parents[1] / "results" / "planner_round.json"
_FIRST_LESSON, _FIRST_UNSEEN = 7_000_000, 8_000_000
TUNING = Tuning(steps=60, batch=4, rank=8, rate=3e-3, seed=corpus.SEED)


class Shown(NamedTuple):
    """What one item of a frame came out as. `colour` is the share of the body colour in its box that is its own, or
    None for looks that name no colour; `read` the success@0.5 of the trained reader.
    """

    entity: str
    present: bool
    colour: float | None
    read: bool
    area: float

    @property
    def success(self) -> bool:
        return self.present and (self.colour is None or self.read)


class Studio:
    """Draws plans of stories, each frame once: the same key, the same pixels. What frames came out as, and memories,
    are kept in `folder`."""

    def __init__(self, pipe: Any, world: World, steps: int, folder: Path):
        self._pipe, self._world, self._steps, self._folder = pipe, world, steps, folder
        self._reader = load_reader()
        self.drawn = 0
        folder.mkdir(parents=True, exist_ok=True)

    def frames(self, plan: Plan) -> dict[str, list[Shown]]:
        """Frame id -> what its items came out as."""
        drawing = Story(self._pipe, plan, steps=self._steps)
        shown = {}
        for frame in plan.frames:
            path = self._folder / f"{_hash(drawing.frame_key(frame.id))}.json"
            if not path.exists():
                for item in frame.items:
                    self._cast(drawing, item.entity)
                drawn = drawing.frame(frame.id)
                found = self._look(plan, frame, np.asarray(drawn.image), drawn.report["missing"])
                write_json(path, [one._asdict() for one in found])
                self.drawn += 1
                print(f"{self.drawn} frames drawn", flush=True)
            shown[frame.id] = [Shown(**one) for one in json.loads(path.read_text())]
        return shown

    def _cast(self, drawing: Story, entity: str) -> None:
        path = self._folder / f"{_hash(str(sorted(drawing.made_from(entity).items())))}.safetensors"
        if path.exists():
            drawing.remember(path.read_bytes())
            return
        drawing.cast([entity])
        with replacing(path) as temporary:
            temporary.write_bytes(drawing.memory_bytes(entity))

    def _look(self, plan: Plan, frame: Any, picture: np.ndarray, missing: list[str]) -> list[Shown]:
        cards = {entity.id: entity.card for entity in plan.entities}
        truth = [self._item(cards[item.entity], item) for item in frame.items]
        placed = placements(picture, self._reader.read(picture), [item for item in truth if item.colour])
        read = iter(placed)
        found = []
        for item, true in zip(frame.items, truth, strict=True):
            x0, y0, x1, y1 = item.box
            colour = colour_share(picture, (x0, y0, x1, y1), true.colour) if true.colour else None
            hit = next(read).success if true.colour else False
            share = None if colour is None else float(colour)
            found.append(Shown(item.entity, item.entity not in missing, share, bool(hit), (x1 - x0) * (y1 - y0)))
        return found

    def _item(self, card: str, item: Any) -> Item:
        kind, accessory, size = card_looks(card, self._world)
        colour = next((word for word in card.split() if word in COLOURS), "")
        return Item(
            kind, colour, None, "plain", accessory, size or "medium", tuple(item.box), item.z, "left", "standing"
        )


def figures(shown: list[dict[str, list[Shown]]]) -> dict[str, float | int]:
    """Per cent over the frames of some stories."""
    frames = [frame for one in shown for frame in one.values()]
    items = [item for frame in frames for item in frame]
    coloured = [item for item in items if item.colour is not None]

    def share(good: int, of: int) -> float:
        return round(100 * good / max(1, of), 1)

    return {
        "frames": len(frames),
        "items": len(items),
        "frames_where_all_succeed_percent": share(sum(all(i.success for i in frame) for frame in frames), len(frames)),
        "items_that_succeed_percent": share(sum(item.success for item in items), len(items)),
        "items_present_percent": share(sum(item.present for item in items), len(items)),
        "items_in_their_colour_percent": share(sum((i.colour or 0) >= SUCCESS for i in coloured), len(coloured)),
        "items_read_right_percent": share(sum(item.read for item in coloured), len(coloured)),
        "mean_area_percent": share(sum(item.area for item in items), len(items)),  # pyright: ignore[reportArgumentType]
    }


def lesson(model: LanguageModel, told: Told, plan: Plan, shown: dict[str, list[Shown]]) -> Lesson | None:
    """What a drawn story teaches; None where nothing could be done better."""
    failed = {frame: [item.entity for item in items if not item.success] for frame, items in shown.items()}
    try:
        return lesson_of_failure(model, told.text, plan, failed)
    except LessonError:
        return None


class Round(NamedTuple):
    """One round: what the lessons' stories showed, what each unseen story showed before and after them, and tuning."""

    taught: list[dict[str, list[Shown]]]
    pairs: list[tuple[dict[str, list[Shown]], dict[str, list[Shown]]]]
    changed: int
    record: dict[str, Any]


def one_round(
    model: LanguageModel,
    draw: Callable[[Plan], dict[str, list[Shown]]],
    known: Sequence[Told],
    unseen: Sequence[Told],
    out: Path,
    tuning: Tuning,
    *,
    until: float = math.inf,
) -> Round:
    """Draw `known` as planned, teach what failed, draw `unseen` as planned before and after.

    Args:
        draw: plan -> frame id -> what its items came out as.
        out: folder for the new adapter.
        until: of `time.monotonic`; no further story is begun then.
    """
    base = find_adapters(embedded_model("planner"))

    def planned(stories: Sequence[Told], adapters: tuple[Adapter, ...]) -> list[Plan]:
        model.use(adapters)
        return [propose(told.text, model=model, seed=number).plan for number, told in enumerate(stories)]

    plans = planned(known, base)
    taught = [draw(plan) for plan in plans]
    lessons = [lesson(model, told, plan, shown) for told, plan, shown in zip(known, plans, taught, strict=True)]
    before = planned(unseen, base)
    model.use(base)
    record = tune(model, [one for one in lessons if one is not None], out, tuning)
    after = planned(unseen, find_adapters(embedded_model("planner"), [str(out)]))
    pairs, changed = [], 0
    for old, new in zip(before, after, strict=True):
        if time.monotonic() >= until:
            break
        pairs.append((draw(old), draw(new)))
        changed += old.frames != new.frames
    return Round(taught, pairs, changed, record)


def gain(pairs: Sequence[tuple[dict[str, list[Shown]], dict[str, list[Shown]]]]) -> dict[str, Any]:
    """By how many per cent points more items succeed after than before, with the interval that 95 % of 2,000 keyed
    resamples of the stories fall into."""
    counts = []
    for one in pairs:
        before, after = ([item.success for frame in shown.values() for item in frame] for shown in one)
        counts.append((sum(after) - sum(before), len(before)))

    def points(rows: Sequence[tuple[int, int]]) -> float:
        return 100 * sum(more for more, _ in rows) / max(1, sum(items for _, items in rows))

    draws = Draws(corpus.SEED, "round bootstrap", len(counts))
    found = sorted(points([counts[draws.integer(len(counts))] for _ in counts]) for _ in range(2000 if counts else 1))
    low, high = found[int(0.025 * len(found))], found[min(len(found) - 1, int(0.975 * len(found)))]
    return {"points": round(points(counts), 1), "interval_95": [round(low, 1), round(high, 1)]}


def main() -> None:
    """Draw, teach, draw again, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lessons", type=int, default=24, help="stories to learn from")
    parser.add_argument("--unseen", type=int, default=24, help="stories to measure on, at most")
    parser.add_argument("--sentences", type=int, default=1, help="longest story")
    parser.add_argument("--steps", type=int, default=25, help="denoising steps a frame")
    parser.add_argument("--minutes", type=float, default=15, help="no further story is begun then")
    parser.add_argument("--result", type=Path, default=RESULT, help="JSON file to write")
    arguments = parser.parse_args()
    started = time.monotonic()
    model = load_language_model(embedded_model("planner"))
    if model.world is None:
        raise SystemExit("models/planner holds no world.json")
    pipe = load_pipeline(embedded_model("stage"))
    studio = Studio(pipe, model.world, arguments.steps, corpus.BUILD / "round")
    limit = arguments.sentences
    known = [story(corpus.SEED, _FIRST_LESSON + n, max_sentences=limit) for n in range(arguments.lessons)]
    unseen = [
        story(corpus.SEED, _FIRST_UNSEEN + n, held_out=True, max_sentences=limit) for n in range(arguments.unseen)
    ]
    with tempfile.TemporaryDirectory() as folder:
        until = started + 60 * arguments.minutes
        done = one_round(model, studio.frames, known, unseen, Path(folder) / "round", TUNING, until=until)
    content = {
        "command": f"benchmarks/planner/failure_round.py --lessons {arguments.lessons} --unseen {arguments.unseen} "
        f"--sentences {limit} --steps {arguments.steps} --minutes {arguments.minutes:g}",
        "stage_model": Model(pipe).weights_hash()[:16],
        "planner": {"weights_sha256": model.weights_sha256},
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "tuning": done.record,
        "learned_from": figures(done.taught),
        "unseen_stories": len(done.pairs),
        "unseen_stories_whose_plan_changed": done.changed,
        "unseen": {"before": figures([b for b, _ in done.pairs]), "after": figures([a for _, a in done.pairs])},
        "gain_in_items_that_succeed": gain(done.pairs),
    }
    write_json(arguments.result, content)
    print(json.dumps(content, indent=1))
    print(f"{studio.drawn} frames drawn in {time.monotonic() - started:.0f} s", flush=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

"""One round of correction from failures: what is drawn too small is planned larger, on stories not seen before."""

import sys
from pathlib import Path

import pytest

from raccord.planner.direct import propose
from raccord.planner.embedded import embedded_model
from raccord.planner.language_model import load_language_model
from raccord.planner.tune import Tuning
from raccord.sampler.diffusers_pipeline import load_pipeline

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT / "benchmarks" / "planner", ROOT / "benchmarks"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import corpus  # noqa: E402
from failure_round import Shown, Studio, figures, gain, one_round  # noqa: E402
from stage.stories.story import story  # noqa: E402

# Share of the frame below which this renderer shows nothing.
_LEAST = 0.2


@pytest.fixture(scope="module")
def model():
    return load_language_model(embedded_model("planner"))


def _short_sighted(plan):
    """A renderer that shows what is large enough."""
    shown = {}
    for frame in plan.frames:
        areas = [(item.entity, (item.box[2] - item.box[0]) * (item.box[3] - item.box[1])) for item in frame.items]
        shown[frame.id] = [Shown(name, area >= _LEAST, None, False, area) for name, area in areas]
    return shown


def test_a_round_raises_the_success_of_unseen_stories(model, tmp_path):
    known = [story(corpus.SEED, 7_000_000 + n, max_sentences=1) for n in range(24)]
    unseen = [story(corpus.SEED, 8_000_000 + n, held_out=True, max_sentences=1) for n in range(16)]
    assert not {told.text for told in known} & {told.text for told in unseen}
    tuning = Tuning(steps=60, batch=4, rank=8, rate=3e-3, seed=1)
    done = one_round(model, _short_sighted, known, unseen, tmp_path / "round", tuning)
    before, after = (figures([pair[which] for pair in done.pairs]) for which in (0, 1))
    assert done.record["lessons"]["failure"] > 0
    assert len(done.pairs) == len(unseen)
    assert before["items"] == after["items"]
    assert after["items_that_succeed_percent"] > before["items_that_succeed_percent"]
    assert after["mean_area_percent"] > before["mean_area_percent"]
    found = gain(done.pairs)
    low, high = found["interval_95"]
    assert low <= found["points"] <= high
    assert found["points"] == pytest.approx(
        after["items_that_succeed_percent"] - before["items_that_succeed_percent"], abs=0.11
    )


def test_no_story_is_begun_when_the_time_is_over(model, tmp_path):
    known = [story(corpus.SEED, 7_100_000 + n, max_sentences=1) for n in range(3)]
    tuning = Tuning(steps=1, batch=1, rank=1)
    done = one_round(model, _short_sighted, known, known, tmp_path / "round", tuning, until=0.0)
    assert done.pairs == []
    assert gain(done.pairs) == {"points": 0.0, "interval_95": [0.0, 0.0]}


def test_what_was_drawn_is_not_drawn_again(model, tmp_path):
    plan = propose("Lina is a red cat.", model=model).plan
    pipe = load_pipeline(embedded_model("stage"))
    studio = Studio(pipe, model.world, 2, tmp_path / "drawn")
    shown = studio.frames(plan)
    assert studio.drawn == 1
    assert [one.entity for one in next(iter(shown.values()))] == [plan.entities[0].id]
    again = Studio(pipe, model.world, 2, tmp_path / "drawn")
    assert again.frames(plan) == shown
    assert again.drawn == 0

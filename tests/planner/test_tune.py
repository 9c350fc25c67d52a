"""Tuning: lessons from pairs, edits and failures; an adapter that is a function of them, however often it is killed."""

import json
import random

import pytest
from typer.testing import CliRunner

from raccord.planner.asked import ask
from raccord.planner.cli import app
from raccord.planner.compose import compose
from raccord.planner.direct import propose, read_for
from raccord.planner.embedded import embedded_model
from raccord.planner.errors import InputError
from raccord.planner.geometry import overlap
from raccord.planner.language_model import LanguageModelError, load_language_model
from raccord.planner.lessons import LessonError, lesson_of_edit, lesson_of_failure, read_lessons, scene_of
from raccord.planner.reading import split_story
from raccord.planner.tune import Tuning, examples, tune
from raccord.planner.tuning import keyed_rows
from raccord.sampler.plan import Plan, write_plan

STORY = "Lina is a red cat. Bo the blue dog sits left of Lina in the snow. Bo sleeps."
QUICK = Tuning(steps=6, batch=2, rank=4, rate=2e-3, checkpoint_every=2)


@pytest.fixture(scope="module")
def planner():
    return load_language_model(embedded_model("planner"))


@pytest.fixture(scope="module")
def plan(planner):
    return propose(STORY, model=planner).plan


def _moved(plan: Plan, frame: int, boxes) -> Plan:
    """The plan with other boxes in one frame."""
    items = tuple(i.model_copy(update={"box": b}) for i, b in zip(plan.frames[frame].items, boxes, strict=True))
    frames = list(plan.frames)
    frames[frame] = frames[frame].model_copy(update={"items": items})
    return plan.model_copy(update={"frames": tuple(frames)})


def _edited(plan: Plan) -> Plan:
    """Lina alone, as a close-up."""
    return _moved(plan, 0, [(4 / 32, 12 / 32, 28 / 32, 30 / 32)])


def _plain(plan: Plan):
    return json.loads(write_plan(plan))


def test_a_plans_scene_gives_the_plan_back(planner, plan):
    sentences = split_story(STORY)
    asked = ask(planner, read_for(planner, STORY, sentences), sentences)
    scene = scene_of(plan, asked)
    assert compose(scene, sentences=sentences, world=planner.world, seed=plan.seed, size=plan.size) == plan
    assert [r.relation for r in scene.frames[1].relations] == ["left of"]


def test_an_edit_becomes_what_the_model_should_have_written(planner, plan):
    lesson = lesson_of_edit(planner, STORY, plan, _edited(plan))
    assert json.loads(lesson.completion)["frames"][0]["items"][0]["box"] == [4, 12, 24, 18]
    ((ids, weights, _),), skipped = examples(planner, [lesson])
    assert skipped == []
    learned = [planner.tokenizer.decode([token]) for token, weight in zip(ids, weights, strict=True) if weight]
    # Names, looks, quotes, places and relations are forced by the story; the boxes are not.
    assert {"4", ",12", ",24", ",18"} <= set(learned)
    assert all(text.strip('0123456789,]}[{"') == "" for text in learned)


def test_what_a_story_does_not_allow_is_no_lesson(planner, plan):
    with pytest.raises(LessonError, match="nothing was changed"):
        lesson_of_edit(planner, STORY, plan, plan)
    with pytest.raises(LessonError, match="2 frames, the story 3 sentences"):
        lesson_of_edit(planner, STORY, plan, plan.model_copy(update={"frames": plan.frames[:2]}))
    green = tuple(entity.model_copy(update={"card": "a green cat"}) for entity in plan.entities)
    lesson = lesson_of_edit(planner, STORY, plan, plan.model_copy(update={"entities": green}))
    found, skipped = examples(planner, [lesson])
    assert found == []
    assert "grammar" in skipped[0]


def test_whoever_was_missing_is_larger_in_the_lesson_and_nobody_overlaps_more(planner, plan):
    second = plan.frames[1]
    lina = next(entity.id for entity in plan.entities if entity.name == "Lina")
    scene = json.loads(lesson_of_failure(planner, STORY, plan, {second.id: [lina]}).completion)
    before = {item.entity: item.box for item in second.items}
    boxes = {item["entity"]: tuple(item["box"]) for item in scene["frames"][1]["items"]}
    left, top, right, bottom = before[lina]
    assert boxes["#1"][2] * boxes["#1"][3] > (right - left) * (bottom - top) * 32 * 32
    assert overlap(boxes["#1"], boxes["#2"]) <= 0.1
    # Frames that went well stay as they were.
    same = json.loads(lesson_of_failure(planner, STORY, plan, {}).completion)
    assert scene["frames"][0] == same["frames"][0]
    assert scene["frames"][2] == same["frames"][2]


def test_lines_of_a_file_are_pairs_edits_or_failures(planner, plan, tmp_path):
    path = tmp_path / "lessons.jsonl"
    rows = [
        {"prompt": "1 a cat\n", "completion": '{"entities":[]}'},
        {"story": STORY, "before": _plain(plan), "after": _plain(_edited(plan))},
        {"story": STORY, "plan": _plain(plan), "failed": {plan.frames[0].id: [plan.frames[0].items[0].entity]}},
        {"story": STORY, "before": _plain(plan), "after": _plain(plan)},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    lessons = read_lessons(planner, [path])
    assert [lesson.kind for lesson in lessons.found] == ["pair", "edit", "failure"]
    assert lessons.skipped == (f"{path}, line 4: nothing was changed in the plan",)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1"),
        ("[]", "must be an object"),
        ('{"prompt": "a"}', "has the keys prompt"),
        ('{"prompt": [{"role": "user", "content": "a"}], "completion": "b"}', "chat template"),
        ('{"story": "A cat sits.", "plan": {}, "failed": {}}', "frames: this field is required"),
        ('{"story": 3, "before": {}, "after": {}}', "story: must be text"),
    ],
)
def test_other_lines_are_refused_by_number(planner, tmp_path, line, told):
    path = tmp_path / "lessons.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=told) as error:
        read_lessons(planner, [path])
    assert "line 1" in str(error.value)


def test_every_epoch_sees_everything_once_in_an_order_of_its_own():
    keys = [f"{number:x}" for number in range(10)]
    epochs = [[row for step in range(2 * e, 2 * e + 2) for row in keyed_rows(keys, 5, step, 5)] for e in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    backwards = [9 - row for step in range(2) for row in keyed_rows(keys[::-1], 5, step, 5)]
    assert backwards == epochs[0]


def _tuned(lessons, folder, **options):
    tune(load_language_model(embedded_model("planner")), lessons, folder, options.pop("settings", QUICK), **options)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def lessons(planner, plan):
    failed = {plan.frames[1].id: [plan.entities[0].id]}
    return [
        lesson_of_edit(planner, STORY, plan, _edited(plan)),
        lesson_of_failure(planner, STORY, plan, failed),
        lesson_of_failure(planner, STORY, plan, {}),
    ]


class _Killed(Exception):
    pass


def test_a_run_killed_anywhere_ends_with_the_same_bytes(lessons, tmp_path):
    whole = _tuned(lessons, tmp_path / "whole")
    assert set(whole) == {"adapter_config.json", "adapter_model.safetensors", "tuned.json"}
    assert str(tmp_path).encode() not in b"".join(whole.values())

    def kill_at(last):
        def progress(step, steps):
            if step == last:
                raise _Killed

        return progress

    stops = sorted(random.Random(4).sample(range(1, QUICK.steps), 3))
    for stop in stops:
        with pytest.raises(_Killed):
            _tuned(lessons, tmp_path / "torn", progress=kill_at(stop))
    # The order of the lessons and how often the run is saved change nothing either.
    other = Tuning(steps=6, batch=2, rank=4, rate=2e-3, checkpoint_every=1)
    assert _tuned(lessons[::-1], tmp_path / "torn", settings=other) == whole


def test_a_finished_adapter_is_not_trained_again_and_no_other_overwritten(lessons, tmp_path):
    one = Tuning(steps=1, batch=1, rank=2)
    first = _tuned(lessons, tmp_path / "a", settings=one)

    def never(step, steps):
        raise _Killed

    assert _tuned(lessons, tmp_path / "a", settings=one, progress=never) == first
    with pytest.raises(InputError, match="another adapter"):
        _tuned(lessons[:1], tmp_path / "a", settings=one)


def test_a_tuned_planner_does_what_the_edit_did(plan, tmp_path):
    model = load_language_model(embedded_model("planner"))
    lesson = lesson_of_edit(model, STORY, plan, _edited(plan))
    tune(model, [lesson], tmp_path / "closer", Tuning(steps=25, batch=1, rate=5e-3))
    assert model.adapters == ()
    again = propose(STORY, adapters=[str(tmp_path / "closer")])
    left, top, right, bottom = again.plan.frames[0].items[0].box
    before = plan.frames[0].items[0].box
    assert (right - left) * (bottom - top) > (before[2] - before[0]) * (before[3] - before[1])
    assert [one["name"] for one in again.planner["adapters"]].count("closer") == 1


def test_a_story_folder_teaches_what_it_lacked_and_what_was_edited(flat_model, tmp_path):
    out = tmp_path / "tale"
    assert CliRunner().invoke(app, ["story", STORY, "--out", str(out)]).exit_code == 0
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["planner"]["story"] == STORY
    assert [one["name"] for one in manifest["planner"]["adapters"]] == ["base"]
    entity = json.loads((out / "plan.json").read_text())["frames"][0]["items"][0]["entity"]
    manifest["frames"][0]["report"]["missing"] = [entity]
    (out / "manifest.json").write_text(json.dumps(manifest))
    model = load_language_model(embedded_model("planner"))
    assert [lesson.kind for lesson in read_lessons(model, [out]).found] == ["failure"]
    edited = json.loads((out / "plan.json").read_text())
    edited["frames"][0]["items"][0]["box"] = [4 / 32, 12 / 32, 28 / 32, 30 / 32]
    (out / "plan.json").write_text(json.dumps(edited))
    assert CliRunner().invoke(app, ["draw", str(out / "plan.json"), "--out", str(out)]).exit_code == 0
    (lesson,) = read_lessons(model, [out]).found
    assert lesson.kind == "edit"
    assert json.loads(lesson.completion)["frames"][0]["items"][0]["box"] == [4, 12, 24, 18]
    rows = tmp_path / "rows.jsonl"
    done = CliRunner().invoke(app, ["tune", str(out), "--out", str(tmp_path / "a"), "--export", str(rows)])
    assert done.exit_code == 0
    assert json.loads(rows.read_text()) == {"prompt": lesson.prompt, "completion": lesson.completion}
    done = CliRunner().invoke(app, ["tune", str(rows), "--out", str(tmp_path / "a"), "--steps", "1", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["lessons"]["pair"] == 1
    done = CliRunner().invoke(app, ["plan", STORY, "--adapter", f"{tmp_path / 'a'}:0.5", "--json"])
    assert {one["name"] for one in json.loads(done.stdout)["planner"]["adapters"]} == {"a", "base"}


def test_settings_out_of_range_are_refused():
    for wrong, told in (({"rate": 0}, "rate"), ({"rank": 0}, "rank"), ({"steps": 0}, "steps"), ({"seed": -1}, "seed")):
        with pytest.raises(InputError, match=told):
            Tuning(**wrong)


def test_without_bitsandbytes_qlora_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LanguageModelError, match=r"raccord\[qlora\]"):
        load_language_model(embedded_model("planner"), quantise="nf4")


@pytest.mark.filterwarnings("ignore")
def test_qlora_trains_over_four_bits_to_the_same_bytes_twice(lessons, tmp_path):
    pytest.importorskip("bitsandbytes", reason="QLoRA needs bitsandbytes: pip install 'raccord[qlora]'")
    found = []
    for name in ("one", "two"):
        model = load_language_model(embedded_model("planner"), quantise="nf4")
        record = tune(model, lessons, tmp_path / name, Tuning(steps=2, batch=2, rank=2))
        assert record["quantised"] == "nf4"
        found.append((tmp_path / name / "adapter_model.safetensors").read_bytes())
    assert found[0] == found[1]

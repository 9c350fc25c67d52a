"""Plans without a model: `raccord plan --check`, `--show` and `--schema`."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from raccord.planner.cli import app
from raccord.planner.plan_check import MAX_WARNINGS, check_plan
from raccord.sampler.plan import Entity, Item, plan_hash, plan_schema, write_plan

ROOT = Path(__file__).resolve().parents[2]


def raccord(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


@pytest.fixture
def written(tmp_path, make_plan):
    """Write a plan's JSON after `change` has edited it; gives the path."""

    def write(change=lambda document: None, count=2):
        document = json.loads(write_plan(make_plan(count)))
        change(document)
        path = tmp_path / "tale.plan.json"
        path.write_text(json.dumps(document))
        return path

    return write


def told(path):
    return [finding.text for finding in check_plan(path.read_bytes()).warnings]


def test_a_good_plan_is_called_good(written, make_plan):
    path = written()
    done = raccord("plan", "--check", path)
    assert done.exit_code == 0
    assert done.stdout == f"{path}: a valid plan, 2 entities, 2 frames; nothing to warn of\n"
    document = json.loads(raccord("plan", "--check", path, "--json").stdout)
    assert document["plan_sha256"] == plan_hash(make_plan(2))
    assert (document["ok"], document["warnings"]) == (True, [])


def test_a_refused_plan_is_told_in_words_and_in_pointers(written):
    def spoil(document):
        document["frames"][1]["items"][0]["box"] = [0.5, 0, 0.5, 1]
        document["frames"][0]["items"][1]["colour"] = "red"
        document["colour"] = "red"
        del document["entities"][0]["card"]

    path = written(spoil)
    done = raccord("plan", "--check", path, "--json")
    assert done.exit_code == 2
    problems = {one["pointer"]: one["text"] for one in json.loads(done.stdout)["error"]["problems"]}
    assert problems["/frames/1/items/0/box"].startswith('frame 2 "scene-1", item 1 "fox", box: a box needs x0 < x1')
    assert problems["/frames/0/items/1/colour"].startswith('frame 1 "scene-0", item 2 "lamp", colour: there is no such')
    assert problems["/entities/0/card"].startswith('entity 1 "fox", card: this field is required')
    assert problems["/colour"].startswith("colour: there is no such field")
    assert all(text in done.stderr for text in problems.values())
    assert "Traceback" not in done.stderr


def test_references_are_checked_too(written):
    path = written(lambda document: document["frames"][0]["items"][1].update(entity="foxx"))
    done = raccord("plan", "--check", path)
    assert done.exit_code == 2
    assert 'frame 1 "scene-0", item 2 "foxx", entity: must be the id of an entity' in done.stderr
    assert 'did you mean "fox"?' in done.stderr


@pytest.mark.parametrize(
    ("change", "pointer", "said"),
    [
        (lambda d: d["entities"].append({"id": "a", "card": "a hat"}), "/entities/2", '"a" is in no frame'),
        (lambda d: d["entities"][1].update(card=d["entities"][0]["card"]), "/entities/1", "nobody can tell them apart"),
        (lambda d: d["frames"][1].update(items=[]), "/frames/1", "nobody is in it"),
        (lambda d: d["frames"][0]["items"][0].update(box=[0, 0, 0.1, 1]), "/frames/0/items/0/box", "too few cells"),
        (lambda d: d["frames"][0].update(prompt="a lamp"), "/frames/0/prompt", 'the prompt has no word for "Mira"'),
        (lambda d: d["frames"][0].update(background="a fox den"), "/frames/0/background", 'names "Mira" ("fox")'),
        (lambda d: d["frames"][0]["items"][1].update(weight=0), "/frames/0/items/1/weight", "weight 0"),
        (
            lambda d: d["frames"][0]["items"][1].update(box=[0.3, 0.3, 0.7, 0.9]),
            "/frames/0/items/1/box",
            "at one depth",
        ),
        (
            lambda d: d["frames"][0]["items"][0].update(box=[0.5, 0.2, 0.95, 0.9], z=5),
            "/frames/0/items/0/box",
            "too much of the rear one",
        ),
    ],
)
def test_each_warning_names_its_place_in_the_file(written, change, pointer, said):
    path = written(change)
    document = json.loads(raccord("plan", "--check", path, "--json").stdout)
    assert document["ok"]
    found = [one["text"] for one in document["warnings"] if one["pointer"] == pointer]
    assert any(said in text for text in found), document["warnings"]


def test_pointers_are_into_the_file_whatever_its_order(written):
    def turn(document):
        document["entities"].reverse()
        document["frames"][0]["items"].reverse()
        document["frames"][0]["items"][1]["box"] = [0, 0, 0.1, 1]
        document["entities"][0]["card"] = document["entities"][1]["card"]

    pointers = {finding.pointer for finding in check_plan(written(turn).read_bytes()).warnings}
    assert "/frames/0/items/1/box" in pointers
    assert "/entities/1" in pointers


def test_several_of_a_kind_are_no_fault(written):
    def three(document):
        for n in range(2):
            document["entities"].append({"id": f"lamp-{n}", "card": document["entities"][1]["card"]})
            document["frames"][0]["items"].append({"entity": f"lamp-{n}", "box": [0.3 * n, 0, 0.3 * n + 0.2, 0.3]})
        document["frames"][0]["items"][:2] = []

    assert not [text for text in told(written(three)) if "tell them apart" in text]


def test_touching_is_no_fault_when_it_is_meant(written):
    def touch(document):
        document["frames"][0]["items"][1].update(box=[0.3, 0.3, 0.7, 0.9], interacts=["fox"])

    assert told(written(touch)) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_any_bytes_are_checked(data):
    checked = check_plan(data)
    assert (checked.plan is None) == bool(checked.errors)


def test_show_writes_beside_the_plan_and_over_nothing_else(written, tmp_path):
    path = written()
    done = raccord("plan", "--show", path)
    page = tmp_path / "tale.plan.html"
    assert (done.exit_code, done.stdout) == (0, f"{page}\n")
    assert raccord("plan", "--show", path).exit_code == 0
    page.write_text("my notes")
    done = raccord("plan", "--show", path)
    assert (done.exit_code, page.read_text()) == (2, "my notes")
    assert raccord("plan", "--show", path, "-o", tmp_path / "other.html").exit_code == 0
    shown = raccord("plan", "--show", "-", input=path.read_bytes()).stdout
    assert shown.startswith("<!DOCTYPE html>")
    assert "[0.05, 0.35, 0.5, 0.95]" in shown


def test_show_puts_the_boxes_over_the_drawn_frames(written, tmp_path, flat_model):
    path = written()
    raccord("draw", path, "--out", tmp_path / "out", "--frame", "scene-1")
    shown = raccord("plan", "--show", tmp_path / "out" / "plan.json", "-o", "-").stdout
    first, second = re.findall(r"<article>.*?</article>", shown, re.DOTALL)
    assert "<image" not in first
    assert 'href="data:image/png;base64,' in second
    # A folder with a damaged manifest is a folder of plans only.
    (tmp_path / "out" / "manifest.json").write_text("{}")
    assert "<image" not in raccord("plan", "--show", tmp_path / "out" / "plan.json", "-o", "-").stdout


def test_show_refuses_what_is_no_plan(written, tmp_path):
    path = written(lambda document: document.pop("frames"))
    assert raccord("plan", "--show", path).exit_code == 2
    assert not (tmp_path / "tale.plan.html").exists()


def test_the_schema_is_a_file_editors_can_use(tmp_path, written):
    path = tmp_path / "plan.schema.json"
    assert raccord("plan", "--schema", "-o", path).exit_code == 0
    schema = json.loads(path.read_bytes())
    assert schema == plan_schema()
    assert path.read_bytes() == (ROOT / "docs" / "plan.schema.json").read_bytes()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(written().read_bytes()), schema)
    for example in (ROOT / "examples").glob("*.plan.json"):
        jsonschema.validate(json.loads(example.read_bytes()), schema)
        assert check_plan(example.read_bytes()).warnings == ()


@pytest.mark.parametrize(
    "arguments",
    [[], ["a tale", "--schema"], ["--check", "x.json", "--show", "x.json"], ["--check", "x.json", "-o", "y"]],
    ids=" ".join,
)
def test_one_thing_at_a_time(arguments):
    assert raccord("plan", *arguments).exit_code == 2


def test_of_very_many_warnings_the_first_are_told(make_plan):
    entities = tuple(Entity(id=f"e{n}", card=f"a thing of kind {n}") for n in range(64))
    items = tuple(Item(entity=e.id, box=(0, 0, 1, 1)) for e in entities)
    frames = tuple(frame.model_copy(update={"items": items}) for frame in make_plan(20).frames)
    checked = check_plan(write_plan(make_plan(entities=entities, frames=frames)))
    assert len(checked.warnings) == MAX_WARNINGS

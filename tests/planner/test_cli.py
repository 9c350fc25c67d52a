"""The commands as a person or a script meets them: arguments, exit codes, one JSON object, one clear message."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from raccord.planner import cli, direct
from raccord.planner import manifest as manifests
from raccord.planner.cli import app, read_story
from raccord.planner.errors import InputError
from raccord.planner.manifest import read_manifest
from raccord.sampler.plan import plan_hash, read_plan, write_plan


def raccord(*arguments, **options):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


@pytest.fixture
def plan_file(tmp_path, make_plan):
    path = tmp_path / "story.plan.json"
    path.write_bytes(write_plan(make_plan(2)))
    return path


@pytest.fixture
def told_story(monkeypatch, make_plan):
    """`proposals` answers with fixed plans and remembers what it was asked."""
    asked = []

    def proposals(story, **options):
        asked.append((story, options))
        if "refuse" in story:
            raise direct.DirectError("the story names nothing")
        told: dict[str, Any] = {
            "repairs": ("frame 1: moved",),
            "warnings": ("it is dark",),
            "unknown_words": ("dragon",),
        }
        told["planner"] = {"weights_sha256": "0" * 64, "adapters": []}
        return tuple(
            SimpleNamespace(plan=make_plan(2, seed=options["seed"], title=f"tale {n}"), sample=n, **told)
            for n in range(options["count"])
        )

    monkeypatch.setattr(direct, "proposals", proposals)
    return asked


def fresh(*code):
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, env=environment, timeout=120
    )


def test_help_loads_nothing_heavy():
    done = fresh(
        "import sys, raccord",
        "from raccord.planner.cli import main",
        "sys.argv = ['raccord', '--help']",
        "try: main()",
        "except SystemExit as end: assert not end.code",
        "heavy = {'torch', 'diffusers', 'transformers', 'numpy', 'PIL', 'jinja2', 'pydantic'} & set(sys.modules)",
        "assert not heavy, heavy",
    )
    assert done.returncode == 0, done.stderr
    for word in ("story", "plan", "draw", "verify", "doctor", "Exit codes", "130 / 143"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["story", "plan", "draw", "verify", "doctor"])
def test_every_command_has_help(command):
    done = raccord(command, "--help")
    assert done.exit_code == 0
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["draw"],
        ["draw", "x.json"],
        ["draw", "x.json", "--out", "y", "--steps", "0"],
        ["draw", "x.json", "--out", "y", "--seed", "-1"],
        ["draw", "x.json", "--out", "y", "--seed", str(2**63)],
        ["draw", "x.json", "--out", "y", "--guidance", "nan"],
        ["draw", "x.json", "--out", "y", "--backend", "abacus"],
        ["draw", "missing.json", "--out", "y"],
        ["verify", "missing"],
        ["plan", "missing.txt"],
        ["plan", "   "],
        ["fly"],
        ["draw", "x.json", "--out", "y", "--fly"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_2(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = raccord(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_draw_writes_and_says_where(tmp_path, plan_file, flat_model):
    done = raccord("draw", plan_file, "--out", tmp_path / "out", "--steps", 3, "--guidance", 2, "--seed", 11)
    assert done.exit_code == 0
    assert "index.html: 2 frames drawn, 0 kept" in done.stdout
    assert "frame scene-0 (1 of 2)" in done.stderr
    manifest = read_manifest(tmp_path / "out")
    assert manifest.settings == {"steps": 3, "guidance": 2.0, "backend": None}
    assert manifest.seed == 11
    assert read_plan((tmp_path / "out" / "plan.json").read_bytes()).seed == 11


def test_json_is_one_object_on_stdout(tmp_path, plan_file, flat_model):
    done = raccord("draw", plan_file, "--out", tmp_path / "out", "--frame", "scene-1", "--json")
    document = json.loads(done.stdout)
    assert (document["ok"], document["exit_code"], document["complete"]) == (True, 0, False)
    assert [frame["id"] for frame in document["frames"]] == ["scene-1"]
    with Image.open(document["frames"][0]["file"]) as image:
        assert image.size == (64, 64)
    again = json.loads(raccord("draw", plan_file, "--out", tmp_path / "out", "--json").stdout)
    assert [frame["kept"] for frame in again["frames"]] == [False, True]
    assert again["complete"]


def test_a_plan_may_come_from_stdin(tmp_path, plan_file, flat_model):
    done = raccord("draw", "-", "--out", tmp_path / "out", input=plan_file.read_bytes())
    assert done.exit_code == 0


def test_a_refused_plan_names_the_place(tmp_path, plan_file, flat_model):
    document = json.loads(plan_file.read_bytes())
    document["frames"][1]["items"][0]["entity"] = "foxx"
    plan_file.write_text(json.dumps(document))
    done = raccord("draw", plan_file, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 2
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "PlanError"
    assert error["problems"][0]["pointer"] == "/frames/1/items/0/entity"
    assert "/frames/1/items/0/entity" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_story_plans_and_draws(tmp_path, flat_model, told_story):
    done = raccord("story", "Mira finds a lamp.", "--out", tmp_path / "out", "--seed", 4, "--json")
    assert done.exit_code == 0, done.stderr
    assert told_story == [("Mira finds a lamp.", told_story[0][1])]
    assert told_story[0][1]["seed"] == 4
    document = json.loads(done.stdout)
    assert document["repairs"] == ["frame 1: moved"]
    assert "does not know: dragon" in done.stderr
    assert read_manifest(tmp_path / "out").complete


def test_plan_to_a_file_or_to_stdout(tmp_path, told_story, make_plan):
    path = tmp_path / "x.json"
    assert raccord("plan", "A tale", "-o", path).exit_code == 0
    assert plan_hash(read_plan(path.read_bytes())) == plan_hash(make_plan(2, title="tale 0"))
    done = raccord("plan", "A tale")
    assert plan_hash(read_plan(done.stdout.encode())) == plan_hash(make_plan(2, title="tale 0"))
    document = json.loads(raccord("plan", "A tale", "--json").stdout)
    assert plan_hash(read_plan(json.dumps(document["plan"]).encode())) == plan_hash(make_plan(2, title="tale 0"))
    for bad in (tmp_path, tmp_path / "none" / "x.json"):
        done = raccord("plan", "A tale", "-o", bad)
        assert (done.exit_code, done.stdout) == (2, "")


def test_proposals_are_ranked_and_all_written(tmp_path, told_story):
    path = tmp_path / "x.plan.json"
    done = raccord("plan", "A tale", "-o", path, "--proposals", 3, "--json")
    document = json.loads(done.stdout)
    names = [str(tmp_path / name) for name in ("x.plan.json", "x-2.plan.json", "x-3.plan.json")]
    assert [one["plan"] for one in document["proposals"]] == names
    assert [one["sample"] for one in document["proposals"]] == [0, 1, 2]
    assert document["plan"] == names[0]
    for name, one in zip(names, document["proposals"], strict=True):
        with open(name, "rb") as file:
            assert plan_hash(read_plan(file.read())) == one["plan_sha256"]
    assert "proposal 2" in done.stderr
    assert "warning: it is dark" in done.stderr
    assert "x-2.plan.json (draw 1; 1 repairs, 1 warnings)" in done.stderr
    done = raccord("plan", "A tale", "--proposals", 2)
    assert read_plan(done.stdout.encode()).title == "tale 0"
    assert raccord("plan", "A tale", "--proposals", 17).exit_code == 2


def test_a_story_the_planner_refuses_is_bad_input(tmp_path, told_story):
    done = raccord("plan", "refuse this", "-o", tmp_path / "x.json")
    assert done.exit_code == 2
    assert "the story names nothing" in done.stderr
    assert not (tmp_path / "x.json").exists()


def test_a_story_is_text_or_a_file_or_stdin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tale.txt").write_bytes("\ufeffÉmile et Zoé.\n".encode())
    assert read_story("tale.txt") == "Émile et Zoé.\n"
    assert read_story("Émile et Zoé.") == "Émile et Zoé."
    assert read_story("x" * 5000) == "x" * 5000
    assert read_story("no/such folder, but words") == "no/such folder, but words"
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    (tmp_path / "long.txt").write_text("x" * (cli.STORY_LIMIT_BYTES + 1))
    for bad, message in [
        ("nothing.txt", "there is no file"),
        ("latin.txt", "not UTF-8 text: byte 0 is 0xe9"),
        ("long.txt", "longer than"),
        (str(tmp_path), "is a folder"),
        ("\udce9", "not UTF-8"),
        (" \n", "is empty"),
        ("y" * (cli.STORY_LIMIT_BYTES + 1), "longer than"),
    ]:
        with pytest.raises(InputError, match=message):
            read_story(bad)


def test_a_missing_disk_or_a_busy_folder_is_3(tmp_path, plan_file, flat_model):
    (tmp_path / "file").write_text("")
    done = raccord("draw", plan_file, "--out", tmp_path / "file" / "x")
    assert done.exit_code == 3
    assert "cannot use the folder" in done.stderr


def test_a_bug_is_70_and_shows_where(tmp_path, plan_file, flat_model, monkeypatch):
    monkeypatch.setattr("raccord.planner.output.render_page", lambda *_: 1 / 0)
    done = raccord("draw", plan_file, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 70
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" in done.stderr
    assert json.loads(done.stdout)["error"]["type"] == "ZeroDivisionError"


def test_verify_says_same_then_finds_each_change(tmp_path, plan_file, flat_model):
    out = tmp_path / "out"
    raccord("draw", plan_file, "--out", out)
    done = raccord("verify", out)
    assert done.exit_code == 0
    assert "every pixel is the same" in done.stdout
    before = (out / "frame-02.png").read_bytes()

    with Image.open(out / "frame-02.png") as image:
        pixels = np.array(image)
    pixels[63, 63, 2] ^= 1
    Image.fromarray(pixels).save(out / "frame-02.png")
    document = json.loads(raccord("verify", out, "--json").stdout)
    assert (document["ok"], document["exit_code"], document["same"]) == (False, 1, False)
    assert [frame["status"] for frame in document["frames"]] == ["same", "altered"]
    assert raccord("verify", out, "--frame", "scene-0").exit_code == 0

    (out / "frame-02.png").write_bytes(before[:300])
    document = json.loads(raccord("verify", out, "--json").stdout)
    assert [frame["status"] for frame in document["frames"]] == ["same", "missing or damaged"]

    (out / "frame-02.png").write_bytes(before)
    text = (out / "manifest.json").read_text()
    (out / "manifest.json").write_text(text.replace('"threads": 1', '"threads": 8'))
    document = json.loads(raccord("verify", out, "--json").stdout)
    assert document["same"]
    assert document["expected"] == ["threads 8 -> 1"]


def test_verify_finds_another_plan_and_another_picture(tmp_path, plan_file, flat_model):
    out = tmp_path / "out"
    raccord("draw", plan_file, "--out", out)
    plan = read_plan((out / "plan.json").read_bytes())
    (out / "plan.json").write_bytes(write_plan(plan.model_copy(update={"seed": 1})))
    done = raccord("verify", out, "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 1
    assert not document["plan_same"]
    assert {frame["status"] for frame in document["frames"]} == {"different"}


def test_verify_does_not_let_a_manifest_choose_the_model(tmp_path, plan_file, flat_model):
    out = tmp_path / "out"
    raccord("draw", plan_file, "--out", out, "--model", "some/model")
    done = raccord("verify", out)
    assert done.exit_code == 2
    assert "--model some/model" in done.stderr
    assert raccord("verify", out, "--model", "some/model").exit_code == 0


def test_verify_writes_nothing(tmp_path, plan_file, flat_model):
    out = tmp_path / "out"
    raccord("draw", plan_file, "--out", out)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    raccord("verify", out)
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_draw_and_the_next_one_goes_on(tmp_path, plan_file, flat_model, number, code):
    out = tmp_path / "out"
    flat_model.delay = 0.05
    pid = os.fork()
    if pid == 0:
        done = raccord("draw", plan_file, "--out", out, "--steps", 40)
        (tmp_path / "stderr").write_text(done.stderr)
        os._exit(done.exit_code)
    deadline = time.monotonic() + 60
    # the manifest that names the first frame comes after the frame
    while not (out / manifests.NAME).exists() or not read_manifest(out).frames:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(pid, number)
    sent = time.monotonic()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    assert time.monotonic() - sent < 5
    assert f"stopped by {signal.Signals(number).name}" in (tmp_path / "stderr").read_text()
    assert not list(out.glob(".raccord-*.tmp"))
    flat_model.delay = 0.0
    assert raccord("draw", plan_file, "--out", out, "--steps", 40).exit_code == 0
    assert flat_model.drawn == ["scene-1"]


def test_doctor_reports_and_says_what_is_missing(monkeypatch):
    from raccord.planner import embedded

    def missing(name):
        raise embedded.EmbeddedModelError(f"{name}: no files")

    monkeypatch.setattr(embedded, "embedded_model", missing)
    done = raccord("doctor", "--json")
    document = json.loads(done.stdout)
    assert done.exit_code == 3
    assert any("stage: no files" in problem for problem in document["problems"])
    assert document["versions"]["torch"]
    assert {row["backend"] for row in document["backends"]} >= {"reference"}
    text = raccord("doctor")
    assert "PROBLEM" in text.stdout
    assert "backend    gaussian / reference: yes" in text.stdout

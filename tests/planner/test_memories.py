"""What casting found is kept in the story's folder: used when it fits, made again when it does not, never trusted."""

import hashlib
import json
import os
import shutil

import pytest
from typer.testing import CliRunner

from raccord.planner import manifest as manifests
from raccord.planner.cli import app
from raccord.planner.errors import InputError
from raccord.planner.manifest import read_manifest
from raccord.sampler.plan import write_plan


def raccord(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def draw(folder, plan, *options):
    file = folder.parent / "story.plan.json"
    file.write_bytes(write_plan(plan))
    done = raccord("draw", file, "--out", folder, *options)
    assert done.exit_code == 0, done.stderr
    return done.stderr


def memory(folder, entity):
    record = read_manifest(folder).memory(entity)
    assert record is not None
    return folder / record.file


def rewrite(folder, entity, data):
    """Other bytes for a memory, and a manifest that names them: a forger's folder."""
    path = memory(folder, entity)
    path.write_bytes(data)
    document = json.loads((folder / manifests.NAME).read_bytes())
    for entry in document["memories"]:
        if entry["entity"] == entity:
            entry.update(sha256=hashlib.sha256(data).hexdigest(), size=len(data))
    (folder / manifests.NAME).write_text(json.dumps(document))


def test_what_is_cast_is_not_cast_again(tmp_path, flat_model, make_plan):
    out = tmp_path / "out"
    draw(out, make_plan(2))
    assert flat_model.cast == ["fox", "lamp"]
    for record in read_manifest(out).memories:
        data = (out / record.file).read_bytes()
        assert (record.size, record.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    told = draw(out, make_plan(3))
    assert (flat_model.cast, flat_model.drawn) == ([], ["scene-2"])
    assert "kept 2 of 2 memories" in told


def test_only_the_entities_of_the_wanted_frames_are_cast(tmp_path, flat_model, make_plan):
    plan = make_plan(2)
    alone = plan.frames[0].model_copy(update={"items": plan.frames[0].items[:1]})
    plan = plan.model_copy(update={"frames": (alone, plan.frames[1])})
    draw(tmp_path / "out", plan, "--frame", "scene-0")
    assert flat_model.cast == ["fox"]
    draw(tmp_path / "out", plan)
    assert flat_model.cast == ["lamp"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "other bytes", "longer", "link", "not a memory"])
def test_a_damaged_memory_alone_is_cast_again(tmp_path, flat_model, make_plan, damage):
    out = tmp_path / "out"
    draw(out, make_plan(2))
    path = memory(out, "fox")
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(data[:-1])
    elif damage == "other bytes":
        path.write_bytes(data[:-1] + b"]")
    elif damage == "longer":
        path.write_bytes(data + b" ")
    elif damage == "link":
        shutil.copy(path, tmp_path / "elsewhere")
        path.unlink()
        path.symlink_to(tmp_path / "elsewhere")
    else:
        rewrite(out, "fox", b"{]")
    told = draw(out, make_plan(3))
    assert flat_model.cast == ["fox"]
    assert "casting again: fox" in told
    assert memory(out, "fox").read_bytes() == data
    assert not memory(out, "fox").is_symlink()
    assert raccord("verify", out).exit_code == 0


def test_a_damaged_memory_is_dropped_when_nothing_is_to_be_drawn(tmp_path, flat_model, make_plan):
    out = tmp_path / "out"
    draw(out, make_plan(2))
    memory(out, "fox").write_bytes(b"")
    assert "casting again: fox" in draw(out, make_plan(2))
    assert flat_model.cast == flat_model.drawn == []
    assert [record.entity for record in read_manifest(out).memories] == ["lamp"]
    assert len(list(out.glob("memory-*"))) == 1


def test_a_memory_follows_what_it_was_made_from(tmp_path, flat_model, make_plan):
    out, plan = tmp_path / "out", make_plan(2)
    draw(out, plan)
    told = draw(out, make_plan(2, seed=5))
    assert flat_model.cast == ["fox", "lamp"]
    assert "casting again: fox: its memory was made otherwise: seed 0 -> 5" in told
    assert len(list(out.glob("memory-*"))) == 2
    blue = plan.entities[0].model_copy(update={"card": "a blue fox"})
    told = draw(out, make_plan(2, seed=5, entities=(blue, plan.entities[1])))
    assert flat_model.cast == ["fox"]
    assert "card a red fox with a green scarf -> a blue fox" in told
    assert draw(out, make_plan(2, seed=5, entities=(blue, plan.entities[1])), "--steps", 3).count("casting again") == 2
    flat_model.machine["threads"] = 2
    draw(out, make_plan(2, seed=5, entities=(blue, plan.entities[1])), "--steps", 3)
    assert flat_model.cast == ["fox", "lamp"]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda p: {"seed": 3}, "frame scene-0: the plan's seed changed"),
        (lambda p: {"style": "ink"}, "frame scene-0: the plan's style changed"),
        (
            lambda p: {"frames": (p.frames[0].model_copy(update={"prompt": "x", "background": "y"}), *p.frames[1:])},
            "frame scene-0: its prompt, its background changed",
        ),
        (
            lambda p: {"entities": (p.entities[0].model_copy(update={"card": "a blue fox"}), *p.entities[1:])},
            "frame scene-0: the card of fox changed",
        ),
    ],
    ids=range(4),
)
def test_a_draw_says_what_changed_since_the_last_one(tmp_path, flat_model, make_plan, edit, told):
    plan = make_plan(2)
    draw(tmp_path / "out", plan)
    assert f"drawing again: {told}" in draw(tmp_path / "out", plan.model_copy(update=edit(plan)))


def test_the_memory_of_an_entity_that_left_goes_too(tmp_path, flat_model, make_plan):
    out, plan = tmp_path / "out", make_plan(2)
    draw(out, plan)
    frames = tuple(frame.model_copy(update={"items": frame.items[:1]}) for frame in plan.frames)
    draw(out, plan.model_copy(update={"entities": plan.entities[:1], "frames": frames}))
    assert [path.name for path in out.glob("memory-*")] == [memory(out, "fox").name]


def test_verify_finds_a_memory_that_was_changed(tmp_path, flat_model, make_plan):
    out = tmp_path / "out"
    draw(out, make_plan(2))
    data = memory(out, "fox").read_bytes()
    document = json.loads(raccord("verify", out, "--json").stdout)
    assert {one["entity"]: one["status"] for one in document["memories"]} == {"fox": "same", "lamp": "same"}
    memory(out, "fox").write_bytes(data[1:])
    done = raccord("verify", out)
    assert done.exit_code == 1
    assert "memory of fox: missing or damaged" in done.stdout
    rewrite(out, "fox", data + b" ")
    done = raccord("verify", out)
    assert done.exit_code == 1
    assert "memory of fox: different" in done.stdout


def test_a_folder_without_memories_is_read(tmp_path, flat_model, make_plan):
    out = tmp_path / "out"
    draw(out, make_plan(2))
    document = json.loads((out / manifests.NAME).read_bytes())
    del document["memories"]
    (out / manifests.NAME).write_text(json.dumps(document))
    assert raccord("verify", out).exit_code == 0
    draw(out, make_plan(3))
    assert flat_model.cast == ["fox", "lamp"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda entries: entries[0].update(file="../../etc/passwd"),
        lambda entries: entries[0].update(file="memory-0123456789abcdef.safetensors/../x"),
        lambda entries: entries[0].update(sha256="x"),
        lambda entries: entries[0].update(size="1"),
        lambda entries: entries[0].update(made_from=[]),
        lambda entries: entries[0].update(made_from={"seed": 1}),
        lambda entries: entries.append(entries[0]),
        lambda entries: entries.append(None),
        lambda entries: entries[0].pop("entity"),
    ],
    ids=range(9),
)
def test_hostile_entries_are_refused(tmp_path, flat_model, make_plan, edit):
    draw(tmp_path / "out", make_plan(2))
    path = tmp_path / "out" / manifests.NAME
    document = json.loads(path.read_bytes())
    edit(document["memories"])
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match="not a manifest that raccord wrote"):
        read_manifest(tmp_path / "out")


def test_a_memory_of_another_size_than_named_is_never_read(tmp_path, flat_model, make_plan):
    """A file of a terabyte of nothing, named with its size and a hash: refused before a byte is read."""
    out = tmp_path / "out"
    draw(out, make_plan(2))
    os.truncate(memory(out, "fox"), 1 << 40)
    document = json.loads((out / manifests.NAME).read_bytes())
    document["memories"][0]["size"] = 1 << 40
    (out / manifests.NAME).write_text(json.dumps(document))
    draw(out, make_plan(3))
    assert flat_model.cast == ["fox"]

"""The embedded models: the manifest guards them, and the planner turns stories it never saw into plans."""

import sys
from pathlib import Path

import pytest

from raccord.planner import language_model
from raccord.planner.direct import propose
from raccord.planner.embedded import MANIFEST, EmbeddedModelError, check_folder, embedded_model, manifest
from raccord.planner.language_model import load_language_model
from raccord.sampler.plan import read_plan, write_plan

if (_benchmarks := str(Path(__file__).resolve().parents[2] / "benchmarks")) not in sys.path:
    sys.path.insert(0, _benchmarks)

from stage.stories.story import story


@pytest.fixture
def folder(tmp_path):
    """A folder with a manifest and two files, one of them deeper."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "weights.safetensors").write_bytes(b"\x00\x01")
    (tmp_path / MANIFEST).write_text(manifest(tmp_path))
    return tmp_path


def test_an_untouched_folder_passes(folder):
    check_folder(folder)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "config.json").write_text("{ }"), "differs"),
        (lambda folder: (folder / "config.json").unlink(), "missing"),
        (lambda folder: (folder / "more.json").write_text("{}"), "not listed"),
        (lambda folder: (folder / MANIFEST).unlink(), "cannot be read"),
        (lambda folder: (folder / "adapters" / "weights.bin").write_bytes(b""), "can run code"),
        (lambda folder: (folder / "modeling.py").write_text(""), "can run code"),
        (lambda folder: (folder / "link.json").symlink_to(folder / "config.json"), "is a link"),
    ],
)
def test_any_change_is_refused(folder, harm, told):
    harm(folder)
    with pytest.raises(EmbeddedModelError, match=told):
        check_folder(folder)


def test_a_manifest_does_not_bless_formats_that_can_run_code(folder):
    (folder / "weights.PT").write_bytes(b"")
    with pytest.raises(EmbeddedModelError, match="can run code"):
        manifest(folder)


def test_there_are_two_embedded_models():
    with pytest.raises(EmbeddedModelError, match="'planner' and 'stage'"):
        embedded_model("../planner")


def test_the_embedded_planner_is_small_and_intact():
    folder = embedded_model("planner")
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 12_000_000


def test_the_embedded_planner_plans_stories_it_never_saw():
    model = load_language_model(embedded_model("planner"))
    right, looks = 0, 0
    for number in range(4):
        told = story(77, number, held_out=True)
        proposal = propose(told.text, model=model)
        plan = proposal.plan
        assert read_plan(write_plan(plan)) == plan
        assert len(plan.frames) == len(told.scene.frames)
        # The grammar asks for everybody who has a name.
        assert set(told.names) <= {entity.name for entity in plan.entities}
        expected = {(being.name, being.card) for being in told.scene.entities}
        right += len(expected & {(entity.name, entity.card) for entity in plan.entities})
        looks += len(expected)
    # A look at random would be right almost never.
    assert right >= looks / 2


def test_what_the_schema_forces_is_read_at_once_and_changes_no_word(monkeypatch):
    model = load_language_model(embedded_model("planner"))
    passes = []
    model.model.register_forward_hook(lambda *_: passes.append(1))
    story = "Lina is a red cat. Bo the blue dog sits left of Lina in the snow."
    quick = propose(story, model=model)
    assert len(passes) < quick.tokens / 3
    monkeypatch.setattr(language_model._Guide, "forced", lambda guide: [])
    slow = propose(story, model=model)
    assert slow.plan == quick.plan
    assert slow.tokens == quick.tokens

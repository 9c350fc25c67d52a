"""A planner by hub name: from a folder, from the hub's cache, and what is said when neither has it."""

from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from raccord.planner import direct
from raccord.planner.cli import app
from raccord.planner.hub import HubError, model_folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache; the hub is a port nobody listens on."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def fill(cache, name, files):
    """What `hf download` leaves behind, without links."""
    root = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    for path, data in files.items():
        target = root / "snapshots" / commit / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(data)
    return root / "snapshots" / commit


def test_a_folder_is_a_folder_whatever_the_hub_has(cache):
    fill(cache, "some/model", {"config.json": "{}"})
    Path("some/model").mkdir(parents=True)
    assert model_folder("some/model") == Path("some/model")
    assert model_folder(Path("./missing/../folder")) == Path("./missing/../folder")


@pytest.mark.parametrize("offline", [True, False])
def test_a_name_is_found_in_the_cache(cache, monkeypatch, offline):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    snapshot = fill(cache, "some/model", {"config.json": "{}", "adapters/base/adapter_config.json": "{}"})
    assert model_folder("some/model").resolve() == snapshot.resolve()


@pytest.mark.parametrize(
    ("offline", "why"), [(True, "HF_HUB_OFFLINE is set"), (False, "127.0.0.1:9 cannot be reached")]
)
def test_a_name_nobody_has_is_explained(cache, monkeypatch, offline, why):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(HubError, match=f"no folder some/model here, and .*{why}.*hf download some/model"):
        model_folder("some/model")
    done = CliRunner().invoke(app, ["plan", "A cat.", "--planner", "some/model"])
    assert done.exit_code == 3
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cached_model_is_the_one_that_is_loaded(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    snapshot = fill(cache, "some/planner", {"config.json": "{}", "adapters/base/adapter_config.json": "{}"})
    asked = []

    def load(folder, *, adapters, quantise):
        asked.append((folder.resolve(), adapters))
        raise direct.LanguageModelError("model: enough")

    monkeypatch.setattr(direct, "load_language_model", load)
    with pytest.raises(direct.DirectError, match="enough"):
        direct.direct("A cat sits.", model="some/planner")
    assert asked == [(snapshot.resolve(), ())]

"""Kept memories with a real UNet: a run killed after casting goes on without casting, to the same pixels."""

import dataclasses
import json
import os
import signal

import pytest
import torch

from raccord.planner import output
from raccord.planner.manifest import read_manifest
from raccord.planner.output import Settings, draw_into
from raccord.planner.progress import Progress
from raccord.planner.story_folder import StoryFolder, open_story_folder
from raccord.planner.verify import verify_folder
from raccord.sampler.calibration import Calibration

STEPS = 2
CALIBRATION = Calibration(guidance=3.0, casting_candidates=2, casting_steps=1)
CASTING_CALLS = CALIBRATION.casting_candidates * CALIBRATION.casting_steps + STEPS


@pytest.fixture
def model(tiny_pipe, tmp_path):
    """A model folder; one thread, so that a fork of this process can compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    tiny_pipe.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "raccord.json").write_text(json.dumps(dataclasses.asdict(CALIBRATION)))
    yield str(tmp_path / "model")
    torch.set_num_threads(threads)


@pytest.fixture
def opened(monkeypatch):
    """The stories that are opened, in order."""
    found = []
    real = output.open_story

    def recording(*arguments, **options):
        found.append(real(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(output, "open_story", recording)
    return found


def draw(path, plan, model):
    with open_story_folder(path) as folder:
        return draw_into(folder, plan, model=model, settings=Settings(steps=STEPS), progress=Progress(quiet=True))


def hashes(path):
    manifest = read_manifest(path)
    memories = {record.entity: (record.file, record.sha256) for record in manifest.memories}
    return {record.id: record.pixels_sha256 for record in manifest.frames}, memories


def killed(run, monkeypatch, name, count):
    """Run in a fork that kills itself in the `count`-th call of a method of `StoryFolder`."""
    pid = os.fork()
    if pid == 0:
        real, calls = getattr(StoryFolder, name), 0

        def killing(self, *arguments, **options):
            nonlocal calls
            calls += 1
            if calls == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *arguments, **options)

        setattr(StoryFolder, name, killing)
        run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_run_killed_after_casting_goes_on_without_casting(tmp_path, model, make_plan, opened, monkeypatch):
    plan = make_plan(2)
    draw(tmp_path / "whole", plan, model)
    whole = opened[-1].story.unet_calls
    reference = hashes(tmp_path / "whole")
    assert whole == 2 * CASTING_CALLS + 2 * STEPS

    # in the first frame, in the second one, and while the second entity's memory is handed over
    for name, count, spared in (("add", 1, 2), ("add", 2, 2), ("add_memory", 2, 1)):
        out = tmp_path / f"{name}-{count}"
        killed(lambda out=out: draw(out, plan, model), monkeypatch, name, count)
        drawn = len(read_manifest(out).frames)
        assert len(read_manifest(out).memories) == spared
        draw(out, plan, model)
        assert opened[-1].story.unet_calls == whole - spared * CASTING_CALLS - drawn * STEPS
        assert hashes(out) == reference

    verdict = verify_folder(tmp_path / "add-1", model=model, progress=Progress(quiet=True))
    assert verdict.same
    assert [one.status for one in verdict.memories] == ["same", "same"]


def test_a_frame_added_later_uses_the_kept_memories(tmp_path, model, make_plan, opened):
    draw(tmp_path / "whole", make_plan(3), model)
    draw(tmp_path / "grown", make_plan(2), model)
    draw(tmp_path / "grown", make_plan(3), model)
    assert opened[-1].story.unet_calls == STEPS
    assert hashes(tmp_path / "grown") == hashes(tmp_path / "whole")

"""SIGKILL at any moment: no partial file under a final name, and the next run ends with the same pixels."""

import contextlib
import hashlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
from PIL import Image
from typer.testing import CliRunner

from raccord.planner import embedded
from raccord.planner.cli import app
from raccord.planner.frame_png import decode_png, pixels_sha256
from raccord.planner.manifest import NAME, read_manifest
from raccord.planner.story_folder import memory_is_whole
from raccord.sampler.plan import read_plan, write_plan

KILLS = 20
STEPS = 2


def assert_whole(folder, size):
    """Every file under a final name is complete, and the manifest names only frames that are there."""
    for path in folder.glob("[!.]*"):
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".safetensors":
            assert_whole_memory(path)
        else:
            assert path.read_bytes().rstrip().endswith(b"</html>")
    if (folder / NAME).exists():
        assert all(memory_is_whole(folder, record) for record in read_manifest(folder).memories)
        for record in read_manifest(folder).frames:
            image = decode_png(folder / record.file, size=size)
            assert image is not None
            assert pixels_sha256(image) == record.pixels_sha256


def assert_whole_memory(path):
    data = path.read_bytes()
    if data.startswith(b"{"):
        json.loads(data)
    else:
        safetensors.torch.load(data)


def hashes(folder):
    return {record.id: record.pixels_sha256 for record in read_manifest(folder).frames}


def uniform(*key):
    """In [0, 1), keyed."""
    return int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest()) / 2**64


def draw(plan, folder):
    done = CliRunner().invoke(app, ["draw", str(plan), "--out", str(folder)])
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("moment", ["before the data is on disk", "before the name", "after the name"])
def test_a_kill_in_every_write_is_survived(tmp_path, flat_model, make_plan, moment):
    """The process kills itself in its k-th write, for every k, while a second plan replaces a first one."""
    plans = {name: make_plan(2, seed=seed) for name, seed in (("old", 1), ("new", 2))}
    for name, plan in plans.items():
        (tmp_path / f"{name}.json").write_bytes(write_plan(plan))
        draw(tmp_path / f"{name}.json", tmp_path / name)
    reference = hashes(tmp_path / "new")

    def killed_in(write, folder):
        """True when the run was killed, False when it ended before its `write`-th write."""
        pid = os.fork()
        if pid == 0:
            _kill_self_in(write, moment)
            draw(tmp_path / "new.json", folder)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code in (0, -signal.SIGKILL)
        return code != 0

    for write in range(1, 30):
        folder = tmp_path / f"run-{write}"
        shutil.copytree(tmp_path / "old", folder)
        if not killed_in(write, folder):
            break
        assert_whole(folder, plans["new"].size)
        draw(tmp_path / "new.json", folder)
        assert hashes(folder) == reference
        assert not list(folder.glob(".raccord-*.tmp"))
    # manifest, plan, two memories and two frames with a manifest each, sheet, page, manifest
    assert write == 1 + 13


def _kill_self_in(write, moment):
    name = "fsync" if moment == "before the data is on disk" else "replace"
    real, calls = getattr(os, name), 0

    def killing(*arguments):
        nonlocal calls
        # of the two syncs of a write the first is the file's
        calls += 1
        due = calls == (2 * write - 1 if name == "fsync" else write)
        if due and moment == "after the name":
            real(*arguments)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)

    setattr(os, name, killing)


# Importing torch and diffusers costs seconds: one process does it and forks for every run of the command.
_WARM = """
import os, sys
import torch, diffusers, transformers
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
import raccord.sampler.story, raccord.sampler.diffusers_pipeline, raccord.planner.output, jinja2
from raccord.planner.cli import main
print("warm", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_RDWR)
        log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(null, 0); os.dup2(null, 1); os.dup2(log, 2)
        sys.argv = line.rstrip("\\n").split("\\t")
        main()
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Warm:
    """Runs `raccord` commands in forks of one process that has imported everything."""

    def __init__(self, log):
        environment = {**os.environ, "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-c", _WARM, str(log)]
        self.log = log
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )
        assert self.process.stdin
        assert self.process.stdout
        self.orders, self.answers = self.process.stdin, self.process.stdout
        assert self.answers.readline() == "warm\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.orders.close()
        self.process.wait(60)
        self.answers.close()

    def run(self, *arguments, kill_after=None):
        """Exit code of the command and its wall seconds; it gets SIGKILL after `kill_after` seconds."""
        began = time.monotonic()
        self.orders.write("\t".join(["raccord", *map(str, arguments)]) + "\n")
        pid = int(self.answers.readline())
        if kill_after is not None:
            ended, _, _ = select.select([self.answers], [], [], kill_after)
            if not ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        return int(self.answers.readline()), time.monotonic() - began


def _stage():
    return Path(embedded.__file__).resolve().parent.parent / "models" / "stage"


@pytest.mark.skipif(
    not (_stage() / embedded.MANIFEST).exists(), reason="the embedded model models/stage is not in this checkout"
)
def test_twenty_random_kills_of_a_real_draw(tmp_path, make_plan):
    # one entity: casting is the smaller part of a run
    whole = make_plan(4)
    frames = tuple(frame.model_copy(update={"items": frame.items[:1]}) for frame in whole.frames)
    plan = make_plan(entities=whole.entities[:1], frames=frames)
    (tmp_path / "plan.json").write_bytes(write_plan(plan))
    # a copy, so that a new export of the model does not change it under the test
    shutil.copytree(_stage(), tmp_path / "stage")
    how = ("--steps", STEPS, "--model", tmp_path / "stage")
    landed, number = 0, 0
    with Warm(tmp_path / "log") as warm:

        def draw(folder, **options):
            return warm.run("draw", tmp_path / "plan.json", "--out", folder, *how, **options)

        code, seconds = draw(tmp_path / "whole")
        assert code == 0, warm.log.read_text()
        reference = hashes(tmp_path / "whole")
        assert len(reference) == 4
        # Killed runs go on in one folder until it is complete; then a new folder begins.
        for attempt in range(6 * KILLS):
            if landed == KILLS:
                break
            folder = tmp_path / f"run-{number}"
            code, took = draw(folder, kill_after=seconds * uniform("kill", attempt))
            assert code in (0, -signal.SIGKILL), warm.log.read_text()
            landed += code != 0
            if folder.exists():
                assert_whole(folder, plan.size)
            if code == 0:
                assert hashes(folder) == reference
                number += 1
                # the machine may have become faster, or the run had little left to do
                seconds = max(took, seconds / 2)
        assert landed == KILLS
        folder = tmp_path / f"run-{number}"
        code, _ = draw(folder)
        assert code == 0, warm.log.read_text()
    assert hashes(folder) == reference
    assert read_manifest(folder).complete
    assert read_plan((folder / "plan.json").read_bytes()) == plan

"""What is installed here, which backends work and why others do not, and whether drawing repeats."""

import os
import platform
import sys
from importlib.util import find_spec
from typing import Any

from raccord.planner.fingerprint import cpu_model, versions
from raccord.planner.progress import Progress

_OPTIONAL = ("triton", "xformers", "openai")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_PROBE_STEPS = 3


def examine(*, probe: bool = False, progress: Progress) -> dict[str, Any]:
    """A JSON-able report; `problems` names what keeps raccord from working, empty when nothing does.

    With `probe` two frames are drawn together and one of them again alone, on a fresh load of the embedded model.
    """
    with progress.stage("looking around"):
        problems: list[str] = []
        report: dict[str, Any] = {
            "versions": versions(),
            "optional": {name: find_spec(name) is not None for name in _OPTIONAL},
            "python": {"version": platform.python_version(), "executable": sys.executable},
            "machine": _machine(),
            "backends": _backends(),
            "models": {name: _model(name, problems) for name in ("stage", "planner")},
            "offline": {name: os.environ.get(name, "") for name in _OFFLINE},
        }
        missing = [name for name, version in report["versions"].items() if version is None]
        problems += [f"{name} is not installed: pip install {name}" for name in missing]
        report["problems"] = problems
    if probe:
        report["probe"] = _probe(progress) if not problems else "skipped: solve the problems first"
        if report["probe"] not in ("repeats",) and not problems:
            problems.append(f"determinism: {report['probe']}")
    return report


def as_lines(report: dict[str, Any]) -> list[str]:
    """The report for eyes."""
    machine = report["machine"]
    lines = [
        "versions   " + ", ".join(f"{name} {version or 'MISSING'}" for name, version in report["versions"].items()),
        "optional   " + ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in report["optional"].items()),
        f"python     {report['python']['version']}, {report['python']['executable']}",
        f"machine    {machine['cpu']}, {machine['threads']} threads, {machine['cpu_capability']}, {machine['system']}",
        f"device     {machine['device']}",
    ]
    for row in report["backends"]:
        verdict = "no: " + "; ".join(row["reasons"]) if row["reasons"] else f"yes {row['note']}".rstrip()
        lines.append(f"backend    {row['operation']} / {row['backend']}: {verdict}")
    lines += [f"model      {name}: {state}" for name, state in report["models"].items()]
    offline = [name for name, value in report["offline"].items() if value not in ("", "0")]
    lines.append(f"offline    {'yes: ' + ', '.join(offline) if offline else 'no: hub names may be fetched'}")
    if "probe" in report:
        lines.append(f"probe      {report['probe']}")
    lines += [f"PROBLEM    {problem}" for problem in report["problems"]]
    return lines


def _machine() -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": f"cuda: {torch.cuda.get_device_name()}" if cuda else "cpu (torch sees no CUDA device)",
    }


def _backends() -> list[dict[str, Any]]:
    from raccord.kernels.info import backends

    return [{**row._asdict(), "reasons": list(row.reasons)} for row in backends()]


def _model(name: str, problems: list[str]) -> str:
    from raccord.planner.embedded import EmbeddedModelError, embedded_model

    try:
        return f"{embedded_model(name)}: every file has its SHA-256"
    except EmbeddedModelError as error:
        problems.append(f"embedded model {name}: {error}")
        return f"unusable: {error}"


def _probe(progress: Progress) -> str:
    from raccord.planner.output import Settings, open_story
    from raccord.sampler.plan import Entity, Frame, Item, Plan

    thing = Entity(id="thing", name="Thing", card="a red ball")
    item = Item(entity="thing", box=(0.25, 0.25, 0.75, 0.75))
    frames = tuple(Frame(id=name, prompt="a red ball on grass", items=(item,)) for name in ("one", "two"))
    plan = Plan(size=(64, 64), entities=(thing,), frames=frames)
    alone = Plan(size=(64, 64), entities=(thing,), frames=frames[1:])
    hashes = []
    for wanted in (plan, alone):
        opened = open_story(wanted, model=None, settings=Settings(steps=_PROBE_STEPS), progress=progress)
        with progress.stage("drawing the probe"):
            drawn = [opened.story.frame(frame.id, progress=progress.step) for frame in wanted.frames]
        hashes.append(drawn[-1].pixels_sha256)
    return "repeats" if hashes[0] == hashes[1] else "one frame alone has other pixels than among others"

"""What `import raccord` and `raccord --help` cost, and what the package promises by name. Each in a fresh process."""

import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import raccord

ROOT = Path(__file__).parents[1]
SCRIPT = Path(sys.executable).with_name("raccord")
RUNS = 5
SECONDS = 0.5
HEAVY = ("torch", "diffusers", "transformers", "peft", "llguidance", "numpy", "scipy", "triton", "matplotlib")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    safe = {**os.environ, "PYTHONSAFEPATH": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=safe, cwd=ROOT, check=False)


def processor_seconds(*command: str) -> float:
    """Processor time of one run of `command`: unlike the wall clock it does not depend on who else is at work."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(
    "command", [(sys.executable, "-c", "import raccord"), (str(SCRIPT), "--help")], ids=["import", "help"]
)
def test_starting_takes_less_than_half_a_second(command):
    # the first run may write byte code
    processor_seconds(*command)
    assert statistics.median(processor_seconds(*command) for _ in range(RUNS)) < SECONDS


@pytest.mark.parametrize(
    "source",
    [
        "import raccord; dir(raccord)",
        "import raccord; raccord.__version__",
        "import raccord; raccord.Plan",
        "import raccord.kernels, raccord.sampler, raccord.planner",
        "import sys; sys.argv = ['raccord', '--help']\nfrom raccord.planner.cli import main\n"
        "try: main()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['raccord', 'story', '--help']\nfrom raccord.planner.cli import main\n"
        "try: main()\nexcept SystemExit: pass",
    ],
    ids=["dir", "version", "Plan", "floors", "help", "story-help"],
)
def test_starting_loads_nothing_heavy(source):
    report = f"{source}\nimport json, sys; print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    done = run(sys.executable, "-c", report)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_importing_raccord_imports_none_of_its_floors():
    done = run(sys.executable, "-c", "import sys, raccord; print([n for n in sys.modules if n.startswith('raccord.')])")
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", raccord.__all__)
def test_every_public_name_is_there(name):
    assert getattr(raccord, name) is not None
    assert name in dir(raccord)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'Plam'.*Plan"):
        raccord.Plam  # noqa: B018


def test_the_version_is_that_of_the_installed_distribution():
    assert run(sys.executable, "-c", "import raccord; print(raccord.__version__)").stdout.strip() == "0.1.0"


def test_our_kernels_cannot_be_taken_for_the_package_of_that_name():
    refused = run(sys.executable, "-c", "import kernels", PYTHONPATH=str(ROOT))
    assert refused.returncode == 1
    assert "raccord.kernels" in refused.stderr
    # with the safe path the root folder is not importable at all
    absent = run(sys.executable, "-c", "import kernels")
    assert "No module named 'kernels'" in absent.stderr


def test_pytest_puts_no_folder_of_ours_on_the_path():
    assert str(ROOT) not in sys.path
    assert not (ROOT / "conftest.py").exists()
    assert not list((ROOT / "tests").rglob("__init__.py"))

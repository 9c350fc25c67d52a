"""Mutation score of the schedules, predictions and steps, by mutmut, on a copy of the tree.

    .venv/bin/python benchmarks/mutation.py [--folder FOLDER]

Needs `pip install mutmut` (3.8 tried). Writes benchmarks/results/mutation.json. A mutant is killed when one of the
tests of these modules fails (or hangs) with it. The score is killed / (all - equivalent); equivalent mutants, which no
test can tell from the original, are listed below, each by its changed line and with its reason. Both scores are
written: with them left out, and counted as survivors.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "mutation.json"
MODULES = ("schedule", "prediction", "steps")
TESTS = ("test_schedule.py", "test_steps.py", "test_steps_prediction.py")

KILLED = ("killed", "timeout")

# (function, line taken out, line put in) -> why no test can see it
EQUIVALENT: dict[tuple[str, str, str], str] = {}

PYPROJECT = """
[tool.mutmut]
source_paths = ["raccord"]
only_mutate = [{modules}]
pytest_add_cli_args_test_selection = ["tests"]
use_git_change_detection = false
track_dependencies = false
use_setproctitle = false

[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
pythonpath = ["."]
"""

# the editable install would import the checkout instead of the mutants, and shrinking an example kills nobody
CONFTEST = """
import sys

from hypothesis import Phase, settings

sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
settings.register_profile("mutation", phases=[Phase.generate])
settings.load_profile("mutation")
"""


def lay_out(folder: Path) -> None:
    """The tree mutmut can handle: package folders named as they are imported, tests beside them."""
    package = folder / "raccord" / "sampler"
    package.mkdir(parents=True, exist_ok=True)
    (folder / "raccord" / "__init__.py").touch()
    (package / "__init__.py").touch()
    for module in MODULES:
        shutil.copy(ROOT / "sampler" / f"{module}.py", package)
    (folder / "tests").mkdir(exist_ok=True)
    for test in TESTS:
        shutil.copy(ROOT / "tests" / "sampler" / test, folder / "tests")
    (folder / "tests" / "conftest.py").write_text(CONFTEST)
    modules = ", ".join(f'"raccord/sampler/{module}.py"' for module in MODULES)
    (folder / "pyproject.toml").write_text(PYPROJECT.format(modules=modules))


def mutmut(folder: Path, *arguments: str) -> str:
    """Run mutmut in `folder` and give back what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed in {folder}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def verdicts(folder: Path) -> dict[str, str]:
    """Every mutant's name and what became of it."""
    lines = mutmut(folder, "results", "--all", "true").splitlines()
    return dict(line.strip().rsplit(": ", 1) for line in lines if ": " in line)


def change(folder: Path, mutant: str) -> tuple[str, str, str]:
    """Function, lines taken out, lines put in."""
    diff = mutmut(folder, "show", mutant).splitlines()
    out = [line[1:].strip() for line in diff if line.startswith("-") and not line.startswith("---")]
    put = [line[1:].strip() for line in diff if line.startswith("+") and not line.startswith("+++")]
    function = mutant.rsplit(".", 1)[1].removeprefix("x_").rsplit("__mutmut_", 1)[0]
    return function, " ".join(out), " ".join(put)


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutation score of the schedules, predictions and steps.")
    parser.add_argument(
        "--folder",
        type=Path,
        help="keep the copy here; a copy that is there already goes on, with changed functions and survivors run again",
    )
    kept = parser.parse_args().folder
    folder = kept or Path(tempfile.mkdtemp(prefix="raccord-mutation-"))
    earlier = verdicts(folder) if kept and (folder / "mutants").is_dir() else {}
    lay_out(folder)
    mutmut(folder, "run", "--max-children", "1")
    results = verdicts(folder)
    again = [name for name, verdict in results.items() if verdict == earlier.get(name) and verdict not in KILLED]
    if again:
        mutmut(folder, "run", "--max-children", "1", *again)
        results = verdicts(folder)
    unkilled = {name: verdict for name, verdict in results.items() if verdict not in KILLED}
    equivalent, survived = [], []
    for name, verdict in unkilled.items():
        function, out, put = change(folder, name)
        entry = {"mutant": name, "verdict": verdict, "function": function, "out": out, "in": put}
        reason = EQUIVALENT.get((function, out, put))
        (survived if reason is None else equivalent).append(entry | ({"reason": reason} if reason else {}))
    killed = len(results) - len(unkilled)
    report = {
        "tool": f"mutmut {metadata.version('mutmut')}",
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": "python benchmarks/mutation.py",
        "modules": [f"sampler/{module}.py" for module in MODULES],
        "tests": [f"tests/sampler/{test}" for test in TESTS],
        "mutants": len(results),
        "killed": killed,
        "survived": len(survived),
        "equivalent": len(equivalent),
        "score": round(killed / (len(results) - len(equivalent)), 4),
        "score_with_equivalent_as_survivors": round(killed / len(results), 4),
        "survivors": survived,
        "equivalents": equivalent,
    }
    temporary = RESULT.with_suffix(".json.partial")
    temporary.write_text(json.dumps(report, indent=2) + "\n")
    os.replace(temporary, RESULT)
    print(json.dumps({key: value for key, value in report.items() if not isinstance(value, list)}, indent=2))
    for entry in survived:
        print(f"{entry['verdict']}  {entry['mutant']}\n  - {entry['out']}\n  + {entry['in']}")
    if not kept:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

"""Import directions: planner -> sampler -> kernels, each outside library on its floor, nothing that runs data."""

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("kernels", "sampler", "planner")
FILES = sorted(path.relative_to(ROOT).as_posix() for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))

# What each floor may import of ours.
BELOW = {
    "kernels": ("raccord.kernels",),
    "sampler": ("raccord.sampler", "raccord.kernels"),
    # of the sampler only the plan and the doors that draw
    "planner": (
        "raccord.planner",
        "raccord.kernels",
        "raccord.sampler.plan",
        "raccord.sampler.plan_error",
        "raccord.sampler.story",
        "raccord.sampler.diffusers_pipeline",
    ),
}
# Where each outside library may be imported.
HOMES = {
    "diffusers": "sampler/diffusers_*.py",
    "transformers": "planner/**/*.py",
    "peft": "planner/**/*.py",
    "llguidance": "planner/**/*.py",
    "openai": "planner/remote_model.py",
    "typer": "planner/**/*.py",
    "triton": "kernels/**/triton.py",
}
RUNS_DATA = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "runpy"}
LOADERS = {"torch.load", "torch.hub", "np.load", "numpy.load"}
BUILTINS_THAT_RUN_TEXT = {"eval", "exec", "compile", "__import__"}


def matches(file: str, pattern: str) -> bool:
    """Whether `file` lies where `pattern` says; `**/` stands for any number of folders, none included."""
    path = PurePosixPath(file)
    return (
        path.match(pattern.replace("**/", ""))
        if "**/" not in pattern
        else (file.startswith(pattern.split("**/")[0]) and path.match(pattern.split("**/")[1]))
    )


def imported(tree: ast.AST, file: str) -> Iterator[tuple[int, str]]:
    """(line, full name) of everything imported, by statement or by a call with a fixed name."""
    package = ["raccord", *PurePosixPath(file).parts[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            home = ".".join([*start, *([node.module] if node.module else [])])
            # `from raccord.sampler import plan` may name a module: both readings must be allowed
            yield from ((node.lineno, f"{home}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from ((node.lineno, name) for name in names if isinstance(name, str))


def within(name: str, homes: tuple[str, ...]) -> bool:
    return any(name == home or name.startswith(f"{home}.") for home in homes)


def violations(file: str, source: str) -> list[str]:
    """Every import or call in `source` that `file`, a path below the root, may not hold."""
    floor = file.split("/")[0]
    tree = ast.parse(source, filename=file)
    found = []
    for line, name in imported(tree, file):
        top = name.split(".")[0]
        if top == "raccord" and not within(name, BELOW[floor]):
            found.append(f"{file}:{line} imports {name}; {floor} may import {', '.join(BELOW[floor])}")
        if top in FLOORS:
            found.append(f"{file}:{line} imports {name}; our floors are imported as raccord.{top}")
        if top in HOMES and not matches(file, HOMES[top]):
            found.append(f"{file}:{line} imports {name}; only {HOMES[top]} may")
        if top in RUNS_DATA or name in LOADERS:
            found.append(f"{file}:{line} imports {name}, which can run what it reads")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in BUILTINS_THAT_RUN_TEXT or called.startswith("builtins."):
                found.append(f"{file}:{node.lineno} calls {called}, which runs text")
        if isinstance(node, ast.Attribute) and ast.unparse(node) in (
            "torch.load",
            "torch.hub",
            "np.load",
            "numpy.load",
        ):
            found.append(f"{file}:{node.lineno} uses {ast.unparse(node)}, which can run what it reads")
    return found


def test_the_three_floors_are_there():
    assert {file.split("/")[0] for file in FILES} == set(FLOORS)


@pytest.mark.parametrize("file", FILES)
def test_every_file_keeps_to_its_floor(file):
    assert violations(file, (ROOT / file).read_text()) == []


BAD = [
    ("kernels/noise/reference.py", "import raccord.sampler.plan"),
    ("kernels/noise/reference.py", "from raccord import sampler"),
    ("kernels/noise/reference.py", "from raccord import Plan"),
    ("kernels/noise/reference.py", "from ...sampler import plan"),
    ("kernels/noise/reference.py", "def f():\n    from raccord.planner import cli"),
    ("kernels/noise/reference.py", "import importlib\nimportlib.import_module('raccord.planner.cli')"),
    ("kernels/noise/reference.py", "import triton"),
    ("kernels/noise/reference.py", "from triton import language as tl"),
    ("kernels/noise/triton.py", "from kernels.noise import table"),
    ("sampler/story.py", "import raccord.planner"),
    ("sampler/story.py", "from ..planner import cli"),
    ("sampler/story.py", "import diffusers"),
    ("sampler/story.py", "from diffusers.models import UNet2DConditionModel"),
    ("sampler/diffusers_schedulers.py", "import transformers"),
    ("sampler/text.py", "def f():\n    import peft"),
    ("sampler/steps.py", "import triton.language as tl"),
    ("planner/cli.py", "from raccord.sampler.steps import ddim_step"),
    ("planner/cli.py", "from raccord.sampler import regions"),
    ("planner/cli.py", "import diffusers"),
    ("planner/cli.py", "import pickle"),
    ("planner/cli.py", "from pickle import loads"),
    ("planner/model.py", "import torch\nstate = torch.load('x.pt')"),
    ("planner/model.py", "import torch\nread = torch.load"),
    ("planner/model.py", "from torch import load"),
    ("planner/model.py", "import torch\ntorch.hub.load('a', 'b')"),
    ("planner/model.py", "import numpy as np\nnp.load('x.npy', allow_pickle=True)"),
    ("sampler/story.py", "eval('1')"),
    ("sampler/story.py", "exec('x = 1')"),
    ("sampler/story.py", "compile('x = 1', 'f', 'exec')"),
    ("sampler/story.py", "import builtins\nbuiltins.eval('1')"),
]


@pytest.mark.parametrize(("file", "source"), BAD)
def test_what_is_forbidden_is_found(file, source):
    found = violations(file, source)
    assert found
    assert all(sentence.startswith(f"{file}:") for sentence in found)


GOOD = [
    ("kernels/noise/triton.py", "import triton\nimport triton.language as tl\nfrom raccord.kernels.noise import table"),
    (
        "sampler/diffusers_schedulers.py",
        "import diffusers\nfrom raccord.kernels.noise import gaussian",
    ),
    ("sampler/story.py", "import re\nimport torch\nre.compile('x')\nmodel.eval()\nfrom .plan import Plan"),
    ("sampler/bank.py", "import safetensors.torch\nsafetensors.torch.load(b'')"),
    ("planner/language_model.py", "import transformers, peft, llguidance\nfrom raccord.sampler.plan import Plan"),
    ("planner/output.py", "from raccord.sampler.story import draw"),
]


@pytest.mark.parametrize(("file", "source"), GOOD)
def test_what_is_allowed_is_not_found(file, source):
    assert violations(file, source) == []

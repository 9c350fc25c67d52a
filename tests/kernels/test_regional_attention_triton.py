"""Regional attention in Triton, without a GPU: its error in the interpreter, and what it compiles to."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from triton_ahead_of_time import TENSOR_CORE, over_budget

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def interpreted(*command):
    """What Python prints, with the interpreter on."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-P", *command], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_the_interpreter_errs_at_most_twice_as_much_as_the_reference():
    lines = interpreted(Path(__file__).with_name("triton_regional_attention_cases.py")).splitlines()
    assert len(lines) == 10
    assert [line for line in lines if not line.startswith("good ")] == []


def test_the_laws_of_the_gradient_hold_in_the_interpreter():
    cases = Path(__file__).with_name("triton_regional_attention_gradient_cases.py")
    # the warnings are numpy's, about infinities on the way
    options = ["-q", "-x", "-p", "no:cacheprovider", "-W", "ignore::RuntimeWarning"]
    assert "skipped" not in interpreted("-m", "pytest", *options, cases)


# one variant a head width; all four were compiled when the budget was made
VARIANTS = pytest.mark.parametrize(
    ("head_width", "joint", "lse"), [(40, False, True), (64, True, False), (80, False, False), (160, True, True)]
)


@pytest.mark.parametrize("architecture", TENSOR_CORE)
@pytest.mark.parametrize("gradient", [False, True])
@VARIANTS
def test_the_code_keeps_its_budget(architecture, gradient, head_width, joint, lse, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from raccord.kernels.regional_attention import triton as forward
    from raccord.kernels.regional_attention.gradient import triton as backward

    kernel, home = (backward._differentiate, backward) if gradient else (forward._attend, forward)
    types = dict.fromkeys([name for name in kernel.arg_names if name.endswith("_ptr")], "*bf16")
    types |= dict.fromkeys(["weight_ptr", "lse_gradient_ptr" if gradient else "lse_ptr"], "*fp32")
    types |= {"segments_ptr": "*i32", "scale": "fp32"}
    constants, options = home.constants(head_width, joint=joint, lse=lse), home.options(head_width)
    entry = ("regional_attention_gradient" if gradient else "regional_attention", str(head_width))
    assert over_budget(kernel, architecture, types, constants, options, entry=entry) == {}

"""Entity attention in Triton, without a GPU: its laws in the interpreter, and what it compiles to."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from triton_ahead_of_time import TENSOR_CORE, over_budget

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def test_its_laws_hold_in_the_interpreter():
    cases = Path(__file__).with_name("triton_entity_attention_cases.py")
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore::RuntimeWarning",
        cases,
    ]
    # the warnings are numpy's, about the infinities and what is not a number in some cases
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TRITON_INTERPRET": "1"})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "skipped" not in ran.stdout


@pytest.mark.parametrize("architecture", TENSOR_CORE)
@pytest.mark.parametrize("head_width", [40, 64, 80, 160])
def test_the_code_keeps_its_budget(architecture, head_width, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from raccord.kernels.entity_attention.triton import OPTIONS, _attend, constants

    types = dict.fromkeys([name for name in _attend.arg_names if name.endswith("_ptr")], "*bf16")
    types |= dict.fromkeys(["order_ptr", "start_ptr", "bank_segments_ptr"], "*i32")
    types |= {"visible_ptr": "*u8", "scale": "fp32", "bank_bias": "fp32"}
    entry = ("entity_attention", str(head_width))
    assert over_budget(_attend, architecture, types, constants(head_width), OPTIONS, entry=entry) == {}

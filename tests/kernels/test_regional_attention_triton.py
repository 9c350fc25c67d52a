"""Regional attention in Triton: its error beside the reference's, in the interpreter, without a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def test_the_interpreter_errs_at_most_twice_as_much_as_the_reference():
    cases = Path(__file__).with_name("triton_regional_attention_cases.py")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-P", str(cases)], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 10
    assert [line for line in lines if not line.startswith("good ")] == []

"""Regional attention in Triton, without a GPU: its error in the interpreter, and what it compiles to."""

import importlib.util
import json
import os
import re
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


BUDGET = json.loads(Path(__file__).with_name("triton_budget.json").read_text())
# what multiplies matrices there
TENSOR_CORE = {"sm_80": "mma.sync", "sm_90": "wgmma.mma_async", "sm_100": "tcgen05.mma", "gfx942": "v_mfma"}


def compiled(architecture, head_width, *, joint, lse):
    """bfloat16, for strides and pointers that are multiples of 16, as those of the models are."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from raccord.kernels.regional_attention.triton import _attend, constants, options

    names, fixed = _attend.arg_names, constants(head_width, joint=joint, lse=lse)
    types = dict.fromkeys(names, "i32") | dict.fromkeys(fixed, "constexpr")
    types |= dict.fromkeys(["out_ptr", "query_ptr", "key_ptr", "value_ptr"], "*bf16")
    types |= {"segments_ptr": "*i32", "weight_ptr": "*fp32", "lse_ptr": "*fp32", "scale": "fp32"}
    aligned = [index for index, name in enumerate(names) if name.endswith("_ptr") or name.startswith("stride")]
    source = ASTSource(_attend, types, fixed, {(index,): [["tt.divisibility", 16]] for index in aligned})
    nvidia = architecture.startswith("sm_")
    target = GPUTarget("cuda", int(architecture[3:]), 32) if nvidia else GPUTarget("hip", architecture, 64)
    return triton.compile(source, target=target, options=options(head_width))


def resources(kernel, folder):
    """(registers a thread, bytes spilled a thread)."""
    import triton

    if "amdgcn" in kernel.asm:
        found = dict(re.findall(r"\.([sv]gpr_(?:spill_)?count):\s*(\d+)", kernel.asm["amdgcn"]))
        return int(found["vgpr_count"]), 4 * (int(found["vgpr_spill_count"]) + int(found["sgpr_spill_count"]))
    binary = folder / "kernel.cubin"
    binary.write_bytes(kernel.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    printed = subprocess.run([tool, "-res-usage", binary], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", printed))
    return int(found["REG"]), int(found["STACK"]) + int(found["LOCAL"])


@pytest.mark.parametrize("architecture", TENSOR_CORE)
@pytest.mark.parametrize(
    ("head_width", "joint", "lse"), [(40, False, True), (64, True, False), (80, False, False), (160, True, True)]
)
def test_the_code_keeps_its_budget(architecture, head_width, joint, lse, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    kernel = compiled(architecture, head_width, joint=joint, lse=lse)
    registers, spilled = resources(kernel, tmp_path)
    code = kernel.asm.get("ptx") or kernel.asm["amdgcn"]
    assert code.count(TENSOR_CORE[architecture]) > 0
    used = {"registers": registers, "spilled": spilled, "shared": kernel.metadata.shared}
    budget = BUDGET["regional_attention"][architecture][str(head_width)]
    assert {name: amount for name, amount in used.items() if amount > budget[name]} == {}

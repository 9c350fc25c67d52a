"""The guided step in Triton: its bits in the interpreter, and the machine code it compiles to, without a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def test_the_interpreter_gives_the_bits_of_the_reference():
    cases = Path(__file__).with_name("triton_guided_step_cases.py")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-P", str(cases)], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 30
    assert [line for line in lines if not line.startswith("0 of ")] == []


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_no_multiply_add_is_fused_in_the_code_for_nvidia(capability, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from raccord.kernels.guided_step.triton import _guided_step_kernel

    floats = ["out_ptr", "sample_ptr", "guidance_ptr", "table_ptr", "noise_ptr"]
    pointers = dict.fromkeys(floats, "*fp32") | dict.fromkeys(["uncond_ptr", "cond_ptr"], "*bf16")
    pointers |= {"coefficients_ptr": "*fp64", "streams_ptr": "*i64"}
    integers = dict.fromkeys(
        ["channels", "height", "width", "row_blocks", "tiles", "guidance_stride", "coefficients_stride"], "i32"
    )
    constants = {"MAP": True, "KEYED": True, "GIVEN": False, "BLOCKS": 256}
    names = _guided_step_kernel.arg_names
    types = pointers | integers | dict.fromkeys(constants, "constexpr")
    source = ASTSource(_guided_step_kernel, {name: types[name] for name in names}, constants)

    def instructions(fusion: bool) -> str:
        target = GPUTarget("cuda", capability, 32)
        binary = tmp_path / f"{fusion}.cubin"
        binary.write_bytes(triton.compile(source, target=target, options={"enable_fp_fusion": fusion}).asm["cubin"])
        tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
        return subprocess.run([tools / "nvdisasm", binary], capture_output=True, text=True, check=True).stdout

    separate = instructions(fusion=False)
    assert "DMUL" in separate
    assert "DADD" in separate
    assert "FFMA" not in separate
    assert "DFMA" not in separate
    if capability == 90:
        # The option is what does it: without it the compiler fuses.
        assert "DFMA" in instructions(fusion=True)

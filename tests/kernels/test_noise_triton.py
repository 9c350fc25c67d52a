"""Normal noise in Triton: its bits in the interpreter, and the machine code it compiles to, without a GPU."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


def test_the_interpreter_gives_the_bits_of_the_reference():
    cases = Path(__file__).with_name("triton_noise_cases.py")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    ran = subprocess.run([sys.executable, "-P", str(cases)], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 8
    assert [line for line in lines if not line.startswith("0 of ")] == []


@pytest.mark.parametrize("capability", [80, 90])
def test_no_multiply_add_is_fused_in_the_code_for_nvidia(capability, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from raccord.kernels.noise.triton import _gaussian_kernel

    pointers = {"out_ptr": "*fp32", "streams_ptr": "*i64", "table_ptr": "*fp32"}
    integers = dict.fromkeys(["channels", "height", "width", "row_blocks", "tiles"], "i32")
    source = ASTSource(_gaussian_kernel, {**pointers, **integers, "BLOCKS": "constexpr"}, {"BLOCKS": 256})

    def instructions(fusion: bool) -> str:
        target = GPUTarget("cuda", capability, 32)
        binary = tmp_path / f"{fusion}.cubin"
        binary.write_bytes(triton.compile(source, target=target, options={"enable_fp_fusion": fusion}).asm["cubin"])
        tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
        return subprocess.run([tools / "nvdisasm", binary], capture_output=True, text=True, check=True).stdout

    separate = instructions(fusion=False)
    assert "FMUL" in separate
    assert "FADD" in separate
    assert "FFMA" not in separate
    if capability == 90:
        # The option is what does it: without it the compiler fuses.
        assert "FFMA" in instructions(fusion=True)

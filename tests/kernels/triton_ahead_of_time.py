"""Triton kernels compiled without a GPU, and what their code uses, beside triton_budget.json."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

#: architecture -> what multiplies matrices there
TENSOR_CORE = {"sm_80": "mma.sync", "sm_90": "wgmma.mma_async", "sm_100": "tcgen05.mma", "gfx942": "v_mfma"}

_BUDGET = json.loads(Path(__file__).with_name("triton_budget.json").read_text())


def over_budget(kernel, architecture, types, constants, options, *, entry):
    """What the code of a kernel uses beyond its entry (kernel's name, variant) of the budget: nothing if all is well.

    Args:
        types: argument -> type of its values; what is not named and no constant is an int32.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    signature = dict.fromkeys(names, "i32") | types | dict.fromkeys(constants, "constexpr")
    # strides and pointers that are multiples of 16, as those of the models are
    aligned = [index for index, name in enumerate(names) if name.endswith("_ptr") or name.startswith("stride")]
    source = ASTSource(kernel, signature, constants, {(index,): [["tt.divisibility", 16]] for index in aligned})
    nvidia = architecture.startswith("sm_")
    target = GPUTarget("cuda", int(architecture[3:]), 32) if nvidia else GPUTarget("hip", architecture, 64)
    compiled = triton.compile(source, target=target, options=options)
    registers, spilled = _resources(compiled)
    code = compiled.asm.get("ptx") or compiled.asm["amdgcn"]
    used = {"registers": registers, "spilled": spilled, "shared": compiled.metadata.shared}
    name, variant = entry
    budget = _BUDGET[name][architecture][variant]
    over = {what: amount for what, amount in used.items() if amount > budget[what]}
    return over if TENSOR_CORE[architecture] in code else {**over, "tensor core instructions": 0}


def _resources(compiled):
    """(registers a thread, bytes spilled a thread)."""
    import triton

    if "amdgcn" in compiled.asm:
        found = dict(re.findall(r"\.([sv]gpr_(?:spill_)?count):\s*(\d+)", compiled.asm["amdgcn"]))
        return int(found["vgpr_count"]), 4 * (int(found["vgpr_spill_count"]) + int(found["sgpr_spill_count"]))
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as binary:
        binary.write(compiled.asm["cubin"])
        binary.flush()
        printed = subprocess.run([tool, "-res-usage", binary.name], capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", printed))
    return int(found["REG"]), int(found["STACK"]) + int(found["LOCAL"])

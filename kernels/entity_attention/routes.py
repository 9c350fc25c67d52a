"""Which backend was measured to be fastest: where a row says so, it goes before the order of `OPERATION.backends`.

Keyed by (architecture, head width D, positions N, dtype), never by the batch, so that a frame's bits do not depend on
how many are drawn with it. A row is written only after benchmarks/bench_entity_attention.py (CPU) or bench_gpu.py
(CUDA) has found a backend faster than the default one for every number of frames; no row is a guess.
"""

import functools

import torch

from raccord.kernels import _native

#: Empty: on the CPUs measured (AVX-512, AVX512-BF16, AMX) the C++ kernel was fastest everywhere; no GPU was measured.
FASTEST: dict[tuple[str, int, int, torch.dtype], str] = {}


def fastest(device: torch.device, head_width: int, positions: int, dtype: torch.dtype) -> str | None:
    """The backend that was measured to be fastest for such a call; None where nothing was, or the default is."""
    return FASTEST.get((architecture(device), head_width, positions, dtype))


@functools.cache
def architecture(device: torch.device) -> str:
    """`sm_90` and the like on CUDA, else the device's type and, on the CPU, its instruction set, such as `cpu amx`."""
    if device.type == "cuda":
        return "sm_{}{}".format(*torch.cuda.get_device_capability(device))
    return f"cpu {_native.levels()[1][-1]}" if device.type == "cpu" and not _native.reasons() else device.type

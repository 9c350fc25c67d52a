"""Which versions and which machine drew a picture: within one fingerprint equal pixels are promised."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

_LIBRARIES = ("raccord", "torch", "diffusers", "transformers", "peft", "safetensors", "numpy", "pillow")


def versions() -> dict[str, Any]:
    """Installed versions by name, of raccord and of the libraries that touch a pixel; None where one is missing."""
    found: dict[str, Any] = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found["noise_version"] = _noise_version()
    found["python"] = platform.python_version()
    return found


def fingerprint(pipe: Any = None) -> dict[str, Any]:
    """What, besides the plan, the settings and the versions, decides the bits of a picture on this machine.

    `pipe` is a loaded diffusers pipeline (its device and dtype enter); without one, the default device is described.
    """
    import torch

    unet = getattr(pipe, "unet", None)
    device = torch.device(getattr(unet, "device", "cpu"))
    found = {
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "dtype": str(getattr(unet, "dtype", torch.float32)).removeprefix("torch."),
    }
    found["kernels"] = _kernels()
    found["cpu_level"] = _cpu_level()
    if device.type == "cuda":
        found["device_name"] = torch.cuda.get_device_name(device)
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between two fingerprints, as "threads 1 -> 2"; empty when equal pixels are promised."""
    changed = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
    return [f"{key} {then.get(key)} -> {now.get(key)}" for key in changed]


def cpu_model() -> str:
    """The processor's name as Linux reports it, else as Python does."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _kernels() -> dict[str, str]:
    from raccord.kernels.info import backends

    chosen: dict[str, str] = {}
    for row in backends():
        if not row.reasons:
            chosen.setdefault(row.operation, row.backend)
    forced = os.environ.get("RACCORD_BACKEND")
    return dict.fromkeys(chosen, forced) if forced else chosen


def _cpu_level() -> str | None:
    """The instruction set that the C++ kernels use, on which their bits in bfloat16 depend; None without them."""
    from raccord.kernels import _native

    return None if _native.reasons() else _native.levels()[1][-1]


def _noise_version() -> int:
    from raccord.kernels import noise

    return noise.NOISE_VERSION

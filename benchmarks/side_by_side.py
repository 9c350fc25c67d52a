"""Timing rivals side by side on a machine that others use too.

Rounds alternate between the rivals, each round a block of calls of about the same length, and a ratio is taken within a
round, where the machine was equally busy for both. Time is the process's CPU time, which does not run while others have
the core; so everything must be measured with one thread. What is reported is the median of the rounds' ratios and their
quartiles, beside each rival's median and smallest time a call.
"""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def compare(
    rivals: Mapping[str, Callable[[], Any]], *, ours: str, rounds: int = 15, seconds: float = 0.02
) -> dict[str, dict[str, float]]:
    """Time all rivals; rival -> median_us, min_us, and for others than `ours` speedup, speedup_low, speedup_high.

    Args:
        rivals: name -> what to call; each is called once beforehand.
        ours: whose speed is compared: speedup = rival's time / our time.
        rounds: how often the rivals take turns.
        seconds: length of one block of calls.
    """
    calls = {}
    for name, call in rivals.items():
        call()
        began = time.process_time()
        call()
        calls[name] = max(1, round(seconds / (time.process_time() - began)))
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, call in rivals.items():
            began = time.process_time()
            for _ in range(calls[name]):
                call()
            times[name].append((time.process_time() - began) / calls[name])
    found: dict[str, dict[str, float]] = {}
    for name, values in times.items():
        found[name] = {"median_us": 1e6 * statistics.median(values), "min_us": 1e6 * min(values)}
        if name != ours:
            ratios = [theirs / our for theirs, our in zip(values, times[ours], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            found[name] |= {"speedup": middle, "speedup_low": low, "speedup_high": high}
    return found


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import torch

    from raccord.kernels import _native

    names = [line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "levels": _native.levels()[1] if not _native.reasons() else [],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True
        ).stdout.strip(),
        "load": list(os.getloadavg()),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []

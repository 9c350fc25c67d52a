"""diffusers' own scheduler tests, run against raccord's schedulers.

    .venv/bin/python benchmarks/run_diffusers_suite.py PATH

PATH is a checkout of github.com/huggingface/diffusers (its tests are not in the PyPI package). Needs
`pip install parameterized requests-mock scipy torchsde`. Each test class is subclassed at run time with our scheduler
in place of theirs, default options throughout, and run a second time unchanged, to tell a difference of ours from a
test that cannot run here. Exit code 0 when every test passes or is a known difference.
"""

import argparse
import importlib
import json
import sys
import unittest
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

SUITES = {
    "DDIMSchedulerTest": ("tests.schedulers.test_scheduler_ddim", "DDIMScheduler"),
    "DDPMSchedulerTest": ("tests.schedulers.test_scheduler_ddpm", "DDPMScheduler"),
}

# what ours does otherwise on purpose
ZERO_SNR = (
    "asks for rescale_betas_zero_snr=True with epsilon prediction, whose first step divides by zero; raccord refuses"
    " the pair at construction"
)
KNOWN = {
    ("DDIMSchedulerTest", "test_rescale_betas_zero_snr"): ZERO_SNR,
    ("DDPMSchedulerTest", "test_rescale_betas_zero_snr"): ZERO_SNR,
    ("DDPMSchedulerTest", "test_full_loop_with_noise"): (
        "its golden sum 387.9466 over timesteps 1 and 0 carries the error of float32 tables there (5e-5): computed in"
        " float64 the sum is 387.9673, and so is raccord's"
    ),
}


class Verdicts(unittest.TestResult):
    """The outcome of each test by name: "pass", "skip", or the last line of what it raised."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome: dict[str, str] = {}

    def addSuccess(self, test):  # noqa: N802
        self.outcome.setdefault(test.id().rsplit(".", 1)[1], "pass")

    def addSkip(self, test, reason):  # noqa: N802
        self.outcome[test.id().rsplit(".", 1)[1]] = "skip"

    def addFailure(self, test, err):  # noqa: N802
        self.addError(test, err)

    def addError(self, test, err):  # noqa: N802
        message = str(err[1]).splitlines() or [""]
        self.outcome[test.id().rsplit(".", 1)[1]] = f"{type(err[1]).__name__}: {message[0]}"

    def addSubTest(self, test, subtest, err):  # noqa: N802
        if err is not None:
            self.addError(test, err)


def run(case: type[unittest.TestCase]) -> dict[str, str]:
    """Outcomes of every test of a class."""
    verdicts = Verdicts()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        unittest.defaultTestLoader.loadTestsFromTestCase(case).run(verdicts)
    return verdicts.outcome


def main() -> int:
    parser = argparse.ArgumentParser(description="diffusers' own scheduler tests, run against raccord's.")
    parser.add_argument("path", type=Path, help="a checkout of diffusers")
    path = parser.parse_args().path.resolve()
    if not (path / "tests" / "schedulers" / "test_scheduler_ddim.py").is_file():
        parser.error(f"{path} holds no tests/schedulers/test_scheduler_ddim.py: give the root of a diffusers checkout")
    sys.path.insert(0, str(path))
    import diffusers

    from raccord.sampler import diffusers_schedulers

    print(f"diffusers {diffusers.__version__}, tests from {path}")
    unexpected = 0
    result: dict[str, Any] = {"command": "benchmarks/run_diffusers_suite.py PATH", "diffusers": diffusers.__version__}
    for name, (module, scheduler) in SUITES.items():
        theirs = getattr(importlib.import_module(module), name)
        ours = type(f"Raccord{name}", (theirs,), {"scheduler_classes": (getattr(diffusers_schedulers, scheduler),)})
        baseline, outcome = run(theirs), run(ours)
        counts = {"pass": 0, "known difference": 0, "fails with diffusers too": 0, "skip": 0, "FAIL": 0}
        lines = []
        for test, verdict in sorted(outcome.items()):
            kind = verdict
            if verdict not in ("pass", "skip"):
                reason = KNOWN.get((name, test))
                kind = "known difference" if reason else "fails with diffusers too"
                if not reason and baseline[test] == "pass":
                    kind = "FAIL"
                lines.append(f"  {test}: {kind}: {reason or verdict}")
            counts[kind] += 1
        unexpected += counts["FAIL"]
        result[name] = {kind: count for kind, count in counts.items() if count}
        result[name]["differences"] = [line.strip() for line in lines]
        passed = sum(verdict == "pass" for verdict in baseline.values())
        print(f"{name}: {counts['pass']} of {len(outcome)} pass with raccord, {passed} with diffusers")
        print("\n".join([f"  {kind}: {count}" for kind, count in counts.items() if count and kind != "pass"] + lines))
    (ROOT / "benchmarks" / "results" / "diffusers_suite.json").write_text(json.dumps(result, indent=1) + "\n")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())

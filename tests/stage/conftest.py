"""The stage is a package of `benchmarks/`, which is not installed: put that folder, and nothing else, on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

#!/usr/bin/env bash
# `make story` as a newcomer runs it: clone HEAD into a temporary folder, time it, keep the figures and the pictures.
#     benchmarks/fresh_clone.sh [FOLDER FOR THE PICTURES]
set -euo pipefail
root=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone --quiet "$root" "$work/raccord"
cd "$work/raccord"
began=$(date +%s.%N)
make story
whole=$(date +%s.%N)
PYTHONSAFEPATH=1 .venv/bin/raccord draw out/story/plan.json --out out/again
drawn=$(date +%s.%N)
PYTHONSAFEPATH=1 .venv/bin/python - "$began" "$whole" "$drawn" "$root" <<'PYTHON'
import json, os, sys
from pathlib import Path

began, whole, drawn = map(float, sys.argv[1:4])
first, again = (json.loads(Path(f"out/{name}/manifest.json").read_text()) for name in ("story", "again"))
pixels = [[frame["pixels_sha256"] for frame in manifest["frames"]] for manifest in (first, again)]
result = {
    "command": "benchmarks/fresh_clone.sh",
    "cores": len(os.sched_getaffinity(0)),
    "frames": len(pixels[0]),
    "make_story_seconds": round(whole - began, 1),
    "draw_again_seconds": round(drawn - whole, 1),
    "same_pixels_when_drawn_again": pixels[0] == pixels[1],
}
Path(sys.argv[4], "benchmarks", "results", "story.json").write_text(json.dumps(result, indent=1) + "\n")
print(json.dumps(result, indent=1))
PYTHON
if [ $# -gt 0 ]; then mkdir -p "$1" && cp -r out/story/. "$1"; fi

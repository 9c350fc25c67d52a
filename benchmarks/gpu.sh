#!/usr/bin/env bash
# Tests marked gpu; then the kernels beside their rivals (gpu.json); then the UNet step, planned beside plain.
#     benchmarks/gpu.sh [FOLDER FOR THE RESULTS]
# MINUTES (4) is how long the kernels are timed. FLEX=--flex adds FlexAttention, which compiles for minutes.
# The stage model trains apart and resumes: $PYTHON -P benchmarks/stage/make.py --config h200 --workers 16
# Needs raccord and its dependencies importable by $PYTHON (default: .venv's). Not yet run on a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=${1:-benchmarks/results}
export PYTHONSAFEPATH=1
mkdir -p "$out"
"$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"; print(torch.cuda.get_device_name())'
"$python" -m pytest -m gpu -q tests/test_gpu.py
"$python" benchmarks/bench_gpu.py --minutes "${MINUTES:-4}" ${FLEX:-} | tee "$out/gpu.log"
[ "$out" -ef benchmarks/results ] || cp benchmarks/results/gpu.json "$out/"
for model in sd15 sd21 sdxl; do
  "$python" benchmarks/bench_unet.py --model "$model" --rounds 20 --profile | tee "$out/unet-$model.log"
  cp benchmarks/results/unet.json "$out/unet-$model-gpu.json"
done

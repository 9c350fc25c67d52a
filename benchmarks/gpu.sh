#!/usr/bin/env bash
# All that needs a GPU, in one run under 10 minutes: tests marked gpu, kernels beside their rivals, the UNet step.
#     benchmarks/gpu.sh [FOLDER FOR THE RESULTS]
# The stage model trains apart, about 25 minutes in calls that resume: make stage CONFIG=h200
# Needs raccord and its dependencies importable by $PYTHON (default: .venv's). Not yet run on a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=${1:-benchmarks/results}
export PYTHONSAFEPATH=1
"$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"; print(torch.cuda.get_device_name())'
"$python" -m pytest -m gpu -q tests/test_gpu.py
for model in sd15 sd21 sdxl; do
  "$python" benchmarks/bench_unet.py --model "$model" --rounds 20 --profile | tee "$out/unet-$model.log"
  cp benchmarks/results/unet.json "$out/unet-$model-gpu.json"
done

#!/usr/bin/env bash
# Tests marked gpu, then the UNet step, planned beside plain; the kernels' own benchmarks are for the CPU so far.
#     benchmarks/gpu.sh [FOLDER FOR THE RESULTS]
# The stage model trains apart and resumes: $PYTHON -P benchmarks/stage/make.py --config h200 --workers 16
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

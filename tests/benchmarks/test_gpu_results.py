"""The GPU benchmark's file, written by its own functions with made-up times, as benchmarks/results.py shows it."""

import json
import math
import sys
import time
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import bench_gpu
import results

#: us of a call, by its name.
TIMES = {"raccord": 10.0, "SDPA dense mask": 26.0, "SDPA gather": 12.6, "diffusers": 80.0, "FlexAttention": 20.0}


@pytest.fixture(autouse=True)
def _device_and_clock_of_ours(monkeypatch):
    testing = pytest.importorskip("triton.testing")

    def quantiles(call, **_):
        return [1e-3 * TIMES[call()] * factor for factor in (0.9, 1.0, 1.2)]

    def in_graph(call, **_):
        if call() == "SDPA gather":
            raise RuntimeError("operation not permitted when stream is capturing")
        return 1e-3 * TIMES[call()] / 2

    monkeypatch.setattr(testing, "do_bench", quantiles)
    monkeypatch.setattr(testing, "do_bench_cudagraph", in_graph)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU that is made up")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(bench_gpu, "roof", lambda: {"copy TB/s": 4.2, "product TFLOP/s": 700.0})


def source(about, *rivals):
    for frames in (4, 8):
        yield about | {"F": frames}, {who: (lambda who=who: who) for who in rivals}, "raccord"


def test_rows_are_shown_as_they_were_measured(tmp_path, capsys):
    sources = [
        source(
            {"kernel": "entity", "layer": "SDXL 64x64", "FlexAttention compiled in s": 93.4},
            *("raccord", "SDPA dense mask", "SDPA gather", "FlexAttention"),
        ),
        source({"kernel": "step", "layer": "SDXL latents"}, "diffusers", "raccord"),
    ]
    path = tmp_path / "gpu.json"
    bench_gpu.record(sources, {"machine": bench_gpu.machine(torch.bfloat16)}, path, ends=time.monotonic() + 60)
    capsys.readouterr()
    text = results.written(tmp_path)
    section = text[text.index("## The kernels on a GPU") :]
    assert "| SDXL 64x64 | 4 | SDPA dense mask | 26 (23-31) | 13 | 2.60 | 2.60 |" in section
    # one could not be captured, the other was not tried
    assert "| SDXL 64x64 | 8 | SDPA gather | 13 (11-15) |  | 1.26 |  |" in section
    assert "| SDXL 64x64 | 4 | FlexAttention, first compiled in 93 s | 20 (18-24) |  | 2.00 |  |" in section
    assert "| SDXL latents | 8 | diffusers | 80 (72-96) | 40 | 8.00 | 8.00 |" in section
    assert "A GPU that is made up (sm_90), torch.bfloat16" in section
    assert "roof: copy TB/s 4.2, product TFLOP/s 700.0" in section
    assert "Time was up" not in section
    assert "GPU rows are open" not in text
    gathered = json.loads(path.read_text())["rows"][0]["who"]["SDPA gather"]
    assert math.isnan(gathered["graph_us"])


def test_a_run_cut_short_names_what_was_next(tmp_path, capsys):
    path = tmp_path / "gpu.json"
    now = time.monotonic()
    result = {"machine": bench_gpu.machine(torch.bfloat16)}
    bench_gpu.record(
        [source({"kernel": "step", "layer": "SDXL latents"}, "raccord", "diffusers")], result, path, ends=now
    )
    capsys.readouterr()
    assert json.loads(path.read_text())["rows"] == []
    assert "Time was up before: {'kernel': 'step', 'layer': 'SDXL latents', 'F': 4}." in results.written(tmp_path)


def test_without_a_gpu_the_rows_are_open_and_no_section_is_empty(tmp_path):
    text = results.written(tmp_path)
    assert "GPU rows are open" in text
    assert "The kernels on a GPU" not in text
    assert "## Entity attention beside SDPA\n\nNot measured yet: `benchmarks/bench_entity_attention.py`." in text

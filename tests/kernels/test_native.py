"""The C++ library: found, refused when it is not ours, and reported."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from raccord.kernels import _native, info
from raccord.kernels.noise import OPERATION, gaussian, native

ROOT = Path(__file__).parents[2]

needs_native = pytest.mark.skipif(bool(_native.reasons()), reason="; ".join(_native.reasons()))


@pytest.fixture
def fresh():
    """What is kept of `_native`'s findings, forgotten before and after, for tests that change what it finds."""

    def clear():
        _native.library.cache_clear()
        _native.reasons.cache_clear()
        OPERATION.forget()

    clear()
    yield
    clear()


def built_from(tmp_path, text):
    source = tmp_path / "fake.cpp"
    source.write_text(text)
    path = tmp_path / "fake.so"
    subprocess.run(["g++", "-shared", "-fPIC", str(source), "-o", str(path)], check=True)
    return path


@needs_native
def test_scalar_code_is_always_there_and_no_level_runs_that_was_not_compiled():
    compiled, usable = _native.levels()
    assert compiled[0] == usable[0] == "scalar"
    assert set(usable) <= set(compiled) <= set(_native.LEVELS)


@needs_native
def test_a_level_runs_where_the_processor_says_so():
    flags = Path("/proc/cpuinfo").read_text().split()
    compiled, usable = _native.levels()
    flag_of = {"avx2": "avx2", "avx512": "avx512f", "avx512bf16": "avx512_bf16", "amx": "amx_bf16"}
    assert flag_of.keys() == set(_native.LEVELS) - {"scalar"}
    for level, flag in flag_of.items():
        assert (level in usable) == (level in compiled and flag in flags)


@needs_native
def test_a_level_this_machine_cannot_run_is_refused():
    rows = torch.zeros(1, 5, dtype=torch.int64)
    for level in set(_native.LEVELS) - set(_native.levels()[1]):
        with pytest.raises(ValueError, match=f"level '{level}' cannot run here; these can: scalar"):
            native.gaussian(rows, (1, 1, 1), torch.device("cpu"), level=level)


@needs_native
def test_the_abi_of_the_header_is_the_one_python_expects():
    header = (ROOT / "csrc" / "raccord.h").read_text()
    assert f"#define RACCORD_ABI {_native.library().raccord_abi()}\n" in header


@pytest.mark.usefixtures("fresh")
def test_an_absent_library_is_a_reason_and_never_a_silent_fallback(monkeypatch):
    monkeypatch.delenv("RACCORD_BACKEND", raising=False)
    monkeypatch.setattr(_native, "find", lambda: None)
    with pytest.raises(RuntimeError, match=r"'cpu', forced by argument backend, cannot serve .* was not built"):
        gaussian(0, "p", ["a"], [0], (1, 2, 2), backend="cpu")
    assert torch.equal(
        gaussian(0, "p", ["a"], [0], (1, 2, 2)), gaussian(0, "p", ["a"], [0], (1, 2, 2), backend="reference")
    )
    row = next(row for row in info.backends() if (row.operation, row.backend) == ("gaussian", "cpu"))
    assert "RACCORD_BUILD_EXT=0" in row.reasons[0]


@pytest.mark.usefixtures("fresh")
def test_a_file_that_is_no_library_is_a_reason(monkeypatch, tmp_path):
    path = tmp_path / "libraccord.so"
    path.write_bytes(b"not a library")
    monkeypatch.setattr(_native, "find", lambda: path)
    assert "does not load" in _native.reasons()[0]


@pytest.mark.usefixtures("fresh")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++ to build a false library")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('extern "C" int raccord_abi() { return 999; }', "speaks ABI 999 and these Python files ABI"),
        ("int nothing;", "does not load .*raccord_abi"),
    ],
)
def test_a_library_of_another_version_is_refused(monkeypatch, tmp_path, text, message):
    path = built_from(tmp_path, text)
    monkeypatch.setattr(_native, "find", lambda: path)
    with pytest.raises(_native.NativeUnavailableError, match=message):
        _native.library()


@needs_native
def test_c_writes_only_what_the_sizes_and_strides_say():
    guard = -7.0
    buffer = torch.full((2, 3, 4, 64), guard)
    rows = torch.tensor([[1, 2, 3, 0, 1], [4, 5, 6, -1, -2]])
    for width in (1, 3, 31, 32, 33, 45):
        buffer.fill_(guard)
        view = buffer[:, :2, 1:3, 8 : 8 + width]
        params = native._Params(
            view.data_ptr(),
            rows.data_ptr(),
            native.coefficients(torch.device("cpu")).data_ptr(),
            *view.shape,
            *view.stride()[:3],
        )
        for level, _name in enumerate(_native.levels()[1]):
            assert _native.library().raccord_gaussian(ctypes.byref(params), level) == 0
            assert torch.equal(view, native.gaussian(rows, (2, 2, width), torch.device("cpu")))
            outside = buffer.clone()
            outside[:, :2, 1:3, 8 : 8 + width] = guard
            assert (outside == guard).all()


def test_info_lists_every_backend_and_loads_torch_only_when_asked():
    script = (
        "import sys\n"
        "from raccord.kernels import info, _dispatch, _native\n"
        "assert 'torch' not in sys.modules\n"
        "info.main()"
    )
    environment = os.environ | {"RACCORD_BACKEND": "reference"}
    printed = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True, env=environment
    ).stdout
    rows = [line.split() for line in printed.splitlines() if line.startswith("gaussian ")]
    assert [row[1] for row in rows] == ["cpu", "triton", "reference"]
    assert rows[0][2].startswith("no:" if _native.reasons() else "yes:")
    assert rows[2][2] == "yes"

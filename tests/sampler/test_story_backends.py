"""The same story on every backend that runs here: the same pixels within a bound, and bit for bit when drawn again."""

import numpy as np
import pytest

from raccord.kernels import _native
from raccord.sampler.calibration import Calibration
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.story import Story

QUICK = Calibration(guidance=3.0, casting_candidates=2, casting_steps=1, bank_weight=2.0)
PLAN = Plan(
    seed=5,
    size=[64, 64],
    entities=[Entity(id="cat", card="a red cat"), Entity(id="dog", card="a blue dog")],
    frames=[
        Frame(
            id="meet",
            prompt="a red cat and a blue dog",
            background="snow",
            items=[Item(entity="cat", box=[0.0, 0.2, 0.5, 0.9]), Item(entity="dog", box=[0.5, 0.2, 1.0, 0.9])],
        ),
    ],
)


def frame(pipe, backend=None):
    return Story(pipe, PLAN, steps=3, calibration=QUICK, backend=backend).frame("meet")


@pytest.mark.skipif(bool(_native.reasons()), reason="; ".join(_native.reasons()))
@pytest.mark.parametrize("how", ["argument", "environment"])
def test_backends_differ_by_rounding_only_and_each_repeats_its_bits(tiny_pipe, monkeypatch, how):
    found = {}
    for backend in ("reference", "cpu"):
        if how == "environment":
            monkeypatch.setenv("RACCORD_BACKEND", backend)
            pictures = [frame(tiny_pipe) for _ in range(2)]
        else:
            pictures = [frame(tiny_pipe, backend) for _ in range(2)]
        assert pictures[0].pixels_sha256 == pictures[1].pixels_sha256
        found[backend] = np.asarray(pictures[0].image, dtype=np.int16)
    # float32's errors, some 1e-6 of the range, move a value over the edge between two levels of 256 at most
    assert np.abs(found["reference"] - found["cpu"]).max() <= 1


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_a_forced_backend_that_cannot_serve_says_so(tiny_pipe, monkeypatch, how):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    if how == "environment":
        monkeypatch.setenv("RACCORD_BACKEND", "triton")
    with pytest.raises((RuntimeError, ValueError), match=r"triton.*(forced by|has no backend|" + how + ")"):
        frame(tiny_pipe, "triton" if how == "argument" else None)

"""Weights that are elsewhere until their module runs: accelerate's hooks, with the CPU as the executing device."""

import copy

import pytest
import torch
from accelerate import cpu_offload, cpu_offload_with_hook

from raccord.sampler.calibration import Calibration
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.story import Story

QUICK = Calibration(guidance=3.0, casting_candidates=1, casting_steps=1)
PLAN = Plan(
    size=[64, 64],
    entities=[Entity(id="cat", card="a red cat")],
    frames=[Frame(id="f", prompt="a cat", background="snow", items=[Item(entity="cat", box=[0.0, 0.0, 0.5, 1.0])])],
)
PARTS = ("unet", "vae", "text_encoder")


def draw(pipe):
    story = Story(pipe, PLAN, steps=2, calibration=QUICK, backend="reference")
    return story.frame("f").pixels_sha256, story.memory_bytes("cat"), story.frame_key("f")


@pytest.fixture
def pipe(tiny_pipe):
    one = copy.copy(tiny_pipe)
    for part in PARTS:
        setattr(one, part, copy.deepcopy(getattr(tiny_pipe, part)))
    return one


def test_weights_that_come_module_by_module(pipe):
    """What `enable_sequential_cpu_offload` does on a GPU: each weight is on the meta device but while it is used."""
    expected = draw(pipe)
    for part in PARTS:
        cpu_offload(getattr(pipe, part), execution_device=torch.device("cpu"), offload_buffers=part == "unet")
    assert all(weight.is_meta for weight in pipe.unet.parameters())
    assert draw(pipe) == expected
    assert all(weight.is_meta for weight in pipe.unet.parameters())


def test_models_that_come_one_after_the_other(pipe):
    """What `enable_model_cpu_offload` does on a GPU: a model's arrival sends the one before away."""
    expected = draw(pipe)
    hook = None
    for part in ("text_encoder", "unet", "vae"):
        model, hook = cpu_offload_with_hook(getattr(pipe, part), torch.device("cpu"), prev_module_hook=hook)
        setattr(pipe, part, model)
    assert draw(pipe) == expected

"""Regions inside calls of diffusers' own pipeline."""

import pytest
import torch

from raccord.sampler.diffusers_install import install, prompts
from raccord.sampler.diffusers_schedulers import DDIMScheduler
from raccord.sampler.plan import Entity, Frame, Item, Plan

SIZE = {"height": 64, "width": 64, "num_inference_steps": 2, "output_type": "latent"}


def plan_of(*frames, style=""):
    return Plan(size=[64, 64], style=style, entities=[Entity(id="cat", card="a red cat")], frames=frames)


def frame(name, prompt):
    return Frame(id=name, prompt=prompt, items=[Item(entity="cat", box=[0.0, 0.0, 0.5, 1.0])])


def call(pipe, prompt, **settings):
    generator = [torch.Generator().manual_seed(4) for _ in ([prompt] if isinstance(prompt, str) else prompt)]
    return pipe(prompt, generator=generator, **SIZE, **settings).images


def test_rows_are_found_by_their_text(tiny_pipe):
    plan = plan_of(frame("one", "a cat in the snow"), frame("two", "a cat at the sea"), style="ink")
    text = prompts(plan)
    plain = call(tiny_pipe, text["one"])
    with install(tiny_pipe, plan):
        first, second = call(tiny_pipe, text["one"]), call(tiny_pipe, text["two"])
        both = call(tiny_pipe, [text["one"], text["two"]])
        other = call(tiny_pipe, "a house")
    assert not torch.equal(first, plain)
    torch.testing.assert_close(both, torch.cat([first, second]), rtol=1e-4, atol=1e-4)
    assert torch.equal(other, call(tiny_pipe, "a house"))
    assert torch.equal(call(tiny_pipe, text["one"]), plain)


def test_works_without_guidance_and_with_our_scheduler(tiny_pipe):
    plan = plan_of(frame("one", "a cat in the snow"))
    found = tiny_pipe.scheduler
    tiny_pipe.scheduler = DDIMScheduler.from_config(found.config)
    try:
        plain = call(tiny_pipe, "a cat in the snow", guidance_scale=1.0)
        with install(tiny_pipe, plan):
            assert not torch.equal(call(tiny_pipe, "a cat in the snow", guidance_scale=1.0), plain)
    finally:
        tiny_pipe.scheduler = found


def test_attention_slicing_switched_on_meanwhile_keeps_the_plan(tiny_pipe):
    plan = plan_of(frame("one", "a cat in the snow"))
    with install(tiny_pipe, plan):
        before = call(tiny_pipe, "a cat in the snow")
        tiny_pipe.enable_attention_slicing()
        sliced = call(tiny_pipe, "a cat in the snow")
    tiny_pipe.disable_attention_slicing()
    torch.testing.assert_close(sliced, before, rtol=1e-4, atol=1e-4)


def test_two_frames_of_one_text_are_refused(tiny_pipe):
    plan = plan_of(frame("one", "a cat"), frame("two", "a cat"))
    with pytest.raises(ValueError, match="'one' and 'two' have the same prompt"):
        install(tiny_pipe, plan)
    with install(tiny_pipe, plan, frames=["two"]):
        call(tiny_pipe, "a cat")

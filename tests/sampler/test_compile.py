"""A plan under torch.compile: one graph without a break, compiled once for all steps, the bits of the eager code."""

import copy

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch._dynamo.testing import CompileCounterWithBackend

from raccord.sampler.calibration import Calibration
from raccord.sampler.diffusers_attention import Controller
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.story import Story
from raccord.sampler.text import TextPool

# every way a frame can go: casting with capture, recorded presence, new noise, bootstrap, moves along the gradient
EVERYTHING = Calibration(
    guidance=3.0, casting_candidates=1, casting_steps=1, presence_threshold=1e6, repair_tries=1, check_share=0.7
)
PLAN = Plan(
    size=[64, 64],
    entities=[Entity(id="cat", card="a red cat")],
    frames=[Frame(id="f", prompt="a cat", background="snow", items=[Item(entity="cat", box=[0.0, 0.0, 0.5, 1.0])])],
)


@pytest.fixture
def pipe(tiny_pipe):
    """The tiny pipeline with a UNet of one level: compiling takes seconds a level."""
    one = copy.copy(tiny_pipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one.unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16,),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D",),
            mid_block_type=None,
            up_block_types=("CrossAttnUpBlock2D",),
            cross_attention_dim=24,
            attention_head_dim=2,
            norm_num_groups=4,
        ).eval()
    yield one
    torch.compiler.reset()


def draw(pipe):
    story = Story(pipe, PLAN, steps=3, calibration=EVERYTHING, backend="reference")
    drawn = story.frame("f")
    assert [one["how"] for one in drawn.report["attempts"]] == ["cast noise", "new noise", "bootstrap", "guide"]
    return drawn.pixels_sha256, drawn.report, story.memory_bytes("cat")


def test_a_compiled_unet_draws_the_same_story(pipe):
    expected = draw(pipe)
    counter = CompileCounterWithBackend("aot_eager")
    pipe.unet = torch.compile(pipe.unet, fullgraph=True, backend=counter)
    assert draw(pipe) == expected
    compiled = counter.frame_count
    # the timestep, the rows and the memories change in every call, controller and processors with every story; what is
    # compiled does not
    assert draw(pipe) == expected
    assert counter.frame_count == compiled <= 2


def test_a_unet_compiled_in_place_follows_what_changes_between_calls(pipe):
    plain = copy.deepcopy(pipe.unet)
    pipe.unet.compile(fullgraph=True, backend="eager")
    sample = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(2))
    text = torch.randn((2, 32, 24), generator=torch.Generator().manual_seed(3))
    story = Story(pipe, PLAN, steps=3, calibration=EVERYTHING)
    rows = _rows(story)
    for bound, timestep in ((rows, 500), (None, 500), (rows[::-1], 20)):
        outputs = []
        for unet in (plain, pipe.unet):
            with Controller(unet, TextPool(story.model.encode), backend="reference") as control, torch.no_grad():
                control.rows = bound
                moment = torch.tensor(timestep)
                outputs.append(unet(sample, moment, encoder_hidden_states=text, return_dict=False)[0])
                assert control.timestep == timestep
        assert torch.equal(*outputs)


def _rows(story):
    from raccord.sampler.diffusers_attention import Row

    conditioning = story._conditioning(PLAN.frames[0])
    return (Row(conditioning, False, {}), Row(conditioning, True, {}))


def test_what_a_compiled_graph_cannot_do_is_refused(pipe):
    with Controller(pipe.unet, TextPool(lambda text: torch.zeros((32, 24)))) as control:
        processor = pipe.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.processor
        hidden = torch.ones((2, 64, 16), requires_grad=True)
        attended = torch.ops.raccord.planned_attention(hidden, None, [], None, None, processor._number)
        with pytest.raises(RuntimeError, match="force_eager"):
            attended.sum().backward()
        pipe.unet.set_attn_processor(processor.original)
        with pytest.raises(RuntimeError, match="processors were replaced"):
            control.before_forward(torch.zeros((2, 4, 8, 8)), 10, None)

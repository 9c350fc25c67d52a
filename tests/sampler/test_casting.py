"""Memories on their way to a file and back: the same pictures, fewer UNet calls, and nothing taken on trust."""

import dataclasses

import pytest
import torch

from raccord.sampler.bank import memory_from_bytes, memory_to_bytes
from raccord.sampler.calibration import Calibration
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.story import Story

QUICK = Calibration(guidance=3.0, casting_candidates=2, casting_steps=1, bank_weight=2.0)
STEPS = 3


def make_story(pipe, *, calibration=QUICK, steps=STEPS, **changes):
    items = [Item(entity="cat", box=[0.1, 0.2, 0.6, 0.9])]
    fields = {
        "seed": 5,
        "size": [64, 64],
        "entities": [Entity(id="cat", name="Lina", card="a red cat"), Entity(id="dog", card="a blue dog")],
        "frames": [Frame(id="alone", prompt="a red cat", background="snow", items=items)],
    }
    return Story(pipe, Plan(**{**fields, **changes}), steps=steps, calibration=calibration)


@pytest.fixture(scope="module")
def kept(tiny_pipe):
    """(bytes of the cat's memory, pixels of the frame, UNet calls of casting and of the frame)."""
    story = make_story(tiny_pipe)
    story.cast()
    casting = story.unet_calls
    pixels = story.frame("alone").pixels_sha256
    return story.memory_bytes("cat"), pixels, casting, story.unet_calls - casting


def test_a_remembered_entity_costs_no_call_and_draws_the_same_pixels(tiny_pipe, kept):
    data, pixels, casting, drawing = kept
    assert casting == QUICK.casting_candidates * QUICK.casting_steps + STEPS
    story = make_story(tiny_pipe)
    assert story.remember(data) == "cat"
    assert story.memory_bytes("cat") == data
    assert story.frame("alone").pixels_sha256 == pixels
    assert story.unet_calls == drawing == STEPS


def test_casting_repeats_bit_for_bit(tiny_pipe, kept):
    story = make_story(tiny_pipe)
    told = []
    story.cast(keep=told.append)
    assert told == ["cat"]
    assert story.memory_bytes("cat") == kept[0]


def test_without_a_bank_the_chosen_noise_alone_is_kept(tiny_pipe):
    bare = dataclasses.replace(QUICK, bank_weight=0.0)
    story = make_story(tiny_pipe, calibration=bare)
    story.cast()
    again = make_story(tiny_pipe, calibration=bare)
    again.remember(story.memory_bytes("cat"))
    assert again.memories["cat"].noise_key == story.memories["cat"].noise_key
    assert again.memories["cat"].nbytes == 0


@pytest.mark.parametrize(
    ("named", "changes"),
    [
        ("seed", {"seed": 6}),
        ("style", {"style": "ink"}),
        ("size", {"size": [128, 128]}),
        ("card", {"entities": [Entity(id="cat", name="Lina", card="a green cat")]}),
        ("negative", {"entities": [Entity(id="cat", card="a red cat", negative="hat")]}),
        ("steps", {"steps": 4}),
        ("calibration", {"calibration": dataclasses.replace(QUICK, memory_budget=8)}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_memory_made_otherwise_is_refused_by_name(tiny_pipe, kept, named, changes):
    with pytest.raises(ValueError, match=rf"memory of 'cat' was cast with another (.*, )?{named}"):
        make_story(tiny_pipe, **changes).remember(kept[0])


def test_other_weights_are_noticed(tiny_pipe, kept):
    weight = tiny_pipe.unet.conv_in.bias
    before = weight.detach().clone()
    with torch.no_grad():
        weight[0] += 1
        try:
            with pytest.raises(ValueError, match="cast with another weights"):
                make_story(tiny_pipe).remember(kept[0])
        finally:
            weight.copy_(before)


def test_what_a_memory_does_not_depend_on_does_not_matter(tiny_pipe, kept):
    renamed = [Entity(id="cat", name="Lola", card="a red cat")]
    assert make_story(tiny_pipe, title="other", entities=renamed).remember(kept[0]) == "cat"
    nobody = make_story(tiny_pipe, entities=[Entity(id="dog", card="a blue dog")], frames=[Frame(id="f", prompt="x")])
    with pytest.raises(ValueError, match="whom the plan does not have"):
        nobody.remember(kept[0])


def _first(tokens):
    return next(iter(tokens))


@pytest.mark.parametrize(
    "forge",
    [
        lambda m: {"noise_key": 2},
        lambda m: {"noise_key": -1},
        lambda m: {"candidates": (0.0,) * 3},
        lambda m: {"tokens": {}},
        lambda m: {"tokens": {("up_blocks.9", step): value for (_, step), value in m.tokens.items()}},
        lambda m: {"tokens": {**m.tokens, _first(m.tokens): torch.full((2, 16), torch.nan)}},
        lambda m: {"tokens": {**m.tokens, _first(m.tokens): torch.zeros((2, 5))}},
        lambda m: {"tokens": {**m.tokens, _first(m.tokens): torch.zeros((0, 16))}},
        lambda m: {"tokens": {**m.tokens, _first(m.tokens): torch.zeros((2, 16), dtype=torch.float64)}},
        lambda m: {"tokens": {**m.tokens, _first(m.tokens): torch.zeros(16)}},
        lambda m: {"tokens": {**m.tokens, _first(m.tokens): torch.zeros((10_000, 16))}},
    ],
    ids=range(11),
)
def test_a_forged_memory_is_refused(tiny_pipe, kept, forge):
    memory = memory_from_bytes(kept[0])
    forged = memory_to_bytes(dataclasses.replace(memory, **forge(memory)))
    story = make_story(tiny_pipe)
    with pytest.raises(ValueError, match="the memory of 'cat'"):
        story.remember(forged)
    assert story.memories == {}


def test_broken_bytes_are_a_value_error_and_nothing_else(kept):
    data = kept[0]
    step = max(1, len(data) // 40)
    broken = [data[:cut] for cut in range(0, len(data), step)]
    broken += [data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in range(0, 2000, 13)]
    broken += [b"\xff" * 64, b"\x02\0\0\0\0\0\0\0{}", b"[" * 200_000, data[8:]]
    for one in broken:
        try:
            memory_from_bytes(one)
        except ValueError:
            continue

"""The processors inside a real UNet2DConditionModel with random weights."""

import copy

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from raccord.sampler.bank import EntityMemory, memory_from_bytes, memory_hash, memory_to_bytes
from raccord.sampler.conditioning import frame_conditioning
from raccord.sampler.diffusers_attention import Capture, Controller, EntityAttnProcessor, RegionalAttnProcessor, Row
from raccord.sampler.diffusers_pipeline import Model
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.presence import AttentionRecord
from raccord.sampler.text import TextPool


def plan_of(items=(), background="", **frame):
    return Plan(
        size=[64, 64],
        entities=[Entity(id="cat", card="a red cat"), Entity(id="dog", card="a blue dog")],
        frames=[Frame(id="f", prompt="a red cat and a blue dog", background=background, items=items, **frame)],
    )


LEFT = Item(entity="cat", box=[0.0, 0.1, 0.5, 0.9])
RIGHT = Item(entity="dog", box=[0.5, 0.1, 1.0, 0.9])


@pytest.fixture
def setting(tiny_pipe):
    model = Model(tiny_pipe)
    generator = torch.Generator().manual_seed(1)
    sample = torch.randn((2, 4, 8, 8), generator=generator)
    text = torch.stack([model.encode(""), model.encode("a red cat and a blue dog")])
    return tiny_pipe.unet, TextPool(model.encode), sample, text


def predict(unet, sample, text, timestep=500):
    with torch.no_grad():
        return unet(sample, torch.tensor(timestep), encoder_hidden_states=text, return_dict=False)[0]


def rows_of(plan, memories=None, beta=0.1):
    conditioning = frame_conditioning(plan, plan.frames[0], latent_width=8, beta=beta)
    return Row(conditioning, False, {}), Row(conditioning, True, memories or {})


def test_bits_of_stock_attention_when_no_row_is_bound(setting):
    unet, pool, sample, text = setting
    stock = predict(unet, sample, text)
    with Controller(unet, pool):
        assert torch.equal(predict(unet, sample, text), stock)


def test_bits_of_stock_attention_for_an_empty_plan(setting):
    unet, pool, sample, text = setting
    stock = predict(unet, sample, text)
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan_of())
        assert torch.equal(predict(unet, sample, text), stock)


def test_a_prompt_alone_in_the_regional_path_is_stock_attention_up_to_rounding(setting):
    """Whole-frame items that repeat the prompt: regions everywhere, nothing different to say."""
    unet, pool, sample, text = setting
    stock = predict(unet, sample.double().float(), text)
    plan = Plan(
        size=[64, 64],
        entities=[Entity(id="cat", card="a red cat and a blue dog")],
        frames=[Frame(id="f", prompt="a red cat and a blue dog", items=[Item(entity="cat", box=[0.0, 0.0, 1.0, 1.0])])],
    )
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan)
        found = predict(unet, sample, text)
    double = predict(unet.double(), sample.double(), text.double())
    unet.float()
    # both are float32 evaluations of one function: compare each with float64
    assert (found - double).abs().max() <= 2 * (stock - double).abs().max() + 1e-7


def test_an_item_speaks_in_its_own_cells_only(setting):
    unet, pool, sample, text = setting
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2
    heard = []
    handle = layer.register_forward_hook(lambda module, args, output: heard.append(output))
    try:
        with Controller(unet, pool) as control:
            for action in ("sitting", "sleeping"):
                plan = plan_of([LEFT, RIGHT.model_copy(update={"action": action})], background="snow")
                control.rows = rows_of(plan)
                predict(unet, sample, text)
    finally:
        handle.remove()
    changed = (heard[0] != heard[1])[1].any(-1)
    speaks = control.rows[1].conditioning.weights(True, 8, 8)[3] > 0
    assert torch.equal(changed, speaks)
    assert 0 < int(changed.sum()) < 64
    assert torch.equal(heard[0][0], heard[1][0])


def test_rows_are_bound_one_by_one(setting):
    unet, pool, sample, text = setting
    stock = predict(unet, sample, text)
    rows = rows_of(plan_of([LEFT, RIGHT]))
    with Controller(unet, pool) as control:
        control.rows = (None, rows[1])
        mixed = predict(unet, sample, text)
        control.rows = (rows[1], None)
        swapped = predict(unet, sample.flip(0), text.flip(0))
    assert torch.equal(mixed[0], stock[0])
    assert not torch.equal(mixed[1], stock[1])
    assert torch.equal(swapped.flip(0)[1], mixed[1])


def test_removal_restores_what_was_there(setting):
    unet, pool, _, _ = setting
    mine = AttnProcessor2_0()
    before = unet.attn_processors
    name = next(iter(before))
    unet.set_attn_processor({**before, name: mine})
    keys = set(unet.state_dict())
    with Controller(unet, pool):
        kinds = {type(p) for p in unet.attn_processors.values()}
        assert kinds == {RegionalAttnProcessor, EntityAttnProcessor}
        assert set(unet.state_dict()) == keys
    assert unet.attn_processors[name] is mine
    assert all(unet.attn_processors[k] is v for k, v in before.items() if k != name)


def test_a_processor_made_without_arguments_is_stock(setting):
    """What diffusers does on load_ip_adapter: type(processor)()."""
    unet, _, sample, text = setting
    stock = predict(unet, sample, text)
    before = unet.attn_processors
    unet.set_attn_processor({n: RegionalAttnProcessor() if "attn2" in n else EntityAttnProcessor() for n in before})
    try:
        assert torch.equal(predict(unet, sample, text), stock)
    finally:
        unet.set_attn_processor(before)


def test_processors_replaced_from_outside_are_wrapped_again(setting):
    unet, pool, sample, text = setting
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan_of([LEFT, RIGHT]))
        expected = predict(unet, sample, text)
        unet.set_attn_processor(AttnProcessor2_0())
        assert torch.equal(predict(unet, sample, text), expected)


def test_a_second_controller_is_refused(setting):
    unet, pool, _, _ = setting
    with Controller(unet, pool), pytest.raises(ValueError, match="already has a raccord controller"):
        Controller(unet, pool).install()


def test_a_batch_of_another_size_than_bound_is_refused(setting):
    unet, pool, sample, text = setting
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan_of([LEFT]))[:1]
        with pytest.raises(ValueError, match="batch of 2"):
            predict(unet, sample, text)


def test_isolation_cuts_entities_from_each_other_but_not_from_the_background(setting):
    unet, pool, sample, text = setting
    plan = plan_of([LEFT, RIGHT])
    together = plan_of([LEFT.model_copy(update={"interacts": ["dog"]}), RIGHT])
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan)
        apart = predict(unet, sample, text, timestep=100)
        control.rows = rows_of(together)
        late = predict(unet, sample, text, timestep=100)
        early = predict(unet, sample, text, timestep=900)
        control.rows = rows_of(plan)
        early_apart = predict(unet, sample, text, timestep=900)
    assert not torch.equal(apart, late)
    assert torch.equal(early, early_apart)


def test_text_pool_follows_a_lora(setting):
    from peft import LoraConfig

    shared, pool, sample, text = setting
    # peft leaves its wrappers in a UNet even when the adapter is gone
    unet = copy.deepcopy(shared)
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan_of([LEFT, RIGHT]))
        plain = predict(unet, sample, text)
        unet.add_adapter(LoraConfig(r=2, target_modules=["to_k", "to_v"], init_lora_weights=False), adapter_name="x")
        changed = predict(unet, sample, text)
        unet.disable_adapters()
        off = predict(unet, sample, text)
    assert not torch.equal(changed, plain)
    torch.testing.assert_close(off, plain, rtol=1e-5, atol=1e-6)


def test_memory_is_seen_by_its_own_entity_only(setting):
    unet, pool, sample, text = setting
    plan = plan_of([LEFT, RIGHT])
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan)
        cells = {64: torch.arange(4), 16: torch.arange(2)}
        control.capture = Capture(row=1, cells=cells, tokens={})
        without = predict(unet, sample, text)
        captured, control.capture = control.capture.tokens, None
        assert captured
        assert all(name.startswith("up_blocks") and name.endswith("attn1") for name in captured)
        memory = EntityMemory("cat", 0, 0.0, (0.0,), {(name, 500): tokens for name, tokens in captured.items()})
        control.rows = rows_of(plan, {"cat": memory})
        seen = predict(unet, sample, text)
        elsewhere = predict(unet, sample, text, timestep=400)
        control.rows = rows_of(plan)
        assert torch.equal(predict(unet, sample, text, timestep=400), elsewhere)
    assert torch.equal(seen[0], without[0])
    assert not torch.equal(seen[1], without[1])


def test_presence_record_does_not_change_the_picture(setting):
    unet, pool, sample, text = setting
    with Controller(unet, pool) as control:
        control.rows = rows_of(plan_of([LEFT, RIGHT], background="snow"))
        plain = predict(unet, sample, text)
        control.record, control.record_row = AttentionRecord(), 1
        assert torch.equal(predict(unet, sample, text), plain)
        grids = control.record.grids()
    assert set(grids) == {(8, 8), (4, 4)}
    assert all(lse.shape == (4, h * w) and torch.isfinite(lse).all() for (h, w), lse in grids.items())


def test_memory_bytes_round_trip():
    tokens = {("up_blocks.0.attn1", 500): torch.arange(6.0).reshape(2, 3)}
    memory = EntityMemory("cat", 3, 0.1, (0.05, 0.1), tokens)
    again = memory_from_bytes(memory_to_bytes(memory))
    assert (again.entity, again.noise_key, again.presence, again.candidates) == ("cat", 3, 0.1, (0.05, 0.1))
    assert torch.equal(again.tokens["up_blocks.0.attn1", 500], tokens["up_blocks.0.attn1", 500])
    assert memory_hash(again) == memory_hash(memory)
    with pytest.raises(ValueError, match="not an entity memory"):
        memory_from_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ")

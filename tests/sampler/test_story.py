"""The story loop on a pipeline with random weights: same plan, same pixels, whatever else is drawn."""

import numpy as np
import pytest
import torch

from raccord.sampler.calibration import Calibration, read_calibration
from raccord.sampler.noise import start_noise, step_noise
from raccord.sampler.plan import Entity, Frame, Item, Plan
from raccord.sampler.presence import AttentionRecord, presence
from raccord.sampler.story import Story, draw
from raccord.sampler.trajectory import Run

QUICK = Calibration(guidance=3.0, casting_candidates=2, casting_steps=1, bank_weight=2.0)


def story_plan(**changes):
    cat, dog = Entity(id="cat", name="Lina", card="a red cat"), Entity(id="dog", name="Bo", card="a blue dog")
    frames = [
        Frame(
            id="meet",
            prompt="a red cat and a blue dog",
            background="snow",
            items=[Item(entity="cat", box=[0.0, 0.2, 0.5, 0.9]), Item(entity="dog", box=[0.5, 0.2, 1.0, 0.9])],
        ),
        Frame(id="alone", prompt="a red cat", items=[Item(entity="cat", box=[0.3, 0.3, 0.8, 0.8], action="sitting")]),
        Frame(id="empty", prompt="a beach"),
    ]
    return Plan(**{"seed": 5, "size": [64, 64], "entities": [cat, dog], "frames": frames, **changes})


def hashes(pipe, plan, order=None, **settings):
    story = Story(pipe, plan, steps=3, calibration=QUICK, **settings)
    wanted = order or [frame.id for frame in plan.frames]
    return {frame_id: story.frame(frame_id).pixels_sha256 for frame_id in wanted}


@pytest.fixture(scope="module")
def expected(tiny_pipe):
    return hashes(tiny_pipe, story_plan())


def test_frames_differ(expected):
    assert len(set(expected.values())) == 3


def test_a_second_run_gives_the_same_pixels(tiny_pipe, expected):
    assert hashes(tiny_pipe, story_plan()) == expected


def test_another_order_gives_the_same_pixels(tiny_pipe, expected):
    assert hashes(tiny_pipe, story_plan(), ["empty", "alone", "meet"]) == expected


def test_a_frame_alone_gives_the_same_pixels(tiny_pipe, expected):
    assert hashes(tiny_pipe, story_plan(), ["alone"])["alone"] == expected["alone"]


def test_a_frame_and_an_entity_added_later_change_nothing_else(tiny_pipe, expected):
    plan = story_plan()
    owl = Entity(id="an-owl", card="a brown owl")
    extra = Frame(id="more", prompt="an owl", items=[Item(entity="an-owl", box=[0.1, 0.1, 0.6, 0.6])])
    longer = story_plan(entities=[owl, *plan.entities], frames=[extra, *plan.frames])
    found = hashes(tiny_pipe, longer)
    assert {name: found[name] for name in expected} == expected


def test_global_random_state_is_neither_read_nor_moved(tiny_pipe, expected):
    torch.manual_seed(77)
    before = torch.get_rng_state()
    assert hashes(tiny_pipe, story_plan(), ["alone"])["alone"] == expected["alone"]
    assert torch.equal(torch.get_rng_state(), before)


def test_texts_of_one_frame_are_held_at_a_time(tiny_pipe):
    plan = story_plan()
    story = Story(tiny_pipe, plan, steps=1, calibration=QUICK)
    held = {}
    for frame_id in ("meet", "alone", "empty", "meet"):
        story.frame(frame_id)
        held.setdefault(frame_id, []).append(story._denoiser.pool.nbytes)
    assert held["meet"][0] == held["meet"][1]
    # five texts, three, and of a frame without items, which is stock attention's, the negative text of the others
    assert held["alone"][0] * 5 == held["meet"][0] * 3
    assert 0 < held["empty"][0] * 3 < held["alone"][0]


def test_seed_changes_the_picture(tiny_pipe, expected):
    assert hashes(tiny_pipe, story_plan(seed=6), ["empty"])["empty"] != expected["empty"]


def test_the_stochastic_sampler_is_keyed_too(tiny_pipe):
    first = hashes(tiny_pipe, story_plan(), eta=1.0)
    assert hashes(tiny_pipe, story_plan(), ["empty", "meet", "alone"], eta=1.0) == first
    assert first != hashes(tiny_pipe, story_plan())


def test_the_pipeline_is_left_as_it_was_found(tiny_pipe):
    before = tiny_pipe.unet.attn_processors
    scheduler = tiny_pipe.scheduler
    state = dict(scheduler.config)
    draw(tiny_pipe, story_plan(), steps=1, frames=["empty"])
    assert tiny_pipe.unet.attn_processors == before
    assert tiny_pipe.scheduler is scheduler
    assert dict(scheduler.config) == state


def test_frame_key_follows_what_the_frame_depends_on(tiny_pipe):
    def key(plan, frame_id="alone", **settings):
        return Story(tiny_pipe, plan, **{"steps": 3, "calibration": QUICK, **settings}).frame_key(frame_id)

    plan = story_plan()
    base = key(plan)
    assert key(story_plan(title="another title", frames=plan.frames[1:])) == base
    recast = [plan.entities[0], plan.entities[1].model_copy(update={"card": "a green dog"})]
    assert key(story_plan(entities=recast)) == base
    assert key(story_plan(entities=recast), "meet") != key(plan, "meet")
    changed = {
        key(story_plan(seed=6)),
        key(story_plan(style="ink")),
        key(plan, steps=4),
        key(plan, guidance=2.0),
        key(plan, eta=0.5),
    }
    assert base not in changed
    assert len(changed) == 5


def test_repair_is_bounded_reported_and_keeps_the_best(tiny_pipe):
    never = Calibration(guidance=3.0, casting_candidates=1, casting_steps=1, presence_threshold=1e6, repair_tries=2)
    report = Story(tiny_pipe, story_plan(), steps=6, calibration=never).frame("meet").report
    assert [a["how"] for a in report["attempts"]] == ["cast noise", "new noise", "new noise", "bootstrap", "guide"]
    assert report["missing"] == ["cat", "dog"]
    weakest = [min(a["presence"].values()) for a in report["attempts"]]
    assert min(report["presence"].values()) == max(weakest)
    again = Story(tiny_pipe, story_plan(), steps=6, calibration=never).frame("meet")
    assert again.report == report


def test_nothing_is_repaired_when_all_are_there(tiny_pipe):
    always = Calibration(guidance=3.0, casting_candidates=1, casting_steps=1, presence_threshold=-1e6)
    report = Story(tiny_pipe, story_plan(), steps=3, calibration=always).frame("meet").report
    assert [a["how"] for a in report["attempts"]] == ["cast noise"]
    assert report["missing"] == []
    assert report["unet_calls"] == 3


def test_guidance_moves_up_the_presence(tiny_pipe):
    """A move along the gradient raises the presence it is the gradient of."""
    story = Story(tiny_pipe, story_plan(), steps=3, calibration=QUICK)
    story.cast()
    conditioning = story._conditioning(story.plan.frames[0])
    denoiser = story._denoiser
    run = Run(conditioning, story.memories, {}, {}, "test", 0, 1, None)
    sample = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 8, 8), dtype=np.float32))

    def found(x):
        control, record = denoiser.controller, AttentionRecord()
        control.record, control.record_row = record, 1
        with torch.no_grad():
            denoiser.predict(run, x, 500)
        control.record = None
        return float(presence(record, conditioning)[0])

    with denoiser.controller:
        moved = denoiser.guide(run, sample, 500, frozenset({1}))
        assert found(moved) > found(sample)
    # The cat's box is the left half: what is around it, the dog's among it, stays.
    assert torch.equal(moved[:, :, 4:], sample[:, :, 4:])
    assert not torch.equal(moved[:, 2:7, :4], sample[:, 2:7, :4])


def test_an_entity_starts_from_the_same_noise_wherever_it_stands():
    plan = story_plan()
    size = {"shape": (4, 16, 16)}
    box = Item(entity="cat", box=[0.0, 0.0, 0.5, 0.5])
    moved = box.model_copy(update={"box": [0.25, 0.5, 0.75, 1.0]})
    here = start_noise(1, plan.frames[1].model_copy(update={"items": [box]}), {"cat": 2}, {}, **size)
    there = start_noise(1, plan.frames[1].model_copy(update={"items": [moved]}), {"cat": 2}, {}, **size)
    assert torch.equal(here[:, 0:8, 0:8], there[:, 8:16, 4:12])
    bare = start_noise(1, plan.frames[1].model_copy(update={"items": []}), {}, {}, **size)
    assert torch.equal(here[:, 8:], bare[:, 8:])
    again = start_noise(1, plan.frames[1].model_copy(update={"items": [box]}), {"cat": 2}, {"cat": 1}, **size)
    assert not torch.equal(again[:, :8, :8], here[:, :8, :8])
    assert torch.equal(again[:, 8:], here[:, 8:])


def test_step_noise_is_keyed_by_frame_entity_and_destination():
    frames = {frame.id: frame for frame in story_plan().frames}
    size = {"shape": (1, 16, 16)}
    wanted = [("meet", 10), ("meet", 11), ("alone", 10), ("empty", 10)]
    drawn = [step_noise(1, t, frames[name], {"cat": 3}, {}, **size) for name, t in wanted]
    again = [step_noise(1, t, frames[name], {"cat": 3}, {}, **size) for name, t in wanted]
    assert all(torch.equal(x, y) for x, y in zip(drawn, again, strict=True))
    assert not any(torch.equal(drawn[i], drawn[j]) for i in range(4) for j in range(i))
    # the cat stands at cells (0, 3) in "meet" and (5, 5) in "alone"
    assert torch.equal(drawn[0][:, 3:11, 0:8], drawn[2][:, 5:13, 5:13])


def test_not_a_number_is_caught_in_its_step(tiny_pipe, monkeypatch):
    story = Story(tiny_pipe, story_plan(), steps=3, calibration=QUICK)
    predict = story.model.predict
    calls = []

    def poisoned(*args):
        calls.append(1)
        return predict(*args) * (float("nan") if len(calls) == 2 else 1.0)

    monkeypatch.setattr(story.model, "predict", poisoned)
    with pytest.raises(FloatingPointError, match=r"frame empty: .* step 2 of 3"):
        story.frame("empty")


def test_calibration_refuses_what_is_out_of_range(tmp_path):
    (tmp_path / "raccord.json").write_text('{"beta": 2}')
    with pytest.raises(ValueError, match="beta must lie in"):
        read_calibration(tmp_path)
    (tmp_path / "raccord.json").write_text('{"bets": 0.2}')
    with pytest.raises(ValueError, match="fields among"):
        read_calibration(tmp_path)
    assert read_calibration(tmp_path / "none") == Calibration()


def test_a_free_form_mask_stands_in_for_the_box(tiny_pipe):
    plan = story_plan()
    left = np.zeros((10, 10))
    left[:, :5] = 1.0
    story = Story(tiny_pipe, plan, steps=2, calibration=QUICK, masks={("alone", "cat"): left})
    plain = Story(tiny_pipe, plan, steps=2, calibration=QUICK)
    assert story.frame_key("alone") != plain.frame_key("alone")
    assert story.frame_key("meet") == plain.frame_key("meet")
    assert story.frame("alone").pixels_sha256 != plain.frame("alone").pixels_sha256
    with pytest.raises(ValueError, match="no item for"):
        Story(tiny_pipe, plan, masks={("empty", "cat"): left})
    with pytest.raises(ValueError, match=r"values in 0\.\.1"):
        Story(tiny_pipe, plan, masks={("alone", "cat"): left * 2})


def test_warnings_name_what_cannot_be_drawn_well(tiny_pipe):
    plan = story_plan()
    small = plan.frames[1].items[0].model_copy(update={"box": [0.4, 0.4, 0.5, 0.5], "action": "sitting " * 40})
    crowded = story_plan(frames=[plan.frames[1].model_copy(update={"items": [small]})])
    warnings = Story(tiny_pipe, crowded, steps=1, calibration=QUICK).frame("alone").report["warnings"]
    assert [w.split(":")[0] for w in warnings if "too small" in w] == ["cat"]
    assert sum("text encoder hears 32 of" in w for w in warnings) == 1
    assert Story(tiny_pipe, plan, steps=1, calibration=QUICK).frame("empty").report["warnings"] == []


def test_item_weight_scales_guidance_inside_the_item(tiny_pipe):
    """Weight 0 takes the text's pull from the item's cells: there the guided output is the unconditional one."""
    plan = story_plan()
    silent = plan.frames[1].items[0].model_copy(update={"weight": 0.0, "box": [0.0, 0.0, 1.0, 1.0]})
    quiet = story_plan(frames=[plan.frames[1].model_copy(update={"items": [silent]})])
    zero = Story(tiny_pipe, quiet, steps=2, guidance=9.0, calibration=QUICK).frame("alone").pixels_sha256
    other = Story(tiny_pipe, quiet, steps=2, guidance=0.0, calibration=QUICK).frame("alone").pixels_sha256
    assert zero == other

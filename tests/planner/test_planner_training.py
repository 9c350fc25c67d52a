"""The planner's stories and its training: keyed, convertible, resumable."""

import itertools
import sys
from pathlib import Path

import pytest
import torch

from raccord.planner.cast import Role, cast_story
from raccord.planner.compose import compose
from raccord.planner.reading import read_story, split_story
from raccord.planner.repair import repair
from raccord.planner.scene import Scene, rename
from raccord.planner.tuning import learning_rate
from raccord.planner.world import read_world, write_world
from raccord.sampler.plan import read_plan, write_plan

ROOT = Path(__file__).resolve().parents[2]
for folder in (ROOT / "benchmarks" / "planner", ROOT / "benchmarks"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import corpus  # noqa: E402
from measure import score, total  # noqa: E402
from recipe import new_model, with_adapter  # noqa: E402
from stage.stories.story import story  # noqa: E402
from stage.stories.words import NOISE_ADJECTIVES, NOISE_ADVERBS  # noqa: E402
from stage.world.vocabulary import ACCESSORIES, card  # noqa: E402
from tokens import build_tokenizer  # noqa: E402
from training import Run, batch_of_step, train  # noqa: E402

MODEL = ROOT / "models" / "planner"
RUN = Run(
    layout="careful", steps=4, batch=2, rate=1e-2, warmup=2, box_weight=0.5, curriculum=((1.0, 2),), checkpoint_every=2
)


@pytest.fixture(scope="module")
def world():
    return read_world(MODEL / "world.json")


@pytest.fixture(scope="module")
def tokenizer(world):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "world", lambda: world)
        yield build_tokenizer(stories=60)


def test_a_story_is_a_function_of_seed_and_number():
    assert story(1, 7) == story(1, 7)
    assert story(1, 7) != story(1, 8)
    assert story(1, 7) != story(2, 7)
    # The layout changes boxes, never the words or who is there.
    careless = story(1, 7, layout="careless")
    assert careless.text == story(1, 7).text
    assert total([score(careless.scene, story(1, 7).scene)])["frames_cast"] == 100


@pytest.mark.parametrize("held_out", [False, True])
def test_stories_read_back_and_make_valid_plans_without_repair(world, held_out):
    for number in range(60):
        told = story(3, number, held_out=held_out)
        sentences = split_story(told.text)
        reading = read_story(told.text, world)
        assert len(sentences) == len(told.scene.frames)
        assert set(reading.names) == set(told.names)
        assert held_out or set(reading.unknown) <= {*NOISE_ADVERBS, *NOISE_ADJECTIVES}
        assert Scene.model_validate_json(told.scene.model_dump_json()) == told.scene
        assert repair(told.scene, reading=reading) == (told.scene, ())
        plan = compose(told.scene, sentences=sentences, world=world, seed=number, size=world.size)
        assert read_plan(write_plan(plan)) == plan
        assert len(plan.frames) == len(sentences)
        _agrees(told.scene, reading, cast_story(reading, world), world, known=not held_out)


def _agrees(scene, reading, cast, world, *, known):
    """What plain code reads in a story is what its scene shows; with unknown words it may read other actions."""
    names = {f"#{number}": name for number, name in enumerate(reading.names, start=1)}
    assert {names.get(role.name, role.name): role.cards(world)[0] for role in cast.roles} == {
        being.name: being.card for being in scene.entities
    }
    told = set()
    for choice, shot in zip(cast.choices, scene.frames, strict=True):
        assert choice.background == shot.background
        assert {names.get(name, name) for name in choice.shown} == {item.entity for item in shot.items}
        stated = {(names.get(a, a), word, names.get(b, b)) for a, word, b in choice.relations}
        now = {(relation.subject, relation.relation, relation.object) for relation in shot.relations}
        told |= now
        # Whoever plays with a thing is beside it; the story's own scene does not say so.
        told |= {one for one in stated if one[1] == "next to" and " plays with " in shot.sentence}
        # What a frame says holds, and what an earlier one said may last.
        assert now <= stated <= told
        if known:
            doing = {names.get(name, name): action for name, action in choice.actions}
            assert doing == {item.entity: item.action for item in shot.items}


def test_wordings_of_one_story_tell_the_same_scene():
    changed = 0
    for number in range(40):
        first, second = (story(3, number, wording=wording) for wording in (0, 1))
        changed += first.text != second.text
        assert first.scene.entities == second.scene.entities
        for one, other in zip(first.scene.frames, second.scene.frames, strict=True):
            assert one.model_copy(update={"sentence": "-"}) == other.model_copy(update={"sentence": "-"})
    assert changed > 30


def test_roles_word_their_looks_as_the_world_does():
    looks = itertools.product(("fox", "owl"), (None, "orange"), (None, "white"), ("plain", "striped"), ACCESSORIES)
    for kind, colour, second, pattern, accessory in looks:
        if second and not colour:
            continue
        for size in (None, "large"):
            worn = None if accessory == "none" else accessory
            role = Role("x", kind, colour, second, pattern, worn, size)
            expected = card(kind=kind, colour=colour, second=second, pattern=pattern, accessory=accessory, size=size)
            assert role.cards(read_world(MODEL / "world.json")) == (expected,)


def test_training_and_held_out_stories_share_no_name():
    train_names = {name for number in range(150) for name in story(3, number).names}
    held_out = {name for number in range(150) for name in story(3, number, held_out=True).names}
    assert train_names
    assert held_out
    assert not train_names & held_out


def test_careful_layouts_score_full_and_careless_ones_do_not():
    careful = total([score(story(3, n).scene, story(3, n).scene) for n in range(60)])
    assert set(careful.values()) == {100.0}
    careless = total([score(story(3, n, layout="careless").scene, story(3, n).scene) for n in range(60)])
    assert careless["relations_hold"] < 80
    assert careless["relations_said"] == 100


def test_renaming_and_back_gives_the_same_scene():
    scene = story(3, 5).scene
    there = {being.name: f"#{number}" for number, being in enumerate(scene.entities)}
    assert rename(rename(scene, there), {value: key for key, value in there.items()}) == scene


def test_the_world_file_reads_back(world, tmp_path):
    path = tmp_path / "world.json"
    path.write_text(write_world(world), encoding="utf-8")
    assert read_world(path) == world
    path.write_text('{"cards": []}')
    with pytest.raises(ValueError, match="fields must be"):
        read_world(path)


def test_the_tokenizer_gives_texts_back(world, tokenizer):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "world", lambda: world)
        for number in range(500, 520):
            prompt, completion = corpus.training_example(number, layout="careless")
            assert tokenizer.decode(tokenizer(prompt + completion).input_ids) == prompt + completion


def test_only_completions_are_learned(world, tokenizer, monkeypatch):
    monkeypatch.setattr(corpus, "world", lambda: world)
    ids, weights = batch_of_step(RUN, 1, tokenizer)
    for row, row_weights in zip(ids.tolist(), weights.tolist(), strict=True):
        pairs = list(zip(row, row_weights, strict=True))
        learned = tokenizer.decode([token for token, weight in pairs if weight > 0])
        assert learned.startswith('{"entities"')
        assert learned.endswith("<end>")
        # What the grammar quotes needs no learning.
        assert learned.count('"sentence":"","background"') == learned.count('"sentence"') > 0
        assert sum(weight == RUN.box_weight for _, weight in pairs) == 4 * learned.count('"box"')


def test_learning_rate_warms_up_and_falls_to_a_twentieth():
    assert learning_rate(RUN, 0) < learning_rate(RUN, 1) == RUN.rate
    assert learning_rate(RUN, RUN.steps) == pytest.approx(RUN.rate / 20)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("adapter", [False, True])
def test_a_killed_run_resumes_to_the_same_bits(world, tokenizer, monkeypatch, tmp_path, adapter):
    monkeypatch.setattr(corpus, "world", lambda: world)

    def fresh():
        model = new_model(tokenizer, width=32, layers=1)
        return with_adapter(model, rank=2) if adapter else model

    def kill(step, loss, count):
        if step == 3:
            raise _Killed

    whole, torn = fresh(), fresh()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    train(whole, tokenizer, RUN, tmp_path / "whole.safetensors")
    with pytest.raises(_Killed):
        train(torn, tokenizer, RUN, tmp_path / "torn.safetensors", report=kill)
    torn = fresh()
    train(torn, tokenizer, RUN, tmp_path / "torn.safetensors")
    after, resumed = whole.state_dict(), torn.state_dict()
    assert all(torch.equal(after[name], resumed[name]) for name in after)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert not adapter or all("lora" in name for name in changed)

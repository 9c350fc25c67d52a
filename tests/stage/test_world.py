"""The world is a pure function of its keys, and its ground truth is true."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from stage.draws import Draws, key
from stage.model.tokenizer import build_tokenizer
from stage.world import scene as world
from stage.world import vocabulary
from stage.world.captions import caption

BENCHMARKS = Path(world.__file__).resolve().parents[2]


def _digest(numbers) -> str:
    import hashlib

    return hashlib.sha256(b"".join(world.render(world.sample_scene(7, n)).tobytes() for n in numbers)).hexdigest()


def test_same_key_same_bytes_in_another_process_and_order():
    code = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "import hashlib\nfrom stage.world import scene as world\n"
        "pictures = {n: world.render(world.sample_scene(7, n)).tobytes() for n in (3, 1, 2, 0)}\n"
        "print(hashlib.sha256(b''.join(pictures[n] for n in range(4))).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _digest(range(4))


def test_other_keys_other_scenes():
    scenes = {repr(world.sample_scene(seed, n)._replace(seed=0, number=0)) for seed in (0, 1) for n in range(50)}
    assert len(scenes) > 90


def test_keys_are_frozen():
    # A change here would silently change every cached picture and every trained model.
    assert key(1, "scene", 2) == 6698257814475676382
    assert 0.0 <= Draws(1, "scene", 2).uniform() < 1.0


def test_every_item_is_visible_and_fills_its_box():
    for number in range(60):
        scene = world.sample_scene(11, number)
        alone = [world.silhouettes(scene._replace(items=(item,)))[0] for item in scene.items]
        for item, visible, whole in zip(scene.items, world.silhouettes(scene), alone, strict=True):
            assert visible.sum() >= world.VISIBLE * whole.sum(), (number, item)
            rows, columns = np.flatnonzero(whole.max(1) > 0), np.flatnonzero(whole.max(0) > 0)
            seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / world.SIDE
            # Coverage is known to a pixel on each side.
            assert np.abs(seen - item.box).max() <= 1.01 / world.SIDE, (number, item, seen)


def test_an_item_changes_the_picture_only_inside_its_silhouette():
    scene = next(s for s in (world.sample_scene(3, n) for n in range(100)) if len(s.items) == 2)
    both, without = world.render(scene), world.render(scene._replace(items=scene.items[:1]))
    outside = world.silhouettes(scene)[1] == 0
    assert np.array_equal(both[outside], without[outside])
    assert not np.array_equal(both, without)


def test_captions_are_short_and_every_word_is_one_token():
    tokenizer = build_tokenizer()
    texts = [caption(world.sample_scene(5, n), Draws(5, "caption", n)) for n in range(1500)]
    counts = [len(ids) for ids in tokenizer(texts).input_ids]
    assert max(counts) <= vocabulary.MAX_TOKENS - 2
    for word in vocabulary.words():
        assert tokenizer.tokenize(word) == [word + "</w>"]
    known = {*vocabulary.words(), ","}
    assert {word for text in texts for word in text.replace(",", " ,").split()} <= known


def test_text_outside_the_world_still_encodes():
    tokenizer = build_tokenizer()
    ids = tokenizer("Zoë's čat, 3 dragons 火").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]


def test_background_prompts_name_no_kind():
    nouns = {word for words in vocabulary.SYNONYMS.values() for word in words}
    for phrases in vocabulary.BACKGROUNDS.values():
        assert not nouns & {word for phrase in phrases for word in phrase.split()}

"""The world is a pure function of its keys, and its ground truth is true."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from stage.draws import Draws, key
from stage.world import paint, vocabulary
from stage.world import scene as world
from stage.world.captions import action, caption, entity_caption, paraphrases

BENCHMARKS = Path(world.__file__).resolve().parents[2]
# Every word of the world before it grew; texts written with them stay in distribution.
OLD_WORDS = """
    a an and around at ball beach bear behind blue boat brown bunny car cat clearing cottage dog down empty facing
    field forest frog front grass grassy green hat hill house in kitten left looking meadow next night of on one
    orange owl pink puppy purple rabbit red resting right sand sandy scarf ship sitting snow snowy standing stars
    the there three to toad top tree two under waiting walking wearing with woods yellow
""".split()


def _digest(numbers) -> str:
    return hashlib.sha256(b"".join(world.render(world.sample_scene(7, n)).tobytes() for n in numbers)).hexdigest()


def _item(kind: str, **changes) -> world.Item:
    fields = {"colour": "red", "second": None, "pattern": "plain", "accessory": "none", "size": "large"}
    fields |= {"box": (0.2, 0.2, 0.8, 0.8), "z": 0, "facing": "left", "pose": "standing"}
    return world.Item(kind, **(fields | changes))


def test_same_key_same_bytes_in_another_process_and_order():
    code = (
        f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
        "import hashlib\nfrom stage.world import scene as world\n"
        "pictures = {n: world.render(world.sample_scene(7, n)).tobytes() for n in (7, 3, 1, 2, 0, 5, 4, 6)}\n"
        "print(hashlib.sha256(b''.join(pictures[n] for n in range(8))).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == _digest(range(8))


def test_other_keys_other_scenes():
    scenes = {repr(world.sample_scene(seed, n)._replace(seed=0, number=0)) for seed in (0, 1) for n in range(50)}
    assert len(scenes) > 95


def test_keys_are_frozen():
    # A change here would silently change every cached picture and every trained model.
    assert key(1, "scene", 2) == 6698257814475676382
    assert 0.0 <= Draws(1, "scene", 2).uniform() < 1.0


@pytest.mark.parametrize("portrait", [False, True])
def test_every_item_is_visible_and_fills_its_box(portrait):
    for number in range(150):
        scene = world.sample_scene(11, number, portrait=portrait)
        alone = [world.silhouettes(scene._replace(items=(item,)))[0] for item in scene.items]
        for item, visible, whole in zip(scene.items, world.silhouettes(scene), alone, strict=True):
            assert visible.sum() >= world.VISIBLE * whole.sum(), (number, item)
            rows, columns = np.flatnonzero(whole.max(1) > 0), np.flatnonzero(whole.max(0) > 0)
            seen = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / world.SIDE
            # Coverage is known to a pixel on each side; a pointed tip can fade out for one more.
            assert np.abs(seen - item.box).max() <= 2 / world.SIDE, (number, item, seen)


def test_sizes_are_the_boxes_longer_sides_and_all_occur_alone():
    assert [high < low for (_, high), (low, _) in zip(*[list(world.SIDES.values())[k:] for k in (0, 1)], strict=False)]
    alone = set()
    for number in range(300):
        scene = world.sample_scene(4, number)
        assert len({(item.kind, item.colour) for item in scene.items}) == len(scene.items)
        for item in scene.items:
            low, high = world.SIDES[item.size]
            assert low - 1e-9 <= max(item.box[2] - item.box[0], item.box[3] - item.box[1]) <= high + 1e-9
        alone |= {item.size for item in scene.items if len(scene.items) == 1}
    assert alone == set(vocabulary.SIZES)


def test_every_kind_pose_and_accessory_draws_a_form_of_its_own():
    seen: dict[bytes, tuple[str, str, str]] = {}
    for kind in vocabulary.KINDS:
        creature = kind in vocabulary.CREATURES
        for pose in vocabulary.POSES if creature else ("standing",):
            for accessory in vocabulary.ACCESSORIES if creature else ("none",):
                item = _item(kind, pose=pose, accessory=accessory)
                picture = world.render(world.Scene("meadow", "day", "clear", (item,), 0, 0), side=64).tobytes()
                assert picture not in seen, (kind, pose, accessory, seen.get(picture))
                seen[picture] = (kind, pose, accessory)


def test_facing_right_is_facing_left_mirrored():
    for kind in vocabulary.CREATURES:
        left, right = (
            world.silhouettes(world.Scene("snow", "day", "clear", (_item(kind, facing=facing),), 0, 0))[0]
            for facing in ("left", "right")
        )
        # The box is centred, so only the rounding of coverage differs, and at a few sharp tips the rasteriser's corner.
        apart = np.abs(left[:, ::-1] - right)
        assert (apart > 0.03).sum() <= 6, kind
        assert apart.max() <= 0.5, kind


def _share_near(picture, mask, colours) -> float:
    pixels = picture[mask > 0.99].astype(float)
    near = np.zeros(len(pixels), bool)
    for colour in colours:
        near |= np.abs(pixels - colour).max(1) <= 3
    return float(near.mean())


def test_body_colours_dominate_and_patterns_show():
    bare = []
    for kind in vocabulary.KINDS:
        for pose in vocabulary.POSES if kind in vocabulary.CREATURES else ("standing",):
            aspect = world.natural_aspect(kind, pose, "none")
            width, height = min(1, aspect), min(1, 1 / aspect)
            box = (0.5 - 0.45 * width, 0.5 - 0.45 * height, 0.5 + 0.45 * width, 0.5 + 0.45 * height)
            plain = world.Scene("meadow", "day", "clear", (_item(kind, pose=pose, box=box),), 0, 0)
            mask = world.silhouettes(plain)[0]
            # Shades of red count as red.
            own = [paint.tones("red")[name] for name in ("base", "dark", "light", "pale", "outline")]
            bare.append((_share_near(world.render(plain), mask, own), kind, pose))
            for pattern in vocabulary.PATTERNS[1:]:
                item = plain.items[0]._replace(pattern=pattern, second="blue")
                picture = world.render(plain._replace(items=(item,)))
                blue = _share_near(picture, mask, [vocabulary.COLOURS["blue"]])
                assert blue >= 0.02, (kind, pose, pattern, blue)
                assert _share_near(picture, mask, own) > blue, (kind, pose, pattern)
    assert min(bare)[0] >= 0.3, min(bare)
    assert np.mean([share for share, _, _ in bare]) >= 0.5


def test_patterns_use_colours_that_can_be_told_apart():
    for colour in vocabulary.COLOURS:
        assert colour not in vocabulary.second_colours(colour)
        assert len(vocabulary.second_colours(colour)) >= 5
    for number in range(100):
        for item in world.sample_scene(12, number).items:
            assert (item.second is None) == (item.pattern == "plain")
            assert item.second is None or item.second in vocabulary.second_colours(item.colour)


def test_an_item_changes_the_picture_only_inside_its_silhouette():
    pairs = [s for s in (world.sample_scene(3, n) for n in range(60)) if len(s.items) == 2 and s.weather == "clear"]
    for scene in pairs[:12]:
        both, without = world.render(scene), world.render(scene._replace(items=scene.items[:1]))
        outside = world.silhouettes(scene)[1] == 0
        # A pixel barely touched has a coverage that rounds to zero; it may change by one level.
        assert np.abs(both.astype(int) - without)[outside].max() <= 1
        assert not np.array_equal(both, without)


def test_an_occluder_takes_what_it_covers():
    far, near = _item("bear", box=(0.1, 0.1, 0.7, 0.7)), _item("house", box=(0.5, 0.4, 0.9, 0.9), z=1)
    scene = world.Scene("street", "night", "clear", (far, near), 0, 0)
    alone = [world.silhouettes(scene._replace(items=(item,)))[0] for item in scene.items]
    visible = world.silhouettes(scene)
    assert np.allclose(visible[1], alone[1])
    assert np.allclose(visible[0], alone[0] * (1 - alone[1]), atol=1e-6)
    assert visible[0].sum() < alone[0].sum()
    swapped = world.silhouettes(scene._replace(items=(near._replace(z=0), far._replace(z=1))))
    assert np.allclose(swapped[1], alone[0])


def _says(text: str, phrase: str) -> bool:
    return f" {phrase} " in f" {text.replace(',', ' ')} "


def test_captions_are_true_short_and_of_known_words():
    known = {*vocabulary.words(), ","}
    longest = 0
    for number in range(700):
        scene = world.sample_scene(5, number, portrait=number % 5 == 0)
        text = caption(scene, Draws(5, "caption", number))
        tokens = text.replace(",", " ,").split()
        assert set(tokens) <= known
        longest = max(longest, len(tokens))
        true = {item.colour for item in scene.items} | {item.second for item in scene.items}
        assert {colour for colour in vocabulary.COLOURS if _says(text, colour)} <= true, text
        for table, values in (
            (vocabulary.PATTERN_WORDS, {item.pattern for item in scene.items}),
            (vocabulary.PATTERN_NOUNS, {item.pattern for item in scene.items}),
            (vocabulary.ACCESSORY_WORDS, {item.accessory for item in scene.items}),
            (vocabulary.SIZE_WORDS, {item.size for item in scene.items}),
            (vocabulary.FACING_PHRASES, {item.facing for item in scene.items}),
            (vocabulary.SYNONYMS, {item.kind for item in scene.items}),
            (vocabulary.TIME_PHRASES, {scene.time}),
            (vocabulary.WEATHER_PHRASES, {scene.weather}),
        ):
            for name, phrases in table.items():
                assert name in values or not any(_says(text, phrase) for phrase in phrases), (text, name)
        for item in scene.items:
            assert any(_says(text, noun) for noun in vocabulary.SYNONYMS[item.kind]), (text, item)
        poses = {item.pose for item in scene.items}
        for pose, phrases in vocabulary.ACTIONS.items():
            # "standing there" and "resting there" are said of things, "sitting" and "resting" of who sits.
            said = [p for p in phrases if _says(text.replace("standing there", "").replace("resting there", ""), p)]
            assert pose in poses or not said, (text, said)
        if scene.portrait or not scene.items:
            assert not any(_says(text, p) for phrases in vocabulary.SIZE_WORDS.values() for p in phrases), text
    assert 20 <= longest <= vocabulary.MAX_TOKENS - 2


def test_every_attribute_is_sometimes_told_and_sometimes_not():
    item = _item("cat", second="white", pattern="striped", accessory="crown", size="small", pose="running")
    texts = [entity_caption(item, Draws(1, "look", n), detail=0.8) for n in range(200)]
    for phrases in (("red",), ("white",), ("striped", "stripes"), ("crown",), ("small", "little"), ("kitten",)):
        count = sum(any(_says(text, phrase) for phrase in phrases) for text in texts)
        assert 0 < count < len(texts), phrases
    doings = {action(item, Draws(1, "act", n)) for n in range(200)}
    assert {"", "running"} <= doings
    assert any(text.endswith("facing left") for text in doings)


def test_paraphrases_tell_the_same_in_other_words():
    several = 0
    for number in range(60):
        scene = world.sample_scene(9, number)
        texts = paraphrases(scene, Draws(9, "paraphrase", number), 4)
        assert 1 <= len(texts) == len(set(texts)) <= 4
        several += len(texts) > 1
        for table in (vocabulary.PATTERN_WORDS, vocabulary.ACCESSORY_WORDS, vocabulary.SIZE_WORDS):
            for name, phrases in table.items():
                phrases = [*phrases, *(vocabulary.PATTERN_NOUNS.get(name, ()))]
                told = {
                    sum(text.replace(",", " ").split().count(p.split()[-1]) for p in {*phrases}) > 0 for text in texts
                }
                assert len(told) == 1, (name, texts)
        for colour in vocabulary.COLOURS:
            assert len({_says(text, colour) for text in texts}) == 1, texts
    assert several >= 50


def test_cards():
    assert vocabulary.card(kind="owl") == "an owl"
    look = {"colour": "red", "second": "white", "pattern": "striped", "accessory": "hat", "size": "small"}
    assert vocabulary.card(kind="cat", **look) == "a small striped red and white cat with a hat"
    assert vocabulary.card(kind="fox", colour="red", accessory="glasses") == "a red fox with glasses"
    with pytest.raises(ValueError, match="first colour"):
        vocabulary.card(kind="cat", second="white", pattern="striped")


def test_words_only_grow():
    assert set(OLD_WORDS) <= set(vocabulary.words())


def test_background_prompts_name_no_kind():
    nouns = {word for words in vocabulary.SYNONYMS.values() for word in words}
    for phrases in vocabulary.BACKGROUNDS.values():
        assert not nouns & {word for phrase in phrases for word in phrase.split()}


def test_every_word_is_one_token_and_other_text_still_encodes():
    build_tokenizer = pytest.importorskip("stage.model.tokenizer").build_tokenizer
    tokenizer = build_tokenizer()
    for word in vocabulary.words():
        assert tokenizer.tokenize(word) == [word + "</w>"]
    ids = tokenizer("Zoë's čat, 3 wyverns 火").input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]


def test_a_portrait_of_somebody_has_the_same_looks_and_a_setting_of_its_own():
    settings, changed = set(), set()
    for number in range(60):
        (looks,) = world.sample_scene(5, number, portrait=True).items
        other = world.portrait_of(looks, 5, number, rates=world.DEFAULT)
        assert other == world.portrait_of(looks, 5, number, rates=world.DEFAULT)
        assert other.portrait
        (item,) = other.items
        free = {"size": "", "box": (0, 0, 0, 0), "z": 0, "facing": "", "pose": ""}
        assert item._replace(**free) == looks._replace(**free)
        assert 0 <= item.box[0] < item.box[2] <= 1
        assert 0 <= item.box[1] < item.box[3] <= 1
        settings.add(other.setting)
        changed |= {name for name in free if getattr(item, name) != getattr(looks, name)}
    assert len(settings) > 4
    assert changed >= {"box", "facing", "pose"}

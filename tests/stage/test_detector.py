"""The reader's parts obey their laws, and the shipped reader reads the world."""

import math

import numpy as np
import pytest
import torch
from stage.instruments import degrade, examples
from stage.instruments.metrics.matching import iou
from stage.instruments.networks import CROP, HEADS, NOTHING, Finder, Namer, cut, find, signal
from stage.instruments.reader import WEIGHTS, export, load_reader, size_of
from stage.instruments.reading import Reading
from stage.world.scene import PORTRAIT_SIDES, SIDES, render, sample_scene


def test_perfect_maps_give_the_true_boxes_back():
    scenes = [sample_scene(3, number) for number in range(24)]
    target = examples.maps_of(scenes)
    maps = torch.cat([torch.logit(target.heat[:, None], eps=1e-4), target.sides.nan_to_num(1.0)], 1)
    for scene, (boxes, scores) in zip(scenes, find(maps, least=0.99, most=12), strict=True):
        assert len(boxes) == len(scene.items)
        assert (scores > 0.99).all()
        for item in scene.items:
            assert max(iou(item.box, tuple(box)) for box in boxes.tolist()) > 0.999


def test_the_finder_loss_is_least_for_perfect_maps():
    from stage.instruments.train import finder_loss

    target = examples.maps_of([sample_scene(3, number) for number in range(6)])
    perfect = torch.cat([torch.logit(target.heat[:, None], eps=1e-4), target.sides.nan_to_num(1.0)], 1)
    focal, distance = finder_loss(perfect, target)
    assert distance == 0
    assert focal < finder_loss(torch.cat([-perfect[:, :1], perfect[:, 1:]], 1), target)[0] / 100
    # Every side off by a tenth of the box: the mean distance over the size is a tenth.
    sides = target.sides.nan_to_num(1.0)
    off = sides + 0.1 * (sides[:, :2] + sides[:, 2:]).repeat(1, 2, 1, 1)
    assert finder_loss(torch.cat([perfect[:, :1], off], 1), target)[1] == pytest.approx(0.1, rel=1e-5)


def test_a_cut_shows_the_box_with_its_margin_and_grey_outside():
    picture = torch.full((1, 3, 96, 96), -1.0)
    picture[:, :, 24:72, 24:72] = 1.0
    index = torch.zeros(1, dtype=torch.int64)
    inner = cut(picture, index, torch.tensor([[0.25, 0.25, 0.75, 0.75]]), margin=0.0)
    assert inner.shape == (1, 3, CROP, CROP)
    assert (inner[..., 1:-1, 1:-1] == 1).all()
    # With a margin of half the box on every side, the box is the middle half of the crop.
    whole = cut(picture, index, torch.tensor([[0.25, 0.25, 0.75, 0.75]]), margin=0.5)
    assert (whole[..., 14:34, 14:34] == 1).all()
    assert (whole[..., 1:10, 1:-1] == -1).all()
    assert (cut(picture, index, torch.tensor([[1.5, 1.5, 1.9, 1.9]])) == 0).all()


def test_training_batches_are_pure_and_true(monkeypatch):
    monkeypatch.setattr(examples, "FRAMES", 6)
    pictures, scenes, crops = examples.batch(9, 4)
    again = examples.batch(9, 4)
    assert torch.equal(pictures, again[0])
    assert torch.equal(crops.crops, again[2].crops)
    assert not torch.equal(pictures, examples.batch(9, 5)[0])
    items = [item for scene in scenes for item in scene.items]
    kinds = [HEADS["kind"][label] for label in crops.labels["kind"].tolist()]
    assert kinds[: len(items)] == [item.kind for item in items]
    assert set(kinds[len(items) :]) == {NOTHING}
    # The correction leads from the cut box to the true one: no side was moved by more than the jitter allows.
    shift = crops.shift[: len(items)]
    assert shift.abs().max() <= examples._JITTER / (1 - 2 * examples._JITTER) + 1e-6
    assert torch.isnan(crops.shift[len(items) :]).all()


def test_degradations_keep_to_their_definitions():
    picture = render(sample_scene(4, 2))
    assert (degrade.noisy(picture, 0.0, 1) == picture).all()
    assert (degrade.blended(picture, picture[::-1], 0.0) == picture).all()
    assert (degrade.wobbled(picture, 0.0, 1)[:-1, :-1] == picture[:-1, :-1]).all()
    flat = np.full((128, 128, 3), 128, np.uint8)
    # 49,152 values: the sample deviation has a standard error of 10 / sqrt(2 * 49152) = 0.03, rounding adds 1 / 12.
    assert degrade.noisy(flat, 10.0, 7).std() == pytest.approx(math.hypot(10, 12**-0.5), abs=0.15)
    step = np.zeros((64, 64, 3), np.uint8)
    step[:, 32:] = 255
    # No pixel of a wobbled step lies on the wrong side by more than the amplitude and bicubic's overshoot (a quarter).
    moved = degrade.wobbled(step, 4.0, 3)
    assert (moved[:, :26] == 0).all()
    assert (moved[:, 38:] == 255).all()
    assert (degrade.as_drawn(picture, 1, 2) == degrade.as_drawn(picture, 1, 2)).all()


@pytest.mark.parametrize(("sides", "portrait"), [(SIDES, False), (PORTRAIT_SIDES, True)])
def test_a_box_tells_its_size(sides, portrait):
    for size, (low, high) in sides.items():
        for longer in (low, (low + high) / 2, high):
            assert size_of((0.1, 0.1, 0.1 + longer, 0.1 + longer / 2), portrait=portrait) == size
            assert size_of((0.1, 0.1, 0.1 + longer / 2, 0.1 + longer), portrait=portrait) == size


def fresh(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        export(tmp_path, Finder(), Namer(), card={"trained_by": "nobody"})
    return tmp_path / "reader.safetensors"


def test_weights_survive_the_file_and_damage_is_refused(tmp_path):
    path = fresh(tmp_path)
    load_reader(tmp_path)
    content = path.read_bytes()
    assert len(content) <= 3_000_000
    for cut_at in (0, 100, len(content) - 1):
        path.write_bytes(content[:cut_at])
        with pytest.raises(ValueError, match="SHA-256"):
            load_reader(tmp_path)
    for position in range(7, len(content), len(content) // 20):
        path.write_bytes(content[:position] + bytes([content[position] ^ 16]) + content[position + 1 :])
        with pytest.raises(ValueError, match="SHA-256"):
            load_reader(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load_reader(tmp_path)


def test_resumed_training_gives_the_same_bits(tmp_path, monkeypatch):
    from stage.instruments.train import train

    monkeypatch.setattr(examples, "FRAMES", 4)
    monkeypatch.setattr("stage.instruments.train.FOUND", 2)
    straight = train(tmp_path / "a", steps=3)
    train(tmp_path / "b", steps=1)
    resumed = train(tmp_path / "b", steps=3)
    for one, other in zip(straight[:2], resumed[:2], strict=True):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


# The shipped reader.


@pytest.fixture(scope="module")
def reader():
    return load_reader()


def test_bad_pictures_are_refused(reader):
    with pytest.raises(ValueError, match="square RGB"):
        reader.read(np.zeros((128, 96, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        reader.read(np.zeros((128, 128, 3), np.float32))


def test_it_reads_scenes_it_never_saw(reader):
    items = found = right = readings = 0
    for number in range(30):
        scene = sample_scene(60_606, number)
        seen = reader.read(render(scene))
        readings += len(seen)
        for item in scene.items:
            near = [one for one in seen if iou(one.box, item.box) >= 0.5]
            items += 1
            found += len(near) > 0
            right += any(one.kind == item.kind for one in near)
        assert all(isinstance(one, Reading) and 0 <= one.score <= 1 and one.sharpness >= 1 for one in seen)
        assert [one.score for one in seen] == sorted((one.score for one in seen), reverse=True)
        assert all((one.second is None) == (one.pattern == "plain") for one in seen)
    # A guard against broken weights, far below the figures of benchmarks/results/instruments.json.
    assert found >= 0.9 * items
    assert right >= 0.85 * items
    assert readings <= 1.1 * items


def test_a_reading_depends_on_the_picture_alone(reader):
    picture = render(sample_scene(60_606, 3))
    first = reader.read(picture)
    reader.read(render(sample_scene(60_606, 4)))
    assert reader.read(picture.copy()) == first
    assert reader.read(np.ascontiguousarray(picture[::-1])[::-1]) == first


def test_empty_and_ruined_pictures_are_not_named(reader):
    named = 0
    for number in range(12):
        scene = sample_scene(60_606, number)
        named += len(reader.read(render(scene._replace(items=()))))
        named += len(reader.read(degrade.blurred(render(scene), 9.0)))
    assert named <= 1


def test_the_shipped_weights_are_small():
    assert (WEIGHTS / "reader.safetensors").stat().st_size <= 3_000_000


def test_signal_is_the_picture_in_minus_one_to_one():
    picture = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    assert signal(picture).flatten().tolist() == pytest.approx([-1, 1, -0.6])

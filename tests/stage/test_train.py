"""Training is keyed and resumable, and its result is a stock diffusers folder."""

import dataclasses
import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from stage.files import replacing
from stage.model.autoencoder import normalise_latents, train_autoencoder
from stage.model.config import SMALL_CPU, TINY, Phase
from stage.model.decoder import decoder_rate, loosened, steepness_loss, train_decoder
from stage.model.latents import (
    batch_of_step,
    channel_scales,
    latents_of_chunk,
    picture_numbers,
    pictures_of_step,
    shown_in_cells,
)
from stage.model.layout import CODE, kind_codes, layout_map
from stage.model.memories import Memories, Sight
from stage.model.muon import orthogonalised
from stage.model.networks import build_scheduler
from stage.model.pictures import layout_of_pictures, remembered, scene_of, shares_of_chunk
from stage.model.probe import CellProbe
from stage.model.rate import learning_rate
from stage.model.step import loss_weight
from stage.model.text import said
from stage.model.tokenizer import build_tokenizer
from stage.model.train import rate_of_step, train
from stage.world.vocabulary import COLOURS, KINDS


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def run(tmp_path_factory, tokenizer):
    """A tiny training that was never stopped: its folder, its autoencoder and its result."""
    folder = tmp_path_factory.mktemp("run")
    autoencoder = train_autoencoder(TINY, folder)
    trained = train(TINY, folder, tokenizer=tokenizer, autoencoder=autoencoder, target=folder / "model")
    return folder, autoencoder, trained


def _digest(*modules) -> str:
    total = hashlib.sha256()
    for module in modules:
        for name, tensor in sorted(module.state_dict().items()):
            total.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("stop", [2, 4, 9, 13])
def test_stopped_anywhere_and_resumed_gives_the_same_weights(stop, run, tokenizer, tmp_path):
    _, autoencoder, trained = run
    train(TINY, tmp_path, tokenizer=tokenizer, autoencoder=autoencoder, target=tmp_path / "model", stop=stop)
    again = train(TINY, tmp_path, tokenizer=tokenizer, autoencoder=autoencoder, target=tmp_path / "model")
    assert _digest(again.text_encoder, again.unet) == _digest(trained.text_encoder, trained.unet)


def test_bfloat16_training_resumes_to_the_same_weights(run, tokenizer, tmp_path):
    _, autoencoder, _ = run
    phases = (Phase(4, portraits=2, turns=2), Phase(2, memories=1.0))
    config = dataclasses.replace(TINY, precision="bfloat16", phases=phases)
    train(config, tmp_path / "a", tokenizer=tokenizer, autoencoder=autoencoder, target=tmp_path / "model")
    train(config, tmp_path / "b", tokenizer=tokenizer, autoencoder=autoencoder, target=tmp_path / "model", stop=4)
    train(config, tmp_path / "b", tokenizer=tokenizer, autoencoder=autoencoder, target=tmp_path / "model")
    whole, resumed = (
        hashlib.sha256((tmp_path / name / "denoiser.safetensors").read_bytes()).hexdigest() for name in "ab"
    )
    assert whole == resumed


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision"):
        dataclasses.replace(TINY, precision="float16")


def test_codes_of_kinds_lie_far_apart_on_a_sphere():
    codes = kind_codes()
    assert codes.shape == (len(KINDS), CODE)
    assert (codes.norm(dim=1) - 2).abs().max() < 0.01
    # 24 points of this sphere can lie 60 degrees apart (its kissing number); there are 26.
    points = codes.double() / codes.double().norm(dim=1, keepdim=True)
    least = math.acos(float((points @ points.T - 2 * torch.eye(len(points))).max()))
    assert 50 < math.degrees(least) < 60


def test_a_map_tells_kind_and_part_of_the_item_in_every_cell():
    shares = torch.zeros(1, 2, 4, 4)
    # A left-facing fox over the left half, and half of each cell of the last column from a right-facing owl.
    shares[0, 0, :, :2] = 1
    shares[0, 1, :, 3] = 0.5
    kinds = torch.tensor([[KINDS.index("fox"), KINDS.index("owl")]])
    places = torch.tensor([[[0.0, 0.0, 0.5, 1.0, 1.0], [0.5, 0.0, 1.0, 1.0, -1.0]]])
    (drawn,) = layout_map(shares, kinds, places)
    fox, owl = kind_codes()[kinds[0]]
    assert torch.equal(drawn[:CODE, :, 0], fox[:, None].expand(-1, 4))
    assert torch.equal(drawn[:CODE, :, 3], owl[:, None].expand(-1, 4) / 2)
    assert not drawn[:, :, 2].any()
    across, down = drawn[CODE:]
    # Cell centres: a quarter and three quarters of the fox's box, where it faces first; a right-facing owl mirrored.
    assert across[0].tolist() == [-0.5, 0.5, 0.0, -0.25]
    assert down[:, 0].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_maps_of_pictures_put_every_item_where_the_scene_has_it(tmp_path):
    maps = layout_of_pictures(TINY, tmp_path, "portrait", 0, list(range(TINY.chunk)))
    for number, drawn in enumerate(maps):
        (item,) = scene_of(TINY, "portrait", number).items
        code = kind_codes()[KINDS.index(item.kind)]
        cells = drawn[:CODE].flatten(1).T
        fullest = cells[cells.norm(dim=1).argmax()]
        assert (fullest / fullest.norm() - code / code.norm()).abs().max() < 1e-3
        # The head of a creature is in the upper half, and the upper half of the item is negative.
        assert drawn[CODE + 1, : int((item.box[1] + item.box[3]) / 2 * len(drawn[0]))].max() <= 0


def test_a_decoder_must_bear_more_noise_on_details():
    noise = loosened(torch.zeros(512, 12, 4, 4), torch.Generator().manual_seed(0))
    spread = noise.std((0, 2, 3))
    assert (spread[:9] - 0.1).abs().max() < 0.01
    # sqrt(E (0.1 + 0.6 u^2)^2) for u uniform in 0..1
    wanted = math.sqrt(0.01 + 2 * 0.1 * 0.6 / 3 + 0.36 / 5)
    assert (spread[9:] - wanted).abs().max() < 0.03


def test_another_seed_gives_other_weights(run, tokenizer, tmp_path):
    _, autoencoder, trained = run
    other = train(
        dataclasses.replace(TINY, seed=1),
        tmp_path,
        tokenizer=tokenizer,
        autoencoder=autoencoder,
        target=tmp_path / "model",
    )
    assert _digest(other.unet) != _digest(trained.unet)


def test_steepness_counts_blur_and_not_a_shift_of_a_pixel():
    target = -torch.ones(1, 3, 24, 24)
    target[..., 12:] = 1
    shifted = target.roll(1, -1)
    shifted[..., 0] = -1
    kernel = torch.tensor([1.0, 2.0, 4.0, 2.0, 1.0]) / 10
    padded = torch.nn.functional.pad(target, (2, 2, 0, 0), mode="replicate")
    blurred = sum(weight * padded[..., i : i + 24] for i, weight in enumerate(kernel))
    assert steepness_loss(target, target) == 0
    # The neighbourhood of 5 reaches one column more on one side and one less on the other.
    edge = math.sqrt(3 * 4 + 1e-6) - 1e-3
    assert steepness_loss(shifted, target).item() == pytest.approx(2 * edge / 23, rel=1e-4)
    assert steepness_loss(blurred, target) > 1.4 * steepness_loss(shifted, target)
    # By pixels it is the other way round.
    assert (blurred - target).square().mean() < (shifted - target).square().mean()


def test_the_decoders_second_cosine_starts_where_the_first_ends():
    rates = [decoder_rate(SMALL_CPU, step) for step in range(SMALL_CPU.decoder_steps + SMALL_CPU.steep_steps)]
    end = SMALL_CPU.decoder_steps
    assert rates[end - 1] < 1e-9 < rates[end]
    assert max(rates[:end]) == pytest.approx(max(rates[end:]), rel=0.01)


def test_autoencoder_and_decoder_rerun_to_the_same_weights(run, tmp_path):
    folder, autoencoder, _ = run
    again = train_autoencoder(TINY, tmp_path)
    assert _digest(again) == _digest(autoencoder)
    encoder = _digest(again.encoder)
    first = _digest(train_decoder(TINY, tmp_path, again))
    assert first == _digest(train_decoder(TINY, folder, train_autoencoder(TINY, folder)))
    assert _digest(again.encoder) == encoder
    assert first != _digest(autoencoder)


def test_training_leaves_the_global_generator_alone(run, tokenizer, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(TINY, tmp_path, tokenizer=tokenizer, autoencoder=run[1], target=tmp_path / "model", stop=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_normalised_latents_have_unit_channels_and_the_same_pictures(run, tmp_path):
    autoencoder = train_autoencoder(dataclasses.replace(TINY, seed=3), tmp_path)
    signals = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(signals).latent_dist.mean).sample
        normalise_latents(autoencoder, signals)
        latents = autoencoder.encode(signals).latent_dist.mean
        after = autoencoder.decode(latents).sample
        spread = autoencoder.encode(signals).latent_dist.std
    assert latents.mean((0, 2, 3)).abs().max() < 1e-4
    assert (latents.std((0, 2, 3)) - 1).abs().max() < 1e-4
    # The posterior's standard deviation is a constant, whose scale follows the latents'.
    assert (spread.amax((0, 2, 3)) - spread.amin((0, 2, 3))).max() < 1e-6
    # Scaling one linear layer up and the next down moves float32 results by rounding only.
    assert (after - before).abs().max() < 1e-4 * before.abs().max().clamp(min=1)


@pytest.mark.parametrize("kind", ["portrait", "scene"])
def test_every_picture_comes_once_an_epoch(kind):
    batch, count = {"portrait": (TINY.portrait_batch, TINY.portraits), "scene": (TINY.scene_batch, TINY.scenes)}[kind]
    for epoch in (0, 1):
        positions = range(epoch * count // batch, (epoch + 1) * count // batch)
        numbers = [number for position in positions for number in picture_numbers(TINY, kind, position)]
        assert sorted(numbers) == list(range(count))


def test_portraits_then_scenes_and_portraits_in_turn_then_scenes():
    shown = [pictures_of_step(TINY, step) for step in range(TINY.steps)]
    assert [kind for kind, _ in shown] == ["portrait"] * 4 + ["scene", "portrait"] * 2 + ["scene"] * 6
    for kind, count in (("portrait", 6), ("scene", 8)):
        wanted = [picture_numbers(TINY, kind, n) for n in range(count)]
        assert [numbers for shown_kind, numbers in shown if shown_kind == kind] == wanted


def test_every_phase_has_a_warm_up_and_a_cosine_that_ends_near_zero():
    rates = [rate_of_step(SMALL_CPU, step, 1.0) for step in range(SMALL_CPU.steps)]
    end = 0
    for phase in SMALL_CPU.phases:
        start, end = end, end + phase.steps
        # The cosine has begun to fall where the warm-up ends.
        fallen = 0.5 * (1 + math.cos(math.pi * SMALL_CPU.warmup / phase.steps))
        assert fallen * phase.peak <= max(rates[start:end]) * 1.001 <= 1.001 * phase.peak
        assert rates[start] < 0.02 * phase.peak
        assert rates[end - 1] < 1e-5
    with pytest.raises(ValueError, match="step"):
        SMALL_CPU.place(SMALL_CPU.steps)


def test_batches_hold_coverage_of_the_items(run, tokenizer):
    folder, autoencoder, _ = run
    empty = torch.zeros(tokenizer.model_max_length, dtype=torch.long)
    batch = batch_of_step(TINY, folder, 0, tokenizer=tokenizer, autoencoder=autoencoder, empty=empty)
    cells = TINY.side // 2 // TINY.factor
    assert batch.latents.shape == (TINY.portrait_batch, TINY.latent_channels, cells, cells)
    assert batch.coverage.shape == (TINY.portrait_batch, cells, cells)
    # a portrait's item is at least half as wide or as high as the frame
    assert (batch.coverage.amax((1, 2)) > 0.5).all()
    assert batch.coverage.min() >= 0
    assert batch.coverage.max() <= 1


def test_the_item_that_covers_more_than_half_of_a_cell_is_shown_there():
    shares = np.zeros((1, 3, 1, 4), np.float32)
    shares[0, :, 0] = [[0.9, 0.5, 0.4, 0.0], [0.1, 0.5, 0.6, 0.0], [0.0, 0.0, 0.0, 0.0]]
    looks = np.array([[[7, 2], [11, 3], [-1, -1]]], np.int8)
    assert shown_in_cells(shares, looks).tolist() == [[[[7, -1, 11, -1]], [[2, -1, 3, -1]]]]


def test_a_portrait_shows_its_own_kind_and_colour(run, tokenizer):
    folder, autoencoder, _ = run
    empty = torch.zeros(tokenizer.model_max_length, dtype=torch.long)
    batch = batch_of_step(TINY, folder, 0, tokenizer=tokenizer, autoencoder=autoencoder, empty=empty)
    _, numbers = pictures_of_step(TINY, 0)
    for shown, number in zip(batch.shown, numbers, strict=True):
        (item,) = scene_of(TINY, "portrait", number).items
        kind, colour = shown[:, shown[0] >= 0].unique(dim=1).squeeze(1).tolist()
        assert (KINDS[kind], tuple(COLOURS)[colour]) == (item.kind, item.colour)


def test_the_probe_learns_what_features_say_and_counts_each_part():
    class Unet(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up_blocks = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])

    unet = Unet()
    probe = CellProbe(TINY, unet)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.zero_()
    shown = torch.tensor([[[[4, -1]], [[2, -1]]]])
    features = torch.randn(1, 16, 1, 2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(RuntimeError, match="has not run"):
        probe.loss(shown)
    unet.up_blocks[0](features)
    # No knowledge: ln 27 for kind or nothing in both cells, ln 10 for the colour of the one with an item.
    alike = (1.2 * math.log(1 + len(KINDS)) + math.log(len(COLOURS))) / 1.2
    assert probe.loss(shown).item() == pytest.approx(alike, rel=1e-5)
    optimiser = torch.optim.Adam(probe.parameters(), lr=0.1)
    for _ in range(60):
        unet.up_blocks[0](features)
        loss = probe.loss(shown)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05


def test_details_are_quieter_than_colours_and_map_and_the_exported_autoencoder_agrees(run, tokenizer):
    from diffusers import AutoencoderKL

    folder, autoencoder, _ = run
    empty = torch.zeros(tokenizer.model_max_length, dtype=torch.long)
    quiet = torch.tensor([1.0] * 9 + [0.5] * 3)
    assert torch.equal(channel_scales(TINY), quiet)
    for step in (0, 5, TINY.steps - 1):
        batch = batch_of_step(TINY, folder, step, tokenizer=tokenizer, autoencoder=autoencoder, empty=empty)
        kind, numbers = pictures_of_step(TINY, step)
        latents = [
            latents_of_chunk(TINY, folder, kind, number // TINY.chunk, autoencoder)[number % TINY.chunk]
            for number in numbers
        ]
        assert torch.equal(batch.latents, torch.tensor(np.stack(latents)).float() * quiet[:, None, None])
    written: Any = AutoencoderKL.from_pretrained(folder / "model" / "vae")
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        ours, theirs = (model.encode(pictures).latent_dist.mean for model in (autoencoder, written))
        same = autoencoder.decode(ours).sample, written.decode(theirs).sample
    # half precision of the written weights
    assert torch.allclose(theirs, ours * quiet[:, None, None], atol=1e-2 * float(ours.abs().max()))
    assert torch.allclose(*same, atol=1e-2 * float(same[0].abs().max()))


def test_only_the_items_cells_see_what_is_kept_and_only_its_own_cells_there():
    from diffusers import UNet2DConditionModel
    from diffusers.models.attention_processor import AttnProcessor

    build: Any = UNet2DConditionModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = build(
            in_channels=4,
            out_channels=4,
            down_block_types=("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2,
            block_out_channels=(8, 8),
            layers_per_block=1,
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=4,
        )
    unet.set_attn_processor(AttnProcessor())
    memories = Memories(unet)
    attention = unet.get_submodule("up_blocks.1.attentions.0.transformer_blocks.0.attn1")
    own, other = torch.randn(2, 1, 16, 8, generator=torch.Generator().manual_seed(1)).unbind(0)
    with torch.no_grad():
        plain = attention(own)
        with memories.keeping():
            attention(other)
        assert torch.equal(attention(own), plain)
        item, shown = torch.zeros(2, 1, 4, 4, dtype=torch.bool).unbind(0)
        item[0, :2, :2] = True
        shown[0, 3, :] = True
        memories.sight = Sight(item, shown)
        seen = attention(own)
        hidden = other.clone()
        hidden[:, :12] = 7.0
        with memories.keeping():
            memories.sight = None
            attention(hidden)
        memories.sight = Sight(item, shown)
        # what the other picture holds beside the item changes nothing
        assert torch.allclose(attention(own), seen, atol=1e-6)
    changed = (seen - plain).abs().amax((0, 2)) > 1e-3
    assert changed.view(4, 4).tolist() == item[0].tolist()


def test_twins_show_the_remembered_item_and_its_box_sees_them(run, tokenizer):
    folder, autoencoder, _ = run
    config = dataclasses.replace(TINY, phases=(Phase(12, memories=1.0),), caption_dropout=0.0)
    empty = torch.zeros(tokenizer.model_max_length, dtype=torch.long)
    hidden = 0
    for step in range(3):
        batch = batch_of_step(config, folder, step, tokenizer=tokenizer, autoencoder=autoencoder, empty=empty)
        assert batch.twin is not None
        _, numbers = pictures_of_step(config, step)
        for row, number in enumerate(numbers):
            items = sorted(scene_of(config, "scene", number).items, key=lambda item: item.z)
            if not items:
                assert not batch.twin.item[row].any()
                continue
            one = items[remembered(config, number, len(items))]
            (twin,) = scene_of(config, "twin", number).items
            assert (one.kind, one.colour, one.second, one.pattern, one.accessory) == (
                *(twin.kind, twin.colour, twin.second),
                *(twin.pattern, twin.accessory),
            )
            side = batch.twin.item.shape[-1]
            middles = (torch.arange(side) + 0.5) / side
            x0, y0, x1, y1 = one.box
            down, across = (middles > y0) & (middles < y1), (middles > x0) & (middles < x1)
            box = down[:, None] & across
            shares = shares_of_chunk(config, folder, "scene", number // config.chunk)[number % config.chunk]
            others = torch.from_numpy(np.delete(shares, items.index(one), 0).astype(np.float32)).sum(0)
            # Where another item covers half of a cell, it is the one that is seen there.
            assert torch.equal(batch.twin.item[row], box & (others < 0.5))
            hidden += int((box & (others >= 0.5)).sum())
            assert batch.twin.shown[row].any()
    assert hidden


def test_a_dropped_caption_sees_no_memory(run, tokenizer):
    folder, autoencoder, _ = run
    config = dataclasses.replace(TINY, phases=(Phase(12, memories=1.0),), caption_dropout=1.0)
    empty = torch.zeros(tokenizer.model_max_length, dtype=torch.long)
    batch = batch_of_step(config, folder, 0, tokenizer=tokenizer, autoencoder=autoencoder, empty=empty)
    assert batch.twin is None
    assert not batch.tokens.any()


def test_what_a_caption_has_said_so_far():
    text = "a striped red and white cat with a hat , sitting next to a small puppy in the woods at night"
    states = dict(zip(text.split(), said(text.split()), strict=True))
    cat = {("kind", "cat"), ("colour", "red"), ("second", "white"), ("pattern", "striped")}
    assert states["red"] == {("colour", "red"), ("pattern", "striped")}
    assert states["cat"] == cat
    assert states["sitting"] == cat | {("accessory", "hat"), ("pose", "sitting")}
    assert states["puppy"] == {("kind", "dog"), ("size", "small")}
    assert states["night"] == states["puppy"] | {("setting", "forest"), ("time", "night")}


def test_pattern_nouns_name_the_second_colour():
    assert said("a blue cat with white spots".split())[-1] == {
        *{("kind", "cat"), ("colour", "blue")},
        *{("second", "white"), ("pattern", "spotted")},
    }


@pytest.mark.parametrize("shape", [(8, 8), (16, 144), (144, 16)])
def test_orthogonalised_matrices_keep_their_singular_vectors(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    inside = u.T @ orthogonalised(matrix) @ v.T
    values = inside.diagonal()
    # The rounds are polynomials of the singular values alone.
    assert (inside - torch.diag(values)).abs().max() < 1e-9
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_schedule_of_training():
    rates = [learning_rate(step, steps=1_000, peak=2.0, warmup=100) for step in range(1_000)]
    assert max(rates) == pytest.approx(2.0, rel=0.03)
    assert 0 < rates[-1] < 1e-5
    assert rates[49] == pytest.approx(1.0, rel=0.01)
    snr = torch.tensor([0.0, 1.0, 4.0, 99.0])
    assert loss_weight(snr, 5.0).tolist() == pytest.approx([1.0, 1.0, 1.0, 0.05])
    assert build_scheduler().alphas_cumprod[-1] < 1e-6


def test_export_loads_with_stock_diffusers_and_draws(run):
    from diffusers import StableDiffusionPipeline

    folder, _, trained = run
    pipe: Any = StableDiffusionPipeline.from_pretrained(folder / "model")
    pipe.set_progress_bar_config(disable=True)
    assert {pipe.unet.dtype, pipe.vae.dtype, pipe.text_encoder.dtype} == {torch.float32}
    for name, parameter in pipe.unet.state_dict().items():
        assert torch.equal(parameter, trained.unet.state_dict()[name].half().float()), name
    picture = pipe(
        "a red cat", num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np"
    ).images[0]
    assert picture.shape == (TINY.side, TINY.side, 3)
    assert math.isfinite(picture.sum())
    lines = (folder / "model" / "SHA256SUMS").read_text().splitlines()
    assert {line.split("  ")[1] for line in lines} >= {"model_index.json", "unet/diffusion_pytorch_model.safetensors"}
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / "model" / name).read_bytes()).hexdigest() == digest


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "state"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

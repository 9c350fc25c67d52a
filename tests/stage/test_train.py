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
from stage.model.decoder import decoder_rate, steepness_loss, train_decoder
from stage.model.latents import (
    batch_of_step,
    channel_scales,
    latents_of_chunk,
    picture_numbers,
    pictures_of_step,
    shown_in_cells,
)
from stage.model.muon import orthogonalised
from stage.model.networks import build_scheduler
from stage.model.pictures import scene_of
from stage.model.probe import CellProbe
from stage.model.rate import learning_rate
from stage.model.text import said
from stage.model.tokenizer import build_tokenizer
from stage.model.train import loss_weight, rate_of_step, train
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


@pytest.mark.parametrize("stop", [2, 4, 9])
def test_stopped_anywhere_and_resumed_gives_the_same_weights(stop, run, tokenizer, tmp_path):
    _, autoencoder, trained = run
    train(TINY, tmp_path, tokenizer=tokenizer, autoencoder=autoencoder, target=tmp_path / "model", stop=stop)
    again = train(TINY, tmp_path, tokenizer=tokenizer, autoencoder=autoencoder, target=tmp_path / "model")
    assert _digest(again.text_encoder, again.unet) == _digest(trained.text_encoder, trained.unet)


def test_bfloat16_training_resumes_to_the_same_weights(run, tokenizer, tmp_path):
    _, autoencoder, _ = run
    phases = (Phase(4, "first", portraits=2, turns=2), Phase(2, "later"))
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


@pytest.mark.parametrize(("kind", "pool"), [("portrait", range(32)), ("scene", range(32)), ("scene", range(32, 48))])
def test_every_picture_comes_once_an_epoch(kind, pool):
    batch = TINY.portrait_batch if kind == "portrait" else TINY.scene_batch
    for epoch in (0, 1):
        positions = range(epoch * len(pool) // batch, (epoch + 1) * len(pool) // batch)
        numbers = [number for position in positions for number in picture_numbers(TINY, kind, pool, position)]
        assert sorted(numbers) == list(pool)


def test_portraits_then_scenes_and_portraits_in_turn_then_scenes_of_each_set():
    shown = [pictures_of_step(TINY, step) for step in range(TINY.steps)]
    assert [kind for kind, _ in shown] == ["portrait"] * 4 + ["scene", "portrait"] * 2 + ["scene"] * 6
    first, later, every = range(TINY.scenes), range(TINY.scenes, TINY.scenes + TINY.later_scenes), range(48)
    portraits = [numbers for kind, numbers in shown if kind == "portrait"]
    assert portraits == [picture_numbers(TINY, "portrait", range(TINY.portraits), n) for n in range(6)]
    scenes = [numbers for kind, numbers in shown if kind == "scene"]
    wanted = [(first, n) for n in range(4)] + [(later, n) for n in range(2)] + [(every, n) for n in range(2)]
    assert scenes == [picture_numbers(TINY, "scene", pool, n) for pool, n in wanted]


def test_every_phase_has_a_warm_up_and_a_cosine_that_ends_near_zero():
    rates = [rate_of_step(SMALL_CPU, step, 1.0) for step in range(SMALL_CPU.steps)]
    end = 0
    for phase in SMALL_CPU.phases:
        start, end = end, end + phase.steps
        assert max(rates[start:end]) == pytest.approx(phase.peak, rel=0.01)
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
            self.up_blocks = torch.nn.ModuleList([torch.nn.Identity()])

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


def test_details_are_quieter_than_colours_and_the_exported_autoencoder_agrees(run, tokenizer):
    from diffusers import AutoencoderKL

    folder, autoencoder, _ = run
    empty = torch.zeros(tokenizer.model_max_length, dtype=torch.long)
    quiet = torch.tensor([1.0] * 3 + [0.5] * 5)
    for step, scales in ((0, torch.ones(8)), (7, torch.ones(8)), (8, quiet), (TINY.steps - 1, quiet)):
        assert torch.equal(channel_scales(TINY, TINY.place(step).phase), scales)
        batch = batch_of_step(TINY, folder, step, tokenizer=tokenizer, autoencoder=autoencoder, empty=empty)
        kind, numbers = pictures_of_step(TINY, step)
        latents = [
            latents_of_chunk(TINY, folder, kind, number // TINY.chunk, autoencoder)[number % TINY.chunk]
            for number in numbers
        ]
        assert torch.equal(batch.latents, torch.tensor(np.stack(latents)).float() * scales[:, None, None])
    written: Any = AutoencoderKL.from_pretrained(folder / "model" / "vae")
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        ours, theirs = (model.encode(pictures).latent_dist.mean for model in (autoencoder, written))
        same = autoencoder.decode(ours).sample, written.decode(theirs).sample
    # half precision of the written weights
    assert torch.allclose(theirs, ours * quiet[:, None, None], atol=1e-2 * float(ours.abs().max()))
    assert torch.allclose(*same, atol=1e-2 * float(same[0].abs().max()))


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

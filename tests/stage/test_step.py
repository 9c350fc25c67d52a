"""A step's gradients from parts of its batch."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from stage.model.config import TINY
from stage.model.latents import Batch, Twin
from stage.model.memories import Memories
from stage.model.networks import build_scheduler, build_text_encoder, build_unet
from stage.model.probe import CellProbe
from stage.model.step import Networks, differentiate, draw, step_loss
from stage.model.tokenizer import build_tokenizer
from stage.world.vocabulary import COLOURS, KINDS

CELLS = TINY.side // TINY.factor


@pytest.fixture(scope="module")
def networks():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    unet = build_unet(TINY).train()
    text_encoder = build_text_encoder(TINY, build_tokenizer()).train()
    yield Networks(text_encoder, unet, CellProbe(TINY, unet), Memories(unet))
    torch.set_num_threads(threads)


def _batch(count: int, memories: bool) -> Batch:
    generator = torch.Generator().manual_seed(count)

    def whole(most: int, *shape: int) -> torch.Tensor:
        return torch.randint(most, (count, *shape), generator=generator)

    latents, other = torch.randn(2, count, TINY.latent_channels, CELLS, CELLS, generator=generator)
    shown = torch.stack([whole(len(KINDS), CELLS, CELLS), whole(len(COLOURS), CELLS, CELLS)], 1)
    item, seen = whole(2, CELLS, CELLS).bool(), whole(2, CELLS, CELLS).bool()
    twin = Twin(other, whole(50, 8), seen, item) if memories else None
    return Batch(latents, torch.rand(count, CELLS, CELLS, generator=generator), shown, whole(50, 8), twin)


def _gradients(networks: list[Networks], threads: int, memories: bool, config: Any = TINY) -> list[torch.Tensor]:
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        alphas = build_scheduler().alphas_cumprod
        differentiate(config, 3, _batch(4, memories), networks=networks, threads=pool, alphas=alphas)
    return [parameter.grad for parameter in networks[0].parameters() if parameter.grad is not None]


def test_one_more_thread_has_modules_of_its_own_and_the_same_parameters(networks):
    other = networks.shared()
    assert all(a is b for a, b in zip(networks.parameters(), other.parameters(), strict=True))
    for mine, its in zip(networks, other, strict=True):
        assert mine is not its
    before = {id(module) for module in networks.unet.modules()}
    assert not before & {id(module) for module in other.unet.modules()}
    # What its denoiser shows goes to its own probe and memories.
    batch = _batch(2, memories=True)
    with other.memories.keeping():
        other.unet(batch.latents, 500, other.text_encoder(batch.tokens).last_hidden_state)
    assert torch.isfinite(other.probe.loss(batch.shown))
    with pytest.raises(RuntimeError, match="probe"):
        networks.probe.loss(batch.shown)


@pytest.mark.parametrize("memories", [False, True])
def test_parts_give_the_mean_of_their_gradients_whoever_computes_them(networks, memories):
    both = [networks, networks.shared()]
    side_by_side, in_turn = (_gradients(both, threads, memories) for threads in (2, 1))
    assert all(torch.equal(a, b) for a, b in zip(side_by_side, in_turn, strict=True))

    batch = _batch(4, memories)
    drawn = draw(TINY, 3, batch, 1000)
    total = [torch.zeros_like(parameter) for parameter in networks.parameters()]
    for half in (slice(0, None, 2), slice(1, None, 2)):
        rows = batch.map(lambda tensor, half=half: tensor[half])
        mine = type(drawn)(*(None if tensor is None else tensor[half] for tensor in drawn))
        loss, _ = step_loss(TINY, rows, mine, networks, build_scheduler().alphas_cumprod)
        for sum_, gradient in zip(total, torch.autograd.grad(loss / 2, networks.parameters()), strict=True):
            sum_ += gradient
    assert all(torch.equal(a, b) for a, b in zip(side_by_side, total, strict=True))


def test_without_a_probe_parts_change_no_more_than_rounding(networks):
    # The probe's error is a mean over the items' cells of each part, everything else one over pictures.
    config = dataclasses.replace(TINY, probe=0.0)
    whole = _gradients([networks], 1, True, config)
    parts = _gradients([networks, networks.shared()], 2, True, config)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_every_part_sees_the_whole_range_of_timesteps():
    drawn = draw(TINY, 0, _batch(64, memories=False), 1000)
    assert drawn.twin is None
    assert drawn.timesteps.tolist() == sorted(drawn.timesteps.tolist())
    for part in range(2):
        mine = drawn.timesteps[part::2]
        assert mine.min() < 50
        assert mine.max() > 950


def test_batches_must_fall_into_equal_parts():
    with pytest.raises(ValueError, match="parts"):
        dataclasses.replace(TINY, phases=(dataclasses.replace(TINY.phases[0], parts=3),))

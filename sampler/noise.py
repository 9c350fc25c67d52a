"""Where a frame's noise comes from: a field per frame, and inside each box the field of the entity that stands there.

Both are iid N(0, 1), so their patchwork is too; and an entity meets the same noise wherever its box goes, at the start
and, with a stochastic sampler, in every step. All fields are pure functions of (seed, purpose, id, timestep): no
frame's noise depends on another frame.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from raccord.kernels.guided_step import KeyedNoise
from raccord.kernels.noise import gaussian
from raccord.sampler.plan import Frame
from raccord.sampler.regions import latent_box

# what the purposes of step noise begin with
_STEP = "step "


def start_noise(
    seed: int,
    frame: Frame,
    keys: Mapping[str, int],
    tries: Mapping[str, int],
    *,
    shape: tuple[int, int, int],
) -> Tensor:
    """Initial noise of a frame, float32 `shape` on the CPU.

    Args:
        seed: the plan's seed.
        frame: the frame; items are laid back to front by z.
        keys: entity id -> number of its noise field, chosen at casting; absent = 0.
        tries: entity id -> number of the repair try; 0 or absent = the entity's own field.
        shape: (C, latent rows, latent columns).
    """
    return _patchwork(seed, "", 0, frame, keys, tries, shape)


def step_noise(
    seed: int,
    timestep: int,
    frame: Frame,
    keys: Mapping[str, int],
    tries: Mapping[str, int],
    *,
    shape: tuple[int, int, int],
) -> Tensor:
    """Noise of one stochastic step, keyed by the timestep the step leads to; arguments as `start_noise`."""
    return _patchwork(seed, _STEP, timestep, frame, keys, tries, shape)


def keyed_step_noise(
    seed: int,
    timestep: int,
    frame: Frame,
    keys: Mapping[str, int],
    tries: Mapping[str, int],
    *,
    shape: tuple[int, int, int],
) -> KeyedNoise | Tensor:
    """`step_noise` as `guided_step` takes it for one row: only its key where nobody stands in the frame."""
    if not frame.items:
        return KeyedNoise(seed, [frame.id], timestep, f"{_STEP}frame")
    return step_noise(seed, timestep, frame, keys, tries, shape=shape)


def _patchwork(
    seed: int,
    purpose: str,
    step: int,
    frame: Frame,
    keys: Mapping[str, int],
    tries: Mapping[str, int],
    shape: tuple[int, int, int],
) -> Tensor:
    channels, height, width = shape
    noise = gaussian(seed, f"{purpose}frame", [frame.id], [step], shape)[0]
    for item in sorted(frame.items, key=lambda item: item.z):
        x0, y0, x1, y1 = latent_box(item.box, height, width)
        attempt = tries.get(item.entity, 0)
        kind = "repair" if attempt else "entity"
        stream = f"{frame.id}/{item.entity}/{attempt}" if attempt else f"{item.entity}/{keys.get(item.entity, 0)}"
        patch = gaussian(seed, f"{purpose}{kind}", [stream], [step], (channels, y1 - y0, x1 - x0))[0]
        noise[:, y0:y1, x0:x1] = patch
    return noise


def flat_colour(seed: int, frame: str, channels: int) -> Tensor:
    """A keyed flat latent [C, 1, 1] in about -1..1, the background of bootstrap steps."""
    return torch.tanh(gaussian(seed, "bootstrap", [frame], [0], (channels, 1, 1))[0])

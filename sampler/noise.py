"""Where a frame's noise comes from: a field per frame, and inside each box the field of the entity that stands there.

Both are iid N(0, 1), so their patchwork is too; and an entity starts from the same noise wherever its box goes. All
fields are pure functions of (seed, purpose, id): no frame's noise depends on another frame.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from raccord.kernels.noise import gaussian
from raccord.sampler.plan import Frame
from raccord.sampler.regions import latent_box


def entity_field(seed: int, entity: str, key: int, channels: int, height: int, width: int) -> Tensor:
    """The entity's field [C, height, width] for its noise key (0, 1, ...; chosen at casting), from its corner."""
    return gaussian(seed, "entity", [f"{entity}/{key}"], [0], (channels, height, width))[0]


def start_noise(
    seed: int,
    frame: Frame,
    keys: Mapping[str, int],
    tries: Mapping[str, int],
    *,
    channels: int,
    height: int,
    width: int,
) -> Tensor:
    """Initial noise of a frame, float32 [C, height, width] on the CPU.

    Args:
        seed: the plan's seed.
        frame: the frame; items are laid back to front by z.
        keys: entity id -> noise key chosen at casting.
        tries: entity id -> number of the repair try; 0 or absent = the entity's own field.
        channels: C of the latent.
        height: latent rows.
        width: latent columns.
    """
    noise = gaussian(seed, "frame", [frame.id], [0], (channels, height, width))[0]
    for item in sorted(frame.items, key=lambda item: item.z):
        x0, y0, x1, y1 = latent_box(item.box, height, width)
        attempt = tries.get(item.entity, 0)
        if attempt:
            stream = f"{frame.id}/{item.entity}/{attempt}"
            patch = gaussian(seed, "repair", [stream], [0], (channels, y1 - y0, x1 - x0))[0]
        else:
            patch = entity_field(seed, item.entity, keys.get(item.entity, 0), channels, y1 - y0, x1 - x0)
        noise[:, y0:y1, x0:x1] = patch
    return noise


def step_noise(seed: int, frame: str, timestep: int, *, channels: int, height: int, width: int) -> Tensor:
    """Noise of one stochastic step, float32 [C, height, width], keyed by the timestep the step leads to."""
    return gaussian(seed, "step", [frame], [max(timestep, 0)], (channels, height, width))[0]


def flat_colour(seed: int, frame: str, channels: int) -> Tensor:
    """A keyed flat latent [C, 1, 1] in about -1..1, the background of bootstrap steps."""
    return torch.tanh(gaussian(seed, "bootstrap", [frame], [0], (channels, 1, 1))[0])

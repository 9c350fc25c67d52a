"""Noise schedules and timestep spacings: host tables in float64, no tensors.

Symbols (Ho et al. 2020, arXiv 2006.11239, section 2): `beta_t` is the variance added by the forward process at
timestep t, and `alpha_bar_t = prod_{s <= t} (1 - beta_s)` the share of the signal's variance that is left after it.
diffusers calls `alpha_bar` `alphas_cumprod`. Timesteps count from 0, so the papers' t is ours plus one.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise


def betas(schedule: str, *, length: int, start: float, end: float) -> tuple[float, ...]:
    """Variances of the forward process, one per training timestep.

    Args:
        schedule: "linear" (arXiv 2006.11239, section 4), "scaled_linear" (linear in sqrt(beta), arXiv 2112.10752),
            "squaredcos_cap_v2" (arXiv 2102.09672, eq. 17, capped at 0.999), "sigmoid" (arXiv 2203.02923) or
            "laplace" (arXiv 2407.03297).
        length: number of training timesteps, at least 1.
        start: first beta; the two alpha-bar schedules ("squaredcos_cap_v2", "laplace") do not use it.
        end: last beta, likewise.

    Raises:
        ValueError: `schedule` is unknown or `length` is below 1.
    """
    if length < 1:
        raise ValueError(f"num_train_timesteps must be at least 1, got {length}")
    if schedule == "linear":
        return _line(start, end, length)
    if schedule == "scaled_linear":
        return tuple(root * root for root in _line(math.sqrt(start), math.sqrt(end), length))
    if schedule == "sigmoid":
        return tuple(start + (end - start) / (1.0 + math.exp(-x)) for x in _line(-6.0, 6.0, length))
    if schedule == "squaredcos_cap_v2":
        return _betas_of(_cosine_alpha_bar, length)
    if schedule == "laplace":
        return _betas_of(_laplace_alpha_bar, length)
    known = "linear, scaled_linear, squaredcos_cap_v2, sigmoid, laplace"
    raise ValueError(f"beta_schedule must be one of {known}, got {schedule!r}")


def rescale_zero_terminal_snr(table: Sequence[float]) -> tuple[float, ...]:
    """Betas whose last alpha_bar is exactly 0, the first unchanged (Lin et al. 2023, arXiv 2305.08891, algorithm 1)."""
    roots = [math.sqrt(value) for value in alphas_cumprod(table)]
    first, last = roots[0], roots[-1]
    if first == last:
        raise ValueError(f"rescale_betas_zero_snr needs at least two timesteps with noise, got betas {tuple(table)}")
    scaled = [(root - last) * (first / (first - last)) for root in roots]
    ratios = [after / before for before, after in pairwise(scaled)]
    return (1.0 - scaled[0] ** 2, *(1.0 - ratio**2 for ratio in ratios))


def alphas_cumprod(table: Sequence[float]) -> tuple[float, ...]:
    """`alpha_bar_t`, the running product of `1 - beta`."""
    products, product = [], 1.0
    for beta in table:
        product *= 1.0 - beta
        products.append(product)
    return tuple(products)


def spaced_timesteps(count: int, *, train_steps: int, spacing: str, offset: int = 0) -> tuple[int, ...]:
    """`count` timesteps in descending order (Lin et al. 2023, arXiv 2305.08891, table 2).

    Args:
        count: number of inference steps, 1..train_steps.
        train_steps: number of training timesteps T; timesteps are 0..T-1.
        spacing: "leading" (multiples of T // count, plus `offset`), "trailing" (from T - 1 downwards by T / count)
            or "linspace" (both ends included). Halves round to even, as numpy's `round` does.
        offset: added to every timestep of "leading"; the other two do not use it.

    Raises:
        ValueError: `count` or `spacing` is not one of the above, or a timestep falls outside 0..T-1.
    """
    if not 1 <= count <= train_steps:
        raise ValueError(f"num_inference_steps must lie in 1..{train_steps} (num_train_timesteps), got {count}")
    if spacing == "leading":
        stride = train_steps // count
        steps = tuple(stride * index + offset for index in reversed(range(count)))
        if steps[0] >= train_steps or steps[-1] < 0:
            raise ValueError(
                f"'leading' spacing of {count} steps with steps_offset={offset} gives timesteps {steps[-1]}..{steps[0]}"
                f" outside 0..{train_steps - 1}: take fewer steps, another steps_offset, or 'trailing' spacing"
            )
        return steps
    # float64 sums in numpy's order, so that ties round the way they do in diffusers
    if spacing == "trailing":
        stride = (train_steps - train_steps / count) - train_steps
        return tuple(round(train_steps + index * stride) - 1 for index in range(count))
    if spacing == "linspace":
        stride = (train_steps - 1) / max(count - 1, 1)
        return tuple(round(index * stride) for index in reversed(range(count)))
    raise ValueError(f"timestep_spacing must be one of leading, trailing, linspace, got {spacing!r}")


def checked_timesteps(timesteps: Sequence[int], *, train_steps: int) -> tuple[int, ...]:
    """`timesteps` as a tuple of ints.

    Raises:
        ValueError: empty, not strictly descending, or outside 0..train_steps-1.
    """
    steps = tuple(int(step) for step in timesteps)
    if not steps:
        raise ValueError("timesteps must hold at least one timestep, got none")
    for index, (before, after) in enumerate(pairwise(steps)):
        if after >= before:
            raise ValueError(f"timesteps must descend, got {before} and then {after} at position {index + 1}")
    if steps[0] >= train_steps or steps[-1] < 0:
        raise ValueError(f"timesteps must lie in 0..{train_steps - 1}, got {steps[-1]}..{steps[0]}")
    return steps


def previous_timestep(timestep: int, timesteps: Sequence[int]) -> int:
    """The timestep that a step from `timestep` lands on: the next lower one of the descending `timesteps`, or -1.

    -1 stands for the clean sample. A `timestep` that is not listed lands on the next lower one that is.
    """
    return next((step for step in timesteps if step < timestep), -1)


def _line(start: float, end: float, length: int) -> tuple[float, ...]:
    gaps = max(length - 1, 1)
    return tuple(start + (end - start) * (index / gaps) for index in range(length))


def _betas_of(alpha_bar: Callable[[float], float], length: int) -> tuple[float, ...]:
    """Betas of a continuous alpha_bar over [0, 1], capped at 0.999 (arXiv 2102.09672, section 3.2)."""
    levels = [alpha_bar(index / length) for index in range(length + 1)]
    return tuple(min(1.0 - after / before, 0.999) for before, after in pairwise(levels))


def _cosine_alpha_bar(time: float) -> float:
    return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2


def _laplace_alpha_bar(time: float) -> float:
    # diffusers and its source code take the root of snr / (1 + snr) here; kept, since models were trained with it
    log_snr = -math.copysign(0.5, 0.5 - time) * math.log(1.0 - 2.0 * abs(0.5 - time) + 1e-6)
    snr = math.exp(log_snr)
    return math.sqrt(snr / (1.0 + snr))

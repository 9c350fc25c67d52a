"""Tables and timesteps against their formulas, evaluated again with 40 digits, and against what they must mean."""

import itertools
import re
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from raccord.sampler import schedule

mpmath.mp.dps = 40
KINDS = ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace"]


def exact_betas(kind, length, start, end):
    """The papers' formulas on mpmath numbers, from the decimal values of the arguments."""
    start, end = mpmath.mpf(start), mpmath.mpf(end)
    share = [mpmath.mpf(index) / max(length - 1, 1) for index in range(length)]
    if kind == "linear":
        return [start + (end - start) * s for s in share]
    if kind == "scaled_linear":
        return [(mpmath.sqrt(start) * (1 - s) + mpmath.sqrt(end) * s) ** 2 for s in share]
    if kind == "sigmoid":
        return [start + (end - start) / (1 + mpmath.exp(6 - 12 * s)) for s in share]
    times = [mpmath.mpf(index) / length for index in range(length + 1)]
    if kind == "squaredcos_cap_v2":
        levels = [mpmath.cos((t + mpmath.mpf("0.008")) / mpmath.mpf("1.008") * mpmath.pi / 2) ** 2 for t in times]
    else:
        half, tiny = mpmath.mpf("0.5"), mpmath.mpf("1e-6")
        tails = [mpmath.log(1 - 2 * abs(half - t) + tiny) / 2 for t in times]
        snr = [mpmath.exp(-tail if t <= half else tail) for t, tail in zip(times, tails, strict=True)]
        levels = [mpmath.sqrt(s / (1 + s)) for s in snr]
    return [min(1 - b / a, mpmath.mpf("0.999")) for a, b in itertools.pairwise(levels)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("length", "start", "end"), [(1, 1e-4, 0.02), (2, 0.3, 0.6), (101, 1e-4, 0.02)])
def test_betas_follow_their_formulas(kind, length, start, end):
    table = schedule.betas(kind, length=length, start=start, end=end)
    exact = exact_betas(kind, length, start, end)
    assert len(table) == length
    # a few roundings each; cos squared near pi / 2 turns an argument's ulp into 1e-16 / 1.6e-3 of its value
    bound = 1e-12 if kind in ("squaredcos_cap_v2", "laplace") else 1e-15
    for ours, truth in zip(table, exact, strict=True):
        assert abs(ours - truth) <= bound * (1 if bound > 1e-15 else truth)


def test_cumulative_product_is_the_product_of_what_each_step_keeps():
    table = schedule.betas("scaled_linear", length=300, start=0.00085, end=0.012)
    exact, products = Fraction(1), []
    for beta in table:
        exact *= 1 - Fraction(beta)
        products.append(exact)
    levels = schedule.alphas_cumprod(table)
    # 1 - beta and the product round once each, so 300 factors stay within 600 half ulps
    assert all(abs(Fraction(ours) / truth - 1) < 600 * 2**-53 for ours, truth in zip(levels, products, strict=True))
    assert schedule.alphas_cumprod([0.5, 0.25]) == (0.5, 0.375)


@pytest.mark.parametrize("kind", KINDS)
def test_zero_terminal_snr_ends_at_zero_and_keeps_the_first_level(kind):
    table = schedule.betas(kind, length=200, start=1e-3, end=0.05)
    before = [mpmath.sqrt(mpmath.mpf(level)) for level in schedule.alphas_cumprod(table)]
    rescaled = schedule.rescale_zero_terminal_snr(table)
    after = schedule.alphas_cumprod(rescaled)
    assert len(rescaled) == 200
    assert rescaled[-1] == 1.0
    assert after[-1] == 0.0
    assert after[0] == pytest.approx(float(before[0] ** 2), rel=1e-15)
    # the roots keep their proportions: an affine map with the two ends fixed (algorithm 1)
    for root, level in zip(before, after, strict=True):
        expected = (root - before[-1]) * before[0] / (before[0] - before[-1])
        assert abs(mpmath.sqrt(mpmath.mpf(level)) - expected) < 1e-13


@pytest.mark.parametrize("train_steps", [1, 2, 61, 200])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_spacings_have_their_length_and_lie_on_their_grid(train_steps, spacing):
    for count in range(1, train_steps + 1):
        timesteps = schedule.spaced_timesteps(count, train_steps=train_steps, spacing=spacing)
        assert len(timesteps) == count
        assert train_steps > timesteps[0]
        assert timesteps[-1] >= 0
        assert len(set(timesteps)) == count
        # the grid is `numerator / denominator`; a timestep is the nearest whole number, on a tie either neighbour
        if spacing == "leading":
            numerators, denominator = range((count - 1) * (train_steps // count), -1, -(train_steps // count)), 1
        elif spacing == "trailing":
            numerators, denominator = range((train_steps - 1) * count, -count, -train_steps), count
            assert timesteps[0] == train_steps - 1
        else:
            denominator = max(count - 1, 1)
            numerators = range((train_steps - 1) * (count - 1), -1, -(train_steps - 1) or -1)
            assert timesteps[-1] == 0
        pairs = list(zip(timesteps, numerators, strict=True))
        assert max(abs(step * denominator - numerator) * 2 for step, numerator in pairs) <= denominator


def test_ties_round_as_on_numpys_grids():
    # diffusers' grids, so that a tie (1000 * 45 / 48 = 937.5) goes the way it went in pictures made with diffusers
    for count in range(1, 1001):
        linspace = np.linspace(0, 999, count).round()[::-1]
        assert schedule.spaced_timesteps(count, train_steps=1000, spacing="linspace") == tuple(linspace)
        trailing = np.arange(1000, 0, -1000 / count).round() - 1
        # one too many for some counts, which is the defect that ours does not have
        assert schedule.spaced_timesteps(count, train_steps=1000, spacing="trailing") == tuple(trailing[:count])


def test_spacings_of_the_papers_table():
    # arXiv 2305.08891, table 2 (T = 1000, S = 10), minus one because our timesteps start at 0
    assert schedule.spaced_timesteps(10, train_steps=1000, spacing="leading") == tuple(range(900, -1, -100))
    assert schedule.spaced_timesteps(10, train_steps=1000, spacing="trailing") == tuple(range(999, -1, -100))
    assert schedule.spaced_timesteps(10, train_steps=1000, spacing="linspace") == tuple(range(999, -1, -111))


def test_offset_moves_leading_timesteps_only():
    assert schedule.spaced_timesteps(5, train_steps=1000, spacing="leading", offset=1) == (801, 601, 401, 201, 1)
    assert schedule.spaced_timesteps(5, train_steps=1000, spacing="leading", offset=199)[0] == 999
    for spacing in ("trailing", "linspace"):
        with_offset = schedule.spaced_timesteps(7, train_steps=1000, spacing=spacing, offset=3)
        assert with_offset == schedule.spaced_timesteps(7, train_steps=1000, spacing=spacing)


def test_previous_timestep_is_the_next_lower_one_listed():
    timesteps = (999, 500, 20, 3)
    assert [schedule.previous_timestep(step, timesteps) for step in timesteps] == [500, 20, 3, -1]
    assert schedule.previous_timestep(700, timesteps) == 500
    assert schedule.previous_timestep(2, timesteps) == -1
    assert schedule.previous_timestep(1, (5, 0)) == 0
    assert schedule.previous_timestep(0, (5, 0)) == -1


def test_checked_timesteps_gives_whole_numbers_back():
    assert schedule.checked_timesteps([999, 20, 0], train_steps=1000) == (999, 20, 0)
    assert schedule.checked_timesteps([7], train_steps=8) == (7,)
    assert all(type(step) is int for step in schedule.checked_timesteps(np.array([3, 1]).tolist(), train_steps=4))


LEADING = (
    "'leading' spacing of {} steps with steps_offset={} gives timesteps {} outside 0..{}: take fewer steps, another"
    " steps_offset, or 'trailing' spacing"
)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: schedule.betas("cosine", length=5, start=0.1, end=0.2),
            "beta_schedule must be one of linear, scaled_linear, squaredcos_cap_v2, sigmoid, laplace, got 'cosine'",
        ),
        (
            lambda: schedule.betas("linear", length=0, start=0.1, end=0.2),
            "num_train_timesteps must be at least 1, got 0",
        ),
        (
            lambda: schedule.rescale_zero_terminal_snr([0.5]),
            "rescale_betas_zero_snr needs at least two timesteps with noise, got betas (0.5,)",
        ),
        (
            lambda: schedule.spaced_timesteps(0, train_steps=10, spacing="leading"),
            "num_inference_steps must lie in 1..10 (num_train_timesteps), got 0",
        ),
        (
            lambda: schedule.spaced_timesteps(11, train_steps=10, spacing="leading"),
            "num_inference_steps must lie in 1..10 (num_train_timesteps), got 11",
        ),
        (
            lambda: schedule.spaced_timesteps(5, train_steps=10, spacing="karras"),
            "timestep_spacing must be one of leading, trailing, linspace, got 'karras'",
        ),
        (
            lambda: schedule.spaced_timesteps(10, train_steps=10, spacing="leading", offset=1),
            LEADING.format(10, 1, "1..10", 9),
        ),
        (
            lambda: schedule.spaced_timesteps(2, train_steps=10, spacing="leading", offset=-1),
            LEADING.format(2, -1, "-1..4", 9),
        ),
        (lambda: schedule.checked_timesteps([], train_steps=10), "timesteps must hold at least one timestep, got none"),
        (
            lambda: schedule.checked_timesteps([9, 4, 4], train_steps=10),
            "timesteps must descend, got 4 and then 4 at position 2",
        ),
        (lambda: schedule.checked_timesteps([10, 7, 4], train_steps=10), "timesteps must lie in 0..9, got 4..10"),
        (lambda: schedule.checked_timesteps([4, -1], train_steps=10), "timesteps must lie in 0..9, got -1..4"),
    ],
)
def test_bad_input_is_told_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()

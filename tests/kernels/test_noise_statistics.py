"""Is the noise standard normal and independent? Twelve questions, each answered by the smallest of its p-values.

The family's error level is 1e-6: a question with n p-values fails when one is below 1e-6 / (12 n) (Bonferroni). The
draws are keyed, so the outcome never changes from run to run. The last tests put flaws into the noise and find them.
"""

import functools

import numpy as np
import pytest
from scipy import optimize, special, stats

from raccord.kernels.noise import gaussian

ALPHA = 1e-6
FIELDS, SIDE = 16, 256
NEIGHBOURS, SAMPLES = 64, 4096


@functools.cache
def fields():
    """float64[16, 65536]: 2^20 values of 16 streams."""
    streams = [f"frame-{index}" for index in range(FIELDS)]
    return gaussian(1, "initial", streams, [1000] * FIELDS, (4, SIDE, SIDE // 4)).double().numpy().reshape(FIELDS, -1)


def two_sided(deviations):
    """p-values of standard normal deviations."""
    return 2 * special.ndtr(-np.abs(np.atleast_1d(deviations)))


def moments(values):
    """The first four moments, overall and of each field, by the central limit theorem."""
    deviations = []
    for sample in [values.reshape(1, -1), values]:
        count = sample.shape[1]
        # E z, E z^2, E z^3, E z^4 = 0, 1, 0, 3; the variances of these powers are 1, 2, 15, 96.
        for power, mean, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
            deviations.append(((sample**power).mean(axis=1) - mean) / np.sqrt(variance / count))
    return two_sided(np.concatenate(deviations))


def kolmogorov_smirnov(values):
    return np.array([stats.kstest(sample, "norm", method="asymp").pvalue for sample in [values.ravel(), *values]])


def anderson_darling(values):
    """Upper bounds of the p-values of A^2 against the fully specified normal.

    In the limit A^2 is the sum of chi-squares_j / (j (j + 1)) (Anderson and Darling 1952), whose moment generating
    function is sqrt(-2 pi s / cos(pi / 2 sqrt(1 + 8 s))), 0 < s < 1; Chernoff's bound is the least value of that times
    exp(-s A^2).
    """

    def bound(statistic):
        def exponent(s):
            return 0.5 * np.log(-2 * np.pi * s / np.cos(np.pi / 2 * np.sqrt(1 + 8 * s))) - s * statistic

        return min(1.0, np.exp(optimize.minimize_scalar(exponent, bounds=(1e-6, 1 - 1e-9), method="bounded").fun))

    def statistic(sample):
        ordered = np.sort(sample)
        weight = 2 * np.arange(1, len(ordered) + 1) - 1
        return -len(ordered) - np.mean(weight * (special.log_ndtr(ordered) + special.log_ndtr(-ordered[::-1])))

    return np.array([bound(statistic(sample)) for sample in [values.ravel(), *values]])


def equiprobable_bins(values):
    inner = special.ndtri(np.arange(1, 1024) / 1024)
    return np.array([stats.chisquare(np.bincount(np.searchsorted(inner, values.ravel()), minlength=1024)).pvalue])


def tails(values):
    """Counts beyond 2, 3, 4 and 4.5 on both sides are binomial."""
    return np.array([
        stats.binomtest(int((sign * values > limit).sum()), values.size, special.ndtr(-limit)).pvalue
        for sign in (-1, 1)
        for limit in (2.0, 3.0, 4.0, 4.5)
    ])  # fmt: skip


def lags(values):
    """Correlations with what comes 1 .. 8 columns, 1 .. 4 rows and 1 .. 3 channels later."""
    field = values.reshape(FIELDS, 4, SIDE, SIDE // 4)
    shifts = [(0, 0, x) for x in range(1, 9)] + [(0, y, 0) for y in range(1, 5)] + [(c, 0, 0) for c in range(1, 4)]
    deviations = []
    for c, y, x in shifts:
        product = field[:, c:, y:, x:] * field[:, : 4 - c, : SIDE - y, : SIDE // 4 - x]
        deviations.append(product.sum() / np.sqrt(product.size))
    return two_sided(deviations)


def words_of_a_counter(values):
    """The values at x and at x + 1, x + 2, x + 3 of one counter fill 32 x 32 equiprobable cells evenly."""
    cell = np.minimum((special.ndtr(values) * 32).astype(int), 31).reshape(-1, 4)
    pairs = [(first, second) for second in range(4) for first in range(second)]
    return np.array([
        stats.chisquare(np.bincount(cell[:, first] * 32 + cell[:, second], minlength=1024)).pvalue
        for first, second in pairs
    ])  # fmt: skip


def correlations(rows):
    """All pairs of rows: of the values, and of their sizes (brought back to normal by their own distribution).

    The p-value of Pearson's r is exact for normal values (Student's t with n - 2 degrees of freedom).
    """
    sizes = special.ndtri(np.clip(special.erf(np.abs(rows) / np.sqrt(2)), 1e-12, 1 - 1e-12))
    r = np.concatenate([np.corrcoef(sample)[np.triu_indices(len(sample), 1)] for sample in (rows, sizes)])
    freedom = rows.shape[1] - 2
    return 2 * stats.t.sf(np.abs(r) * np.sqrt(freedom / (1 - r**2)), freedom)


def neighbours(kind):
    """float64[64, 4096]: rows that differ in one thing only, by as little as it can."""
    order = range(NEIGHBOURS)
    shape = (4, 32, 32)
    draws = {
        "ids": lambda: gaussian(0, "p", [f"frame-{index}" for index in order], [0] * NEIGHBOURS, shape),
        "steps": lambda: gaussian(0, "p", ["a"] * NEIGHBOURS, list(order), shape),
        "purposes": lambda: np.stack([gaussian(0, f"p{index}", ["a"], [0], shape)[0] for index in order]),
        "seeds": lambda: np.stack([gaussian(index, "p", ["a"], [0], shape)[0] for index in order]),
        "channels": lambda: gaussian(0, "p", ["a"], [0], (NEIGHBOURS, 64, 64))[0],
    }
    return np.asarray(draws[kind](), dtype=np.float64).reshape(NEIGHBOURS, SAMPLES)


DISTRIBUTION = [moments, kolmogorov_smirnov, anderson_darling, equiprobable_bins, tails, lags, words_of_a_counter]
NEIGHBOURHOODS = ["ids", "steps", "purposes", "seeds", "channels"]


def rejected(p_values):
    questions = len(DISTRIBUTION) + len(NEIGHBOURHOODS)
    return p_values.min() < ALPHA / (questions * p_values.size)


@pytest.mark.parametrize("question", DISTRIBUTION, ids=lambda question: question.__name__)
def test_the_values_are_standard_normal(question):
    p_values = question(fields())
    assert not rejected(p_values), f"smallest of {p_values.size} p-values: {p_values.min():.3e}"


@pytest.mark.parametrize("kind", NEIGHBOURHOODS)
def test_neighbouring_streams_are_uncorrelated(kind):
    p_values = correlations(neighbours(kind))
    assert not rejected(p_values), f"smallest of {p_values.size} p-values: {p_values.min():.3e}"


def flawed(name):
    values = fields().copy()
    if name == "wide":
        return values * 1.01
    if name == "shifted":
        return values + 0.01
    if name == "clipped":
        return np.clip(values, -3.5, 3.5)
    if name == "rounded":
        return np.round(values * 64) / 64
    # Every fourth value is partly the one before it.
    values[:, 3::4] = 0.98 * values[:, 3::4] + np.sqrt(1 - 0.98**2) * values[:, 2::4]
    return values


@pytest.mark.parametrize(
    ("flaw", "question"),
    [
        ("wide", moments),
        ("wide", anderson_darling),
        ("shifted", moments),
        ("shifted", kolmogorov_smirnov),
        ("clipped", tails),
        ("rounded", equiprobable_bins),
        ("echo", lags),
        ("echo", words_of_a_counter),
    ],
)
def test_flaws_are_found(flaw, question):
    assert rejected(question(flawed(flaw)))


def test_a_repeated_stream_is_found_whatever_its_sign():
    rows = neighbours("ids")
    mixed = rows.copy()
    mixed[5] = 0.9 * rows[5] - np.sqrt(1 - 0.81) * rows[17]
    assert rejected(correlations(mixed))
    sizes_only = rows.copy()
    sizes_only[5] = np.abs(mixed[5]) * np.sign(rows[6])
    assert rejected(correlations(sizes_only))

"""Sensitivity to wording: what paraphrases of one prompt do to its success."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Sensitivity(NamedTuple):
    """`mean` success, its unbiased `variance` within groups, the share of `flips`, and mean `spread` in a group."""

    mean: float
    variance: float
    flips: float
    spread: float


def paraphrase_variance(groups: Sequence[Sequence[float]]) -> Sensitivity:
    """Variance of a score over paraphrases of one prompt, same seed, averaged over prompts.

    The within-group term of the law of total variance, as prompt sensitivity is measured for language models (POSIX,
    arXiv:2410.02185, compares all pairs of prompts of one intent; Sclar and others, arXiv:2310.11324, report the
    spread, best minus worst). For scores of 0 and 1 the variance is half the share of pairs that differ, `flips`.

    Args:
        groups: for each prompt the scores (0..1, or False and True) of its paraphrases, two or more.

    Raises:
        ValueError: a group has fewer than two members.
    """
    short = [index for index, group in enumerate(groups) if len(group) < 2]
    if short or not groups:
        raise ValueError(
            f"paraphrase_variance: groups {short} of {len(groups)} have fewer than two paraphrases; each needs two"
        )
    scores = [np.asarray(group, np.float64) for group in groups]
    pairs = [np.triu_indices(len(group), 1) for group in scores]
    return Sensitivity(
        mean=float(np.mean([group.mean() for group in scores])),
        variance=float(np.mean([group.var(ddof=1) for group in scores])),
        flips=float(np.mean([(group[i] != group[j]).mean() for group, (i, j) in zip(scores, pairs, strict=True)])),
        spread=float(np.mean([np.ptp(group) for group in scores])),
    )

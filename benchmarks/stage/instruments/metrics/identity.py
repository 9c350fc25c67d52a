"""The same entity in several frames: agreement of its identity code, and diversity of its poses beside it."""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stage.instruments.reading import CODE, FREE, Reading


class Agreement(NamedTuple):
    """Shares of frame pairs in 0..1, NaN without pairs. `exact`: the whole code agrees; `attributes`: each part of it;
    `pairs`: how many pairs were compared.
    """

    exact: float
    attributes: dict[str, float]
    pairs: int


def identity_agreement(entities: Iterable[Sequence[Reading | None]], *, found_only: bool = False) -> Agreement:
    """Agreement of identity codes across frames.

    All pairs of frames of one entity, as in the pairwise protocol of ConsiStory+ (One-Prompt-One-Story,
    arXiv:2501.13554) and the self-similarity of ViStoryBench (arXiv:2505.24862, CIDS), with the decoded
    code in the place of an embedding: it can only agree or not.

    Args:
        entities: for each entity its reading in every frame that wants it, None where it was not found.
        found_only: leave out pairs with a None; otherwise they disagree.
    """
    pairs = [
        (a, b)
        for readings in entities
        for a, b in itertools.combinations(readings, 2)
        if not found_only or (a is not None and b is not None)
    ]

    def share(same: list[bool]) -> float:
        return sum(same) / len(same) if same else float("nan")

    exact = share([a is not None and b is not None and a.code == b.code for a, b in pairs])
    attributes = {
        name: share([a is not None and b is not None and getattr(a, name) == getattr(b, name) for a, b in pairs])
        for name in CODE
    }
    return Agreement(exact, attributes, len(pairs))


def pose_diversity(entities: Iterable[Sequence[Reading | None]]) -> float:
    """Share of pairs of frames in which an entity found in both differs in pose or facing; NaN without pairs.

    Diversity of poses as in CoDi (arXiv:2507.08396), where it is the mean distance of key points between pictures of
    one subject; the world's poses are labels, so the distance is 0 or 1. Beside agreement it shows copying: a method
    that repeats one picture has agreement 1 and diversity 0.
    """
    different = [
        any(getattr(a, name) != getattr(b, name) for name in FREE)
        for readings in entities
        for a, b in itertools.combinations([r for r in readings if r is not None], 2)
    ]
    return sum(different) / len(different) if different else float("nan")

"""How many: precision, recall and F1 of counts, and on-stage character count matching."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stage.instruments.reading import Reading
from stage.world.scene import Item

_EPSILON = 1e-6


class CountScores(NamedTuple):
    """Shares in 0..1; a share of nothing is 1, since nothing was got wrong."""

    precision: float
    recall: float
    f1: float


def count_scores(pictures: Iterable[tuple[Sequence[Reading], Sequence[Item]]]) -> CountScores:
    """Counting precision, recall and F1 in the form of HRS-Bench (arXiv:2304.05390, counting): per picture and kind,
    min(found, wanted) are right; the sums over all pictures and kinds give right / found, right / wanted and their
    harmonic mean. Places play no part.
    """
    right = found = wanted = 0
    for readings, items in pictures:
        seen, asked = Counter(r.kind for r in readings), Counter(i.kind for i in items)
        right += (seen & asked).total()
        found += seen.total()
        wanted += asked.total()
    precision = right / found if found else 1.0
    recall = right / wanted if wanted else 1.0
    f1 = 2 * right / (found + wanted) if found or wanted else 1.0
    return CountScores(precision, recall, f1)


def occm(found: int, expected: int) -> float:
    """On-stage character count matching of ViStoryBench (arXiv:2505.24862): 100 exp(-|D - E| / (eps + E)) for D found
    and E expected entities of one picture; 100 is best. With eps = 1e-6 an entity on an empty stage scores 0.
    """
    return 100.0 * math.exp(-abs(found - expected) / (_EPSILON + expected))

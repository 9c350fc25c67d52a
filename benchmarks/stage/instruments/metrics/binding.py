"""Whose attributes are whose: accuracy of attributes, and how often an entity shows another's."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stage.instruments.reading import CODE, FREE, Reading
from stage.world.scene import Item


def attribute_accuracy(
    shown: Iterable[tuple[Reading | None, Item]], names: Sequence[str] = CODE + FREE
) -> dict[str, float]:
    """Per attribute, the share of found entities (not None) read with their item's value; NaN when none was found.

    The binding accuracy of T2I-CompBench (arXiv:2307.06350) with the world's truth in the place of a
    question-answering model.
    """
    pairs = [(reading, item) for reading, item in shown if reading is not None]
    return {
        name: float(np.mean([getattr(r, name) == getattr(i, name) for r, i in pairs])) if pairs else float("nan")
        for name in names
    }


class Leaks(NamedTuple):
    """`rate[i, j]` (i != j): how often entity i showed the value of entity j; `rate[i, i]`: how often its own. Of the
    `trials[i, j]` pictures in which that could be told; NaN where there was none.
    """

    rate: NDArray[np.float64]
    trials: NDArray[np.int64]

    @property
    def leak(self) -> float:
        """Share of all trials between different entities that leaked, NaN without trials."""
        off = ~np.eye(len(self.trials), dtype=bool) & (self.trials > 0)
        return float((self.rate[off] * self.trials[off]).sum() / self.trials[off].sum()) if off.any() else float("nan")


def attribute_leaks(
    pictures: Sequence[tuple[Sequence[Reading | None], Sequence[Item]]], attribute: str, *, entities: int
) -> Leaks:
    """The attribute-leak matrix of one attribute.

    Wrong binding is an attribute of one object drawn on another (Attend-and-Excite, arXiv:2301.13826; T2I-CompBench,
    arXiv:2307.06350). The matrix counts it per ordered pair of entities: a confusion matrix between entities in the
    place of values. A picture is a trial for (i, j) when both are in its truth with different values and i was found;
    every picture in which i was found is a trial for (i, i).

    Args:
        pictures: for each picture the reading of every item (None: not found; `matching.shown`) and the items.
            Position in the picture's list is the entity's index.
        attribute: a field of both, for example "colour".
        entities: size of the matrix.
    """
    hits, trials = np.zeros((entities, entities)), np.zeros((entities, entities), np.int64)
    for readings, items in pictures:
        for i, reading in enumerate(readings):
            if reading is None:
                continue
            own, seen = getattr(items[i], attribute), getattr(reading, attribute)
            for j, other in enumerate(items):
                value = getattr(other, attribute)
                if i == j or value != own:
                    trials[i, j] += 1
                    hits[i, j] += seen == value
    return Leaks(np.where(trials > 0, hits / np.maximum(trials, 1), np.nan), trials)

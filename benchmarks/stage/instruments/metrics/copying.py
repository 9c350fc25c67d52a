"""Copying: whether frames that ask for different poses show the same pixels."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def likeness(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Zero-mean normalised cross-correlation of two crops of one shape, uint8 [H, W, 3], in -1..1: 1 for the same
    picture up to brightness and contrast, 0 when either is flat (Lewis, "Fast normalized cross-correlation", 1995,
    equation 2, without the shift).
    """
    if first.shape != second.shape:
        raise ValueError(f"likeness: crops of shapes {first.shape} and {second.shape}; resize both to one side")
    a, b = (crop.astype(np.float64) - crop.mean((0, 1), dtype=np.float64) for crop in (first, second))
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def copy_score(crops: Sequence[NDArray[np.uint8]], wanted: Sequence[tuple[str, str]]) -> float:
    """Mean likeness, at least 0, over the pairs of crops of one entity that were to differ; NaN when none was.

    The aim is that of the copy-paste score of ViStoryBench (arXiv:2505.24862): high values mean that a method repeats
    pixels where the plan asks for another pose. There the distance is one of face embeddings to the reference; here
    it is taken on pixels, so that the world's own value (renders of the same plan) is the value to compare with.

    Args:
        crops: the entity's box in every frame, uint8 [H, W, 3] of one shape.
        wanted: (pose, facing) that each frame asks for; pairs with the same are left out.
    """
    pairs = itertools.combinations(zip(crops, wanted, strict=True), 2)
    values = [max(0.0, likeness(a, b)) for (a, pose), (b, other) in pairs if pose != other]
    return float(np.mean(values)) if values else float("nan")

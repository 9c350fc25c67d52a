"""The learning rate of every training here."""

import math


def learning_rate(step: int, *, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up to `peak`, times half a cosine that reaches zero after the last of `steps` steps."""
    return peak * min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))

"""Precision of training: float32 weights, and forward passes in the precision of the configuration."""

import contextlib

import torch

from stage.model.config import StageConfig


def autocast(config: StageConfig) -> contextlib.AbstractContextManager[object]:
    """The context of a forward pass. Nothing is cached: one cache serves all threads, and which of them casts a weight
    first would show in the gradients' last bits.
    """
    if config.precision == "bfloat16":
        return torch.autocast(config.device, torch.bfloat16, cache_enabled=False)
    return contextlib.nullcontext()

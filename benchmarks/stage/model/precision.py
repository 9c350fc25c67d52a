"""Precision of training: float32 weights, and forward passes in the precision of the configuration."""

import contextlib

import torch

from stage.model.config import StageConfig


def autocast(config: StageConfig) -> contextlib.AbstractContextManager[object]:
    """The context of a forward pass."""
    if config.precision == "bfloat16":
        return torch.autocast(config.device, torch.bfloat16)
    return contextlib.nullcontext()

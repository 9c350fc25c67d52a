"""Precision of training: bfloat16 on a GPU, float32 on a CPU (many have no bfloat16 instructions)."""

import contextlib

import torch


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The context of a forward pass on this device."""
    if device.type == "cuda":
        return torch.autocast("cuda", torch.bfloat16)
    return contextlib.nullcontext()

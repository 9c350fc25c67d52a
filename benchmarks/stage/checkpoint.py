"""Training state in one atomic safetensors file: weights, averaged weights, optimiser moments, and step and curve in
its header.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from stage.files import replacing


def save_checkpoint(
    path: Path, modules: Mapping[str, torch.nn.Module], optimiser: torch.optim.Optimizer, *, step: int, curve: list[Any]
) -> None:
    """Write the state after `step` steps; a reader sees the previous file or this one."""
    from safetensors.torch import save_file

    tensors = {f"{name}/{k}": v for name, module in modules.items() for k, v in module.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps({"step": step, "curve": curve})})


def load_checkpoint(
    path: Path, modules: Mapping[str, torch.nn.Module], optimiser: torch.optim.Optimizer | None = None
) -> tuple[int, list[Any]]:
    """Load a file of `save_checkpoint` into the modules and the optimiser.

    Returns:
        Steps done and the curve; (0, []) when there is no file.
    """
    if not path.exists():
        return 0, []
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        state = json.loads(file.metadata()["state"])
        names = list(file.keys())
        for name, module in modules.items():
            prefix = f"{name}/"
            module.load_state_dict({k.removeprefix(prefix): file.get_tensor(k) for k in names if k.startswith(prefix)})
        if optimiser is not None:
            parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            moments: dict[int, dict[str, torch.Tensor]] = {}
            for k in names:
                if k.startswith("optimiser/"):
                    _, index, slot = k.split("/")
                    value, like = file.get_tensor(k), parameters[int(index)]
                    # Fused optimisers walk memory, so a moment needs the strides of its parameter (channels last),
                    # which files do not keep.
                    moments.setdefault(int(index), {})[slot] = (
                        torch.empty_like(like).copy_(value) if value.shape == like.shape else value
                    )
            optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return state["step"], state["curve"]

"""The training loop of language models: what comes out is a function of the examples, the schedule and the weights
that went in, however often the run was killed in between.

Nothing is drawn from a generator: step n sees the rows that the caller's function of n returns, losses of one step are
added in their order, and weights, moments and step are written together. AdamW: Loshchilov and Hutter, arXiv
1711.05101.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner.files import write_atomically

if TYPE_CHECKING:
    import torch

# Token ids int64 [batch, length] and their weights in the loss, float32 of the same shape.
Batch = tuple["torch.Tensor", "torch.Tensor"]


@dataclass(frozen=True)
class Schedule:
    """Steps, and AdamW's rate with linear warm-up and cosine decay to a twentieth.

    Attributes:
        checkpoint_every: steps between checkpoints; there is one at the end in any case.
    """

    steps: int
    rate: float
    warmup: int
    weight_decay: float = 0.0
    checkpoint_every: int = 25


def learning_rate(schedule: Schedule, step: int) -> float:
    """The rate of step `step` (0-based)."""
    if step < schedule.warmup:
        return schedule.rate * (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return schedule.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def keyed_rows(keys: Sequence[str], seed: int, step: int, batch: int) -> list[int]:
    """Which examples step `step` sees: `batch` positions in `keys`.

    Every epoch goes through all examples in an order keyed by (seed, epoch, the example's own key), so that neither
    the order of a file nor where a run was stopped changes anything.
    """
    rows: list[int] = []
    for place in range(step * batch, (step + 1) * batch):
        epoch, position = divmod(place, len(keys))
        rows.append(_order(tuple(keys), seed, epoch)[position])
    return rows


def _order(keys: tuple[str, ...], seed: int, epoch: int) -> list[int]:
    def rank(index: int) -> bytes:
        return hashlib.blake2b(f"{seed}\x1f{epoch}\x1f{keys[index]}".encode(), digest_size=16).digest()

    return sorted(range(len(keys)), key=rank)


def summed_loss(model: Any, ids: "torch.Tensor", weights: "torch.Tensor") -> "torch.Tensor":
    """Cross-entropy of the next token, natural log, summed over [batch, length] ids with each token's weight."""
    import torch

    logits = model(input_ids=ids).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum()


def fit(
    model: Any,
    batches_of_step: Callable[[int], Iterable[Batch]],
    schedule: Schedule,
    checkpoint: Path,
    *,
    identity: str = "",
    report: Callable[[int, float, int], None] | None = None,
) -> None:
    """Train in place, going on from `checkpoint` if it is one of this very run.

    Args:
        model: a causal LM of transformers; parameters that require a gradient are trained.
        batches_of_step: what step n sees; the gradient is that of the mean over the weights of all its batches.
        checkpoint: safetensors file of trained weights, moments and step, written atomically.
        identity: hash of what the run depends on; a checkpoint with another one is not used.
        report: called after each step with (steps done, mean loss, tokens seen).

    Raises:
        FloatingPointError: the loss is not finite.
    """
    import torch

    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        trained, lr=schedule.rate, betas=(0.9, 0.98), fused=True, weight_decay=schedule.weight_decay
    )
    step = _restore(checkpoint, model, optimiser, identity)
    model.train()
    while step < schedule.steps:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(schedule, step)
        batches = list(batches_of_step(step))
        total = sum(float(weights[:, 1:].sum()) for _, weights in batches)
        loss = 0.0
        for ids, weights in batches:
            part = summed_loss(model, ids, weights) / total
            part.backward()
            loss += float(part.detach())
        if not math.isfinite(loss):
            raise FloatingPointError(f"step {step + 1}: the loss is {loss}; use a lower rate")
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if report is not None:
            report(step, loss, sum(int((weights != 0).sum()) for _, weights in batches))
        if step % schedule.checkpoint_every == 0 or step == schedule.steps:
            _save(checkpoint, dict(zip(names, trained, strict=True)), optimiser, step, identity)
    model.eval()


def load_weights(checkpoint: Path, model: Any) -> None:
    """Load the trained weights of a checkpoint of `fit` into the parameters of the same names.

    Raises:
        KeyError: the model has no parameter of a name.
    """
    import torch
    from safetensors.torch import load_file

    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, value in load_file(checkpoint).items():
            if name.startswith("model/"):
                parameters[name.removeprefix("model/")].copy_(value)


def _save(path: Path, weights: dict[str, Any], optimiser: Any, step: int, identity: str) -> None:
    from safetensors.torch import save

    tensors = {f"model/{name}": value for name, value in weights.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{slot}": value for slot, value in state.items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    state = json.dumps({"step": step, "identity": identity}, sort_keys=True)
    write_atomically(path, save(tensors, metadata={"state": state}))


def _restore(path: Path, model: Any, optimiser: Any, identity: str) -> int:
    """Steps done: 0 when there is no checkpoint of this run."""
    if not path.exists():
        return 0
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        state = json.loads((file.metadata() or {}).get("state", "{}"))
        if state.get("identity", "") != identity:
            return 0
        moments: dict[int, dict[str, Any]] = {}
        for name in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
            if name.startswith("optimiser/"):
                _, index, slot = name.split("/")
                moments.setdefault(int(index), {})[slot] = file.get_tensor(name)
    load_weights(path, model)
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return int(state["step"])

"""Muon: momentum whose update is made orthogonal, for the matrices and convolutions of a network.

Jordan et al. 2024 (https://kellerjordan.github.io/posts/muon), Liu et al. 2025 (arXiv:2502.16982).

`torch.optim.Muon` takes matrices only and iterates in bfloat16, which CPUs without its instructions emulate; here
convolutions count as matrices of one row an output channel, and float32 stays float32.
"""

from concurrent.futures import Executor
from typing import Any

import torch
from torch import Tensor, nn

# The quintic that takes singular values in 0..1 near 1 in five rounds (Jordan et al.).
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5


def orthogonalised(matrix: Tensor) -> Tensor:
    """U V^T, roughly, of matrix [m, n] = U S V^T: all singular values between about 0.7 and 1.2.

    Each round multiplies from the left by a polynomial of the Gram matrix G = X X^T. The rounds therefore run on
    G [m, m], m <= n, and X is multiplied once at the end.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    gram = x @ x.T
    product: Any = None
    for _ in range(_ROUNDS):
        factor = torch.addmm(gram, gram, gram, beta=_B, alpha=_C)
        factor.diagonal().add_(_A)
        product = factor if product is None else factor @ product
        gram = factor @ gram @ factor
    x = product @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Groups with `orthogonal` true: Nesterov momentum 0.95, orthogonalised, times lr * 0.2 * sqrt(max(m, n)), the size
    of an AdamW step at that lr (arXiv:2502.16982, equation 4). Other groups (vectors, embeddings, first and last
    layers): AdamW with betas 0.9 and 0.99 (Loshchilov and Hutter 2019, arXiv:1711.05101). Both decay weights decoupled.

    Args:
        groups: dicts of "params", "lr" and "orthogonal".
        threads: updates the parameters side by side; each by itself, so that nothing depends on their order.
    """

    def __init__(self, groups: list[dict[str, Any]], *, weight_decay: float, threads: Executor | None = None):
        super().__init__(groups, {"weight_decay": weight_decay})
        self._map: Any = map if threads is None else threads.map

    def step(self, closure: Any = None) -> None:
        """Update every parameter that has a gradient; `closure` is not supported."""
        if closure is not None:
            raise ValueError("closure: Muon takes none")
        # States are read before the threads run, which must not change the dictionary of them.
        jobs = [
            (group, parameter, parameter.grad, self.state[parameter])
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        for _ in self._map(self._update, jobs):
            pass

    @torch.no_grad()
    def _update(self, job: tuple[dict[str, Any], Tensor, Tensor, dict[str, Any]]) -> None:
        group, parameter, gradient, state = job
        update = self._orthogonal if group["orthogonal"] else self._adam
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update(state, gradient), alpha=-group["lr"])

    def _orthogonal(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        state["momentum"].mul_(0.95).add_(gradient)
        matrix = gradient.add(state["momentum"], alpha=0.95).reshape(len(gradient), -1)
        return orthogonalised(matrix).view(gradient.shape) * (0.2 * max(matrix.shape) ** 0.5)

    def _adam(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        if not state:
            state["step"] = torch.zeros(())
            state["first"], state["second"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        state["step"] += 1
        count = state["step"].item()
        state["first"].lerp_(gradient, 1 - 0.9)
        state["second"].lerp_(gradient.square(), 1 - 0.99)
        return (state["first"] / (1 - 0.9**count)) / ((state["second"] / (1 - 0.99**count)).sqrt() + 1e-8)


def build_optimiser(
    orthogonal: list[nn.Module],
    others: list[nn.Module],
    *,
    muon_rate: float,
    rate: float,
    weight_decay: float,
    threads: Executor | None = None,
) -> Muon:
    """Muon for the matrices and convolutions inside the modules `orthogonal`, but for their first and last layers and
    the 1x1 convolutions around latents; AdamW for all else. Each group keeps its greatest learning rate as "peak".
    """
    outer = ("conv_in", "conv_out", "quant_conv", "post_quant_conv")
    inner = [
        parameter
        for module in orthogonal
        for name, parameter in module.named_parameters()
        if parameter.ndim > 1 and not set(name.split(".")) & set(outer)
    ]
    chosen = {id(parameter) for parameter in inner}
    rest = [p for module in (*orthogonal, *others) for p in module.parameters() if id(p) not in chosen]
    return Muon(
        [
            {"params": inner, "lr": 0.0, "peak": muon_rate, "orthogonal": True},
            {"params": rest, "lr": 0.0, "peak": rate, "orthogonal": False},
        ],
        weight_decay=weight_decay,
        threads=threads,
    )

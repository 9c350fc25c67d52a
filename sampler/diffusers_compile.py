"""Planned attention under `torch.compile`: each processor call is one opaque node, computed by the eager code.

What a row draws, the timestep and the memories change from call to call. Traced, they would be constants of the graph,
or a new compilation for every step; as operations they are looked up when the graph runs, and `fullgraph=True` holds.
"""

import itertools
import weakref
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("raccord", "FRAGMENT")
# Numbers belong to modules and stay: a graph compiled for one story serves the next one on the same UNet.
_numbers: weakref.WeakKeyDictionary[torch.nn.Module, int] = weakref.WeakKeyDictionary()
_next_number = itertools.count()
_serving: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def serve(module: torch.nn.Module, target: Any) -> int:
    """Let the operations below call `target` for `module` from now on; returns the number they know the module by."""
    if module not in _numbers:
        _numbers[module] = next(_next_number)
    _serving[_numbers[module]] = target
    return _numbers[module]


def begin_call(sample: Tensor, timestep: Any, text: Tensor, number: int) -> Tensor:
    """Call `before_forward(sample, timestep, text)` for UNet `number` when the graph runs; returns `sample`.

    Go on with the tensor returned: the attention of this call then depends on it, and so comes after.
    """
    return torch.ops.raccord.begin_planned_call(sample, torch.as_tensor(timestep), text, number)


def attend(
    hidden_states: Tensor,
    text: Tensor | tuple[Tensor, Any] | None,
    mask: Tensor | None,
    temb: Tensor | None,
    number: int,
) -> Tensor:
    """Call `attend(hidden_states, text, mask, temb)` of the processor of attention `number` when the graph runs."""
    images: list[Tensor] = []
    if isinstance(text, tuple):
        text, images = text[0], list(text[1])
    return torch.ops.raccord.planned_attention(hidden_states, text, images, mask, temb, number)


@torch.compiler.disable
def _begin_call(sample: Tensor, timestep: Tensor, text: Tensor, number: int) -> Tensor:
    _serving[number].before_forward(sample, timestep, text)
    return sample.clone()


@torch.compiler.disable
def _attend(
    hidden_states: Tensor,
    text: Tensor | None,
    images: list[Tensor],
    mask: Tensor | None,
    temb: Tensor | None,
    number: int,
) -> Tensor:
    heard = (text, images) if images else text
    return _serving[number].attend(hidden_states, heard, mask, temb).contiguous()


def _define(schema: str, implementation: Any) -> None:
    # a replayed CUDA graph would not run the Python that looks things up
    _LIBRARY.define(schema, tags=(torch.Tag.cudagraph_unsafe,))
    name = schema.split("(", 1)[0]
    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"raccord::{name}", lambda first, *_: first.new_empty(first.shape), lib=_LIBRARY)
    torch.library.register_autograd(f"raccord::{name}", _refuse_gradient, lib=_LIBRARY)


def _refuse_gradient(context: Any, *_: Any) -> Any:
    raise RuntimeError(
        "planned attention has no gradient inside torch.compile; compute this call under "
        'torch.compiler.set_stance("force_eager")'
    )


_define("begin_planned_call(Tensor sample, Tensor timestep, Tensor text, SymInt number) -> Tensor", _begin_call)
_define(
    "planned_attention(Tensor hidden, Tensor? text, Tensor[] images, Tensor? mask, Tensor? temb, SymInt number)"
    " -> Tensor",
    _attend,
)

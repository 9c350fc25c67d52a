"""Operations in PyTorch's dispatcher, as `torch.ops.raccord.<name>`: so that `torch.compile`, `torch.export` and CUDA
graphs see one opaque node where Python would see a foreign library.

`torch.library.custom_op` does the same with 16 us a call on the CPU; a plain definition takes 4.
"""

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("raccord", "FRAGMENT")


def define(schema: str, implementation: Callable[..., Any], fake: Callable[..., Any]) -> Any:
    """Register an operation and return its overload, to be called.

    Args:
        schema: as `torch.library.define` takes it, without the namespace.
        implementation: computes it on every device; it has no derivative of its own.
        fake: the same for tensors without data: shape, dtype and strides of the result.
    """
    name = schema.split("(", 1)[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, implementation, "CompositeExplicitAutograd")
    torch.library.register_fake(f"raccord::{name}", fake, lib=_LIBRARY)
    return getattr(torch.ops.raccord, name).default

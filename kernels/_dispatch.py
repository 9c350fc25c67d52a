"""Choosing who computes an operation: every backend gives its reasons for not serving a call, and no reason means yes.

Automatic choice takes the first backend without a reason, in the order the operation lists them. A forced backend
(argument `backend`, or the environment variable RACCORD_BACKEND for every operation) raises with its reasons and never
falls back. Importing this module, or declaring an operation, imports no backend.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

ENVIRONMENT = "RACCORD_BACKEND"


def _no_reasons(**call: Any) -> list[str]:
    return []


@dataclass(frozen=True)
class Backend:
    """One implementation of an operation.

    Args:
        module: where it lives; the module holds a function named like the operation, and is imported on first use.
        available: reasons why it can serve no call at all in this process (nothing built, nothing installed).
        accepts: reasons why it cannot serve this call, given the call's facts as keywords.
    """

    module: str
    available: Callable[[], list[str]] = _no_reasons
    accepts: Callable[..., list[str]] = _no_reasons

    def reasons(self, **call: Any) -> list[str]:
        """Why it cannot serve this call: what it lacks in this process, or else what it refuses about the call."""
        return self.available() or self.accepts(**call)


@dataclass(frozen=True)
class Operation:
    """An operation and its backends, in order of preference."""

    name: str
    backends: Mapping[str, Backend] = field(default_factory=dict)
    _chosen: dict[Any, Callable[..., Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "backends", MappingProxyType(dict(self.backends)))

    def choose(self, forced: str | None = None, *, first: str | None = None, **call: Any) -> Callable[..., Any]:
        """The implementation that serves this call: what `pick` names, imported. A choice once made is kept."""
        key = (forced, first, os.environ.get(ENVIRONMENT), *call.items())
        found = self._chosen.get(key)
        if found is None:
            module = importlib.import_module(self.backends[self.pick(forced, first=first, **call)].module)
            found = self._chosen[key] = getattr(module, self.name)
        return found

    def forget(self) -> None:
        """Drop the choices that were kept: backends, or what they need, have changed in this process."""
        self._chosen.clear()

    def pick(self, forced: str | None = None, *, first: str | None = None, **call: Any) -> str:
        """The name of the backend that serves this call.

        Args:
            forced: name of the backend that must serve it; None reads RACCORD_BACKEND, and empty means automatic.
            first: name of the backend that the automatic choice asks before all others, if any.
            call: the facts the backends' `accepts` ask for, such as `device`.

        Raises:
            ValueError: the forced name is not a backend of this operation.
            RuntimeError: the forced backend cannot serve the call, or none can; with everybody's reasons.
        """
        source = "argument backend" if forced else f"environment variable {ENVIRONMENT}"
        forced = forced or os.environ.get(ENVIRONMENT)
        if not forced:
            return self._first(first, call)
        if forced not in self.backends:
            raise ValueError(f"{self.name} has no backend {forced!r} ({source}); it has {', '.join(self.backends)}")
        if reasons := self.backends[forced].reasons(**call):
            raise RuntimeError(
                f"{self.name}: backend {forced!r}, forced by {source}, cannot serve this call: {'; '.join(reasons)}. "
                f"A forced backend never falls back: force another one, or none for the automatic choice"
            )
        return forced

    def _first(self, preferred: str | None, call: dict[str, Any]) -> str:
        refusals = []
        for name in sorted(self.backends, key=lambda name: name != preferred):
            reasons = self.backends[name].reasons(**call)
            if not reasons:
                return name
            refusals.append(f"{name}: {'; '.join(reasons)}")
        raise RuntimeError(f"{self.name}: no backend can serve this call. {' | '.join(refusals)}")


def triton_reasons() -> list[str]:
    """Why no Triton kernel can run in this process."""
    if importlib.util.find_spec("triton") is None:
        return ["triton is not installed (pip install 'raccord[triton]')"]
    if interpreted():
        return []
    import torch

    return [] if torch.cuda.is_available() else ["no CUDA device, and TRITON_INTERPRET=1 is not set"]


def triton_refuses(device: Any, dtype: Any) -> list[str]:
    """Why the Triton kernels that multiply matrices cannot compute on this device, or in this dtype."""
    import torch

    home = "cpu" if interpreted() else "cuda"
    reasons = [] if device.type == home else [f"it computes on {home} here and the query is on {device}"]
    # the interpreter computes bfloat16 wrongly, and says nothing (triton-lang/triton issue 11585)
    dtypes = (torch.float32, torch.float16) if interpreted() else (torch.float32, torch.float16, torch.bfloat16)
    return reasons if dtype in dtypes else [*reasons, f"it does not compute in {dtype} here"]


def interpreted() -> bool:
    """Whether Triton kernels run in Triton's interpreter, on the CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"

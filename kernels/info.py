"""Who can compute what in this process, and why not: `python -m raccord.kernels.info`."""

import importlib
import pkgutil
import sys
from typing import NamedTuple

import raccord.kernels
from raccord.kernels import _native
from raccord.kernels._dispatch import Operation


class Row(NamedTuple):
    """One backend of one operation."""

    operation: str
    backend: str
    #: why it can serve no call in this process; empty when it can
    reasons: tuple[str, ...]
    #: what it would run on, where there is something to say
    note: str


def operations() -> list[Operation]:
    """The operations of raccord: the `OPERATION` of every folder under `raccord.kernels`. Imports them all."""
    found = []
    for module in pkgutil.iter_modules(raccord.kernels.__path__):
        if module.ispkg:
            operation = getattr(importlib.import_module(f"raccord.kernels.{module.name}"), "OPERATION", None)
            if isinstance(operation, Operation):
                found.append(operation)
    return sorted(found, key=lambda operation: operation.name)


def backends() -> list[Row]:
    """One row for every operation and backend, in order of preference. Imports torch; loads csrc if it is there."""
    return [
        Row(operation.name, name, reasons := tuple(backend.available()), "" if reasons else _note(name))
        for operation in operations()
        for name, backend in operation.backends.items()
    ]


def _note(backend: str) -> str:
    if backend == "cpu":
        compiled, usable = _native.levels()
        return f"libraccord {_native.version()}, runs {usable[-1]} (compiled: {', '.join(compiled)})"
    return ""


def main() -> None:
    """Print the rows."""
    for row in backends():
        verdict = "no: " + "; ".join(row.reasons) if row.reasons else "yes" + (f": {row.note}" if row.note else "")
        sys.stdout.write(f"{row.operation:<20} {row.backend:<10} {verdict}\n")


if __name__ == "__main__":
    main()

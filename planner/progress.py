"""What a command says while it works: on standard error, a live bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Progress:
    """Progress of one command; use it as a context manager.

    On a terminal one live line for the stage at work (and what it does now) is redrawn and vanishes at the end. Where
    standard error is not a terminal there is no animation: a stage says one line when it ends. With `quiet` only
    warnings are printed.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._live = not quiet and sys.stderr.isatty()
        self._bars: Any = None
        self._task: Any = None

    def __enter__(self) -> "Progress":
        if self._live:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
            )
            from rich.progress import (
                Progress as Bars,
            )

            columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=28)]
            columns += [MofNCompleteColumn(), TimeElapsedColumn()]
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    @contextmanager
    def stage(self, what: str) -> Iterator["Progress"]:
        """The block is one stage of the work, named `what`; `step` reports from inside it."""
        began = time.monotonic()
        if self._bars is not None:
            self._task = self._bars.add_task(what, total=None)
        try:
            yield self
        finally:
            if self._bars is not None:
                self._bars.remove_task(self._task)
                self._task = None
        self.say(f"{what}: {time.monotonic() - began:.1f} s")

    def step(self, done: int, total: int, what: str = "") -> None:
        """The stage at work has done `done` of `total` steps."""
        if self._task is not None and self._bars is not None:
            fields = {"description": what} if what else {}
            self._bars.update(self._task, completed=done, total=total, **fields)

    def say(self, line: str) -> None:
        """One line for the person at the screen."""
        if not self._quiet:
            self._print(line)

    def warn(self, line: str) -> None:
        """One line that is printed even when quiet."""
        self._print(f"warning: {line}")

    def _print(self, line: str) -> None:
        text = printable(line)
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """`text` with everything a terminal could obey (escape sequences, bidirectional overrides) spelled out."""
    return "".join(one if one in "\n\t" or one.isprintable() else f"\\u{ord(one):04x}" for one in text)

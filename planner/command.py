"""One running command: signals become exit codes, expected failures one message, the result text or JSON."""

import json
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from raccord.planner.errors import BAD_INPUT, INTERNAL, OK, CommandError, Stopped
from raccord.planner.progress import Progress, printable


class Command:
    """What a command's body sees: `progress` to report on, `result` to end with."""

    def __init__(self, *, as_json: bool) -> None:
        self.progress = Progress()
        self._json = as_json
        self.code = OK

    def result(self, document: dict[str, Any], *, text: str, code: int = OK) -> None:
        """Print `document` as one JSON object with --json, else `text`, on standard output; exit with `code`."""
        self.code = code
        self._print({"ok": code == OK, "exit_code": code, **document}, text)

    def failed(self, error: BaseException, *, code: int, message: str, hint: str, details: dict[str, Any]) -> None:
        """Say what went wrong on standard error, and with --json as an object on standard output."""
        self.code = code
        lines = [f"raccord: {message}", *([f"  {hint}"] if hint else [])]
        print(printable("\n".join(lines)), file=sys.stderr, flush=True)
        if self._json:
            told = {"type": type(error).__name__, "message": message, "hint": hint, **details}
            self._print({"ok": False, "exit_code": code, "error": told}, "")

    def _print(self, document: dict[str, Any], text: str) -> None:
        print(json.dumps(document, ensure_ascii=True, allow_nan=False) if self._json else printable(text), flush=True)


@contextmanager
def running(as_json: bool) -> Iterator[Command]:
    """The body of one command. Always ends in `typer.Exit` with the code that --help documents."""
    from raccord.sampler.plan_error import PlanError

    command = Command(as_json=as_json)
    try:
        with _signals_raise(), command.progress:
            yield command
    except CommandError as error:
        command.failed(error, code=error.code, message=error.message, hint=error.hint, details=error.details)
    except PlanError as error:
        told = {"problems": [problem._asdict() for problem in error.problems]}
        command.failed(error, code=BAD_INPUT, message=f"the plan was refused\n{error}", hint="", details=told)
    except KeyboardInterrupt as error:
        code = error.code if isinstance(error, Stopped) else 128 + signal.SIGINT
        hint = "what is drawn is kept; the same command goes on from there"
        command.failed(error, code=code, message=f"stopped by {signal.Signals(code - 128).name}", hint=hint, details={})
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain once more while it flushes at exit.
        sys.stdout = None
        command.code = 128 + signal.SIGPIPE
    except Exception as error:
        traceback.print_exc()
        hint = "this is a bug in raccord; please report it with the lines above and `raccord doctor --json`"
        command.failed(error, code=INTERNAL, message=f"{type(error).__name__}: {error}", hint=hint, details={})
    raise typer.Exit(command.code)


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Inside the block SIGINT and SIGTERM raise `Stopped` at the next Python instruction."""

    def stop(number: int, frame: FrameType | None) -> None:
        # From here on a second signal ends the process at once.
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, signal.SIG_DFL)
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

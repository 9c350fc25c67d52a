"""Failures a user can solve: printed as one message, without a traceback, and the exit code is `code`."""

from typing import Any

OK = 0
DIFFERENCE = 1
BAD_INPUT = 2
ENVIRONMENT = 3
INTERNAL = 70


class CommandError(Exception):
    """An expected failure.

    `message` says what is wrong and where, `hint` what to do about it; `details` is JSON-able and goes into `--json`.
    """

    code = INTERNAL

    def __init__(self, message: str, *, hint: str = "", details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details or {}


class InputError(CommandError):
    """What the user gave cannot be used: a story, a plan, an option, a folder of someone else's."""

    code = BAD_INPUT


class MachineError(CommandError):
    """What the machine offers does not suffice: a model is missing, a disk is full, a folder is locked."""

    code = ENVIRONMENT


class Stopped(KeyboardInterrupt):
    """SIGINT or SIGTERM arrived; `code` is 130 or 143."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.code = 128 + signal_number

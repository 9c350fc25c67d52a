"""Files written whole or not at all, and input read within bounds."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raccord.planner.errors import InputError, MachineError

TEMPORARY_PREFIX = ".raccord-"
TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: Path, data: bytes) -> None:
    """Put `data` under the name `path`: a reader sees the old file or the new one, never a part.

    The bytes go to a temporary file in the same folder, are forced to disk, and the file is renamed over `path`; a
    symbolic link at `path` is replaced, not followed. Raises `MachineError` when the disk is full, read-only or
    otherwise refuses, with the old file left as it was.
    """
    with told_as_machine_error(f"cannot write {path}"):
        temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def copy_to_temporary(path: Path) -> Path:
    """A second name for the content of `path`, in the same folder, that `remove_temporaries` clears away."""
    with told_as_machine_error(f"cannot copy {path}"):
        temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        temporary.write_bytes(path.read_bytes())
        return temporary


def remove_temporaries(folder: Path) -> None:
    """Clear away what a killed run left behind. Call it only while holding the lock of `folder`."""
    with told_as_machine_error(f"cannot clean up {folder}"):
        for path in folder.glob(f"{TEMPORARY_PREFIX}*{TEMPORARY_SUFFIX}"):
            path.unlink(missing_ok=True)


def read_bounded(source: str | Path, *, limit: int, what: str) -> bytes:
    """At most `limit` bytes of the file `source` ("-" is standard input).

    Raises `InputError` when the file is missing, is not a regular file, cannot be read or holds more than `limit`
    bytes; nothing beyond `limit` + 1 bytes is ever read.
    """
    if str(source) == "-":
        data = sys.stdin.buffer.read(limit + 1)
    else:
        path = Path(source)
        try:
            if not path.is_file():
                kind = "a folder" if path.is_dir() else "a device or pipe" if path.exists() else "missing"
                raise InputError(f"{what} {path} is {kind}", hint=f"name a regular file with {what.lower()} in it")
            with path.open("rb") as file:
                data = file.read(limit + 1)
        except OSError as error:
            raise InputError(f"{what} {path} cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise InputError(f"{what} {source} is longer than {limit} bytes", hint="shorten it or split it")
    return data


@contextmanager
def told_as_machine_error(what: str) -> Iterator[None]:
    """Turn an `OSError` of the block into an `MachineError` that begins with `what`."""
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{what}: {error.strerror or error}",
            hint="files that were complete before are untouched; make room or choose another --out, and run it again",
        ) from error


def _sync_folder(folder: Path) -> None:
    # A rename is durable once its folder is on disk; file systems that cannot sync a folder say EINVAL.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        return
    finally:
        os.close(descriptor)

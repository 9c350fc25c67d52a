"""Atomic files: a reader sees the old content or the new, never a part; arrays and tensors without pickle."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; on success flush it to disk and move it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array as .npy, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path) -> NDArray[Any]:
    """Open an array of `write_array` as a read-only memory map."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def replace_folder(finished: Path, path: Path) -> None:
    """Put the folder `finished` in the place of `path` by two renames; both lie in one file system."""
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(finished, path)
    shutil.rmtree(old, ignore_errors=True)

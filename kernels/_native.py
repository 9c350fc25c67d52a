"""The door to csrc: find libraccord.so, load it once, on first use, and say why not where there is none.

The library knows pointers, sizes and strides, no torch: whoever takes a pointer checks the tensor first.
"""

import ctypes
import functools
from importlib import metadata
from pathlib import Path

FILE_NAME = "libraccord.so"

# The same number as RACCORD_ABI in csrc/raccord.h. An editable install can hold a library older than the Python
# files, and a struct read with the wrong layout is memory corruption, so the two are compared before any call.
_ABI = 4

LEVELS = ("scalar", "avx2", "avx512", "avx512bf16", "amx")

#: Those at which attention multiplies bfloat16 as such.
BFLOAT16_LEVELS = ("avx512bf16", "amx")


class NativeUnavailableError(ImportError):
    """libraccord.so cannot be used; the message says why and what to do."""


@functools.cache
def library() -> ctypes.CDLL:
    """The loaded library.

    Raises:
        NativeUnavailableError: it was not built, does not load, or belongs to another version of raccord.
    """
    path = find()
    if path is None:
        raise NativeUnavailableError(
            f"{FILE_NAME} was not built (installed with RACCORD_BUILD_EXT=0, or without a working C++ compiler): "
            f"install g++ and reinstall raccord"
        )
    try:
        loaded = ctypes.CDLL(str(path))
        abi = loaded.raccord_abi()
    except (OSError, AttributeError) as error:
        raise NativeUnavailableError(f"{path} does not load ({error}): reinstall raccord") from error
    if abi != _ABI:
        raise NativeUnavailableError(f"{path} speaks ABI {abi} and these Python files ABI {_ABI}: reinstall raccord")
    loaded.raccord_version.restype = ctypes.c_char_p
    loaded.raccord_cpu_levels.restype = ctypes.c_uint32
    return loaded


def find() -> Path | None:
    """The library's path, or None. An editable install keeps it in site-packages, away from the Python files."""
    beside = Path(__file__).with_name(FILE_NAME)
    if beside.is_file():
        return beside
    try:
        installed = metadata.distribution("raccord").locate_file(f"raccord/kernels/{FILE_NAME}")
    except metadata.PackageNotFoundError:
        return None
    return Path(str(installed)) if Path(str(installed)).is_file() else None


@functools.cache
def reasons() -> tuple[str, ...]:
    """Why no function of the library can be called in this process; empty when it can."""
    try:
        library()
    except NativeUnavailableError as error:
        return (str(error),)
    return ()


def version() -> str:
    """The version of raccord the library was built from."""
    return library().raccord_version().decode()


def levels() -> tuple[list[str], list[str]]:
    """Instruction-set levels, lowest first: those compiled into the library, and those of them this CPU can run."""
    bits = library().raccord_cpu_levels()
    compiled = [name for level, name in enumerate(LEVELS) if bits >> level & 1]
    usable = [name for level, name in enumerate(LEVELS) if bits >> level & bits >> (16 + level) & 1]
    return compiled, usable

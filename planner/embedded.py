"""The models that come with raccord: found beside the package, checked against their SHA-256 manifest before
anything is loaded."""

import hashlib
from pathlib import Path

MANIFEST = "SHA256SUMS"
# Formats that can run code when they are loaded.
_UNSAFE = frozenset(
    {".bin", ".ckpt", ".dill", ".h5", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"}
)


class EmbeddedModelError(RuntimeError):
    """An embedded model is missing, changed or holds a file that is not allowed."""


def embedded_model(name: str) -> Path:
    """The folder of the embedded model `name` ("planner" or "stage"), every file of which has the hash of its manifest.

    Raises:
        EmbeddedModelError: the folder or a file is missing, changed, unlisted or of a format that can run code.
    """
    if name not in ("planner", "stage"):
        raise EmbeddedModelError(
            f"embedded model {name!r}: there is none; the embedded models are 'planner' and 'stage'"
        )
    folder = Path(__file__).resolve().parent.parent / "models" / name
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Compare every file under `folder` with its manifest (lines "<sha256>  <path>").

    Raises:
        EmbeddedModelError: as `embedded_model`.
    """
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EmbeddedModelError(f"{folder / MANIFEST}: cannot be read ({error.strerror}); reinstall raccord") from None
    expected = {path: digest for digest, _, path in (line.partition("  ") for line in lines if line)}
    found = _files(folder)
    for path in sorted(expected.keys() | found):
        if path not in found:
            raise EmbeddedModelError(f"{folder / path}: missing, though {MANIFEST} lists it; reinstall raccord")
        if path not in expected:
            raise EmbeddedModelError(f"{folder / path}: not listed in {MANIFEST}; remove it or reinstall raccord")
        if _digest(folder / path) != expected[path]:
            raise EmbeddedModelError(f"{folder / path}: its SHA-256 differs from {MANIFEST}; reinstall raccord")


def manifest(folder: Path) -> str:
    """The text of the manifest for the files now under `folder`."""
    return "".join(f"{_digest(folder / path)}  {path}\n" for path in sorted(_files(folder)))


def _files(folder: Path) -> set[str]:
    """Relative paths of all files but the manifest; refuses links and formats that can run code."""
    paths: set[str] = set()
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise EmbeddedModelError(f"{path}: is a link; an embedded model holds plain files only")
        if path.suffix.lower() in _UNSAFE:
            raise EmbeddedModelError(
                f"{path}: {path.suffix} files can run code when loaded; weights must be safetensors"
            )
        if path.is_file() and relative != MANIFEST:
            paths.add(relative)
    return paths


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""`manifest.json`: what a story folder holds, how it was drawn, and the hash of every frame's pixels."""

import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from raccord.planner.errors import InputError
from raccord.planner.files import read_bounded, write_atomically

FORMAT = "raccord-manifest"
VERSION = 1
NAME = "manifest.json"
LIMIT_BYTES = 64 << 20

_FRAME_FILE = re.compile(r"frame-\d{2,4}\.png")
_HEX = re.compile(r"[0-9a-f]{16,128}")


@dataclass(frozen=True)
class FrameRecord:
    """One drawn frame.

    `id` is its identity, `ordinal` its place in the plan from 1, `file` its name in the folder, `key` the hash of
    everything its pixels depend on, `pixels_sha256` the hash of the uint8 RGB pixels, `seconds` the wall time of
    drawing it, `report` what the drawing call said about presence and repair.
    """

    id: str
    ordinal: int
    file: str
    key: str
    pixels_sha256: str
    seconds: float
    report: dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """What a story folder holds.

    `settings` are steps, guidance, backend; `model` is the id the user gave and the hash of its weights; `versions`
    of raccord and the libraries; `fingerprint` of the machine within which equal pixels are promised.
    """

    plan_sha256: str
    seed: int
    settings: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, Any]
    fingerprint: dict[str, Any]
    complete: bool = False
    frames: tuple[FrameRecord, ...] = field(default=())

    def frame(self, frame_id: str) -> FrameRecord | None:
        return next((record for record in self.frames if record.id == frame_id), None)

    def with_frame(self, record: FrameRecord) -> "Manifest":
        """This manifest with `record` put in, in the order of the plan."""
        others = [other for other in self.frames if other.id != record.id]
        return replace(self, frames=tuple(sorted([*others, record], key=lambda one: one.ordinal)))

    @property
    def recipe(self) -> dict[str, Any]:
        """How the frames were drawn: settings, model, versions."""
        return {"settings": self.settings, "model": self.model, "versions": self.versions}


def frame_file(ordinal: int, total: int) -> str:
    """`frame-01.png`: the place in the plan, counted from 1, with as many digits as `total` needs and at least two."""
    return f"frame-{ordinal:0{max(2, len(str(total)))}d}.png"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    document = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=False)
    write_atomically(folder / NAME, text.encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`.

    The file is untrusted: names of frames must be ordinals, hashes hex, nothing in it is ever used as a path.
    Raises `InputError` when it is missing, damaged, not ours, or of another version.
    """
    path = folder / NAME
    data = read_bounded(path, limit=LIMIT_BYTES, what="Manifest")
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise ValueError(f"format is {document['format']!r}, not {FORMAT!r}")
        if document["version"] != VERSION:
            raise InputError(
                f"manifest {path} has version {document['version']!r}, this raccord reads version {VERSION}",
                hint="use the raccord that wrote it, or draw plan.json again into a new folder",
            )
        frames = tuple(_frame_record(entry) for entry in document["frames"])
        ids, names = {record.id for record in frames}, {record.file for record in frames}
        if len(ids) != len(frames) or len(names) != len(frames):
            raise ValueError("frames: an id or a file appears twice")
        return Manifest(
            plan_sha256=_typed(document, "plan_sha256", str, _HEX),
            seed=_typed(document, "seed", int),
            settings=_typed(document, "settings", dict),
            model=_typed(document, "model", dict),
            versions=_typed(document, "versions", dict),
            fingerprint=_typed(document, "fingerprint", dict),
            complete=_typed(document, "complete", bool),
            frames=frames,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise InputError(
            f"{path} is not a manifest that raccord wrote: {reason}",
            hint="restore it, or draw plan.json again into a new folder",
        ) from error


def _frame_record(entry: Any) -> FrameRecord:
    if not isinstance(entry, dict):
        raise TypeError("frames: every entry must be an object")
    return FrameRecord(
        id=_typed(entry, "id", str),
        ordinal=_typed(entry, "ordinal", int),
        file=_typed(entry, "file", str, _FRAME_FILE),
        key=_typed(entry, "key", str, _HEX),
        pixels_sha256=_typed(entry, "pixels_sha256", str, _HEX),
        seconds=float(_typed(entry, "seconds", (int, float))),
        report=_typed(entry, "report", dict),
    )


def _typed(document: dict[str, Any], name: str, kind: Any, pattern: re.Pattern[str] | None = None) -> Any:
    value: Any = document[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name} has the wrong type: {str(value)[:80]!r}")
    if pattern is not None and not pattern.fullmatch(str(value)):
        raise ValueError(f"{name} has a value raccord does not write: {str(value)[:80]!r}")
    return value

"""`manifest.json`: what a story folder holds, how it was drawn, and the hash of every frame's pixels."""

import hashlib
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
_MEMORY_FILE = re.compile(r"memory-[0-9a-f]{16}\.safetensors")
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
class MemoryRecord:
    """The kept memory of one entity: what casting found, so that it is not done again.

    `entity` is its id, `file` its name in the folder, `sha256` and `size` are of that file's bytes, `made_from` names
    everything the memory depends on.
    """

    entity: str
    file: str
    sha256: str
    size: int
    made_from: dict[str, str]


@dataclass(frozen=True)
class Manifest:
    """What a story folder holds.

    `settings` are steps, guidance, backend; `model` is the id the user gave and the hash of its weights; `versions`
    of raccord and the libraries; `fingerprint` of the machine within which equal pixels are promised. `planner` is
    the story the plan was made of, the hash of that plan, and the hashes of the language model and its adapters with
    their weights; empty for a plan from elsewhere.
    """

    plan_sha256: str
    seed: int
    settings: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, Any]
    fingerprint: dict[str, Any]
    complete: bool = False
    frames: tuple[FrameRecord, ...] = field(default=())
    memories: tuple[MemoryRecord, ...] = field(default=())
    planner: dict[str, Any] = field(default_factory=dict)

    def frame(self, frame_id: str) -> FrameRecord | None:
        return next((record for record in self.frames if record.id == frame_id), None)

    def with_frame(self, record: FrameRecord) -> "Manifest":
        """This manifest with `record` put in, in the order of the plan."""
        others = [other for other in self.frames if other.id != record.id]
        return replace(self, frames=tuple(sorted([*others, record], key=lambda one: one.ordinal)))

    def memory(self, entity: str) -> MemoryRecord | None:
        return next((record for record in self.memories if record.entity == entity), None)

    def with_memory(self, record: MemoryRecord) -> "Manifest":
        """This manifest with `record` put in."""
        others = self.without_memory(record.entity)
        return replace(others, memories=(*others.memories, record))

    def without_memory(self, entity: str) -> "Manifest":
        """This manifest without the memory of `entity`."""
        return replace(self, memories=tuple(record for record in self.memories if record.entity != entity))

    @property
    def recipe(self) -> dict[str, Any]:
        """How the frames were drawn: settings, model, versions."""
        return {"settings": self.settings, "model": self.model, "versions": self.versions}


def frame_file(ordinal: int, total: int) -> str:
    """`frame-01.png`: the place in the plan, counted from 1, with as many digits as `total` needs and at least two."""
    return f"frame-{ordinal:0{max(2, len(str(total)))}d}.png"


def memory_file(made_from: dict[str, str]) -> str:
    """`memory-0123456789abcdef.safetensors`: a hash of what the memory depends on, no word of the story."""
    text = json.dumps(made_from, sort_keys=True)
    return f"memory-{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    document = {"format": FORMAT, "version": VERSION, **asdict(manifest)}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False, sort_keys=False)
    write_atomically(folder / NAME, text.encode() + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`.

    The file is untrusted: names of frames must be ordinals, hashes hex, nothing else in it is ever used as a path.
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
        # folders of raccord's first days have none
        memories = tuple(_memory_record(entry) for entry in document.get("memories", []))
        if len({record.entity for record in memories}) != len(memories):
            raise ValueError("memories: an entity appears twice")
        return Manifest(
            plan_sha256=_typed(document, "plan_sha256", str, _HEX),
            seed=_typed(document, "seed", int),
            settings=_typed(document, "settings", dict),
            model=_typed(document, "model", dict),
            versions=_typed(document, "versions", dict),
            fingerprint=_typed(document, "fingerprint", dict),
            complete=_typed(document, "complete", bool),
            frames=frames,
            memories=memories,
            planner=_typed(document, "planner", dict) if "planner" in document else {},
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


def _memory_record(entry: Any) -> MemoryRecord:
    if not isinstance(entry, dict):
        raise TypeError("memories: every entry must be an object")
    origin = _typed(entry, "made_from", dict)
    if not all(isinstance(value, str) for value in origin.values()):
        raise TypeError("made_from: every value must be a string")
    return MemoryRecord(
        entity=_typed(entry, "entity", str),
        file=_typed(entry, "file", str, _MEMORY_FILE),
        sha256=_typed(entry, "sha256", str, _HEX),
        size=_typed(entry, "size", int),
        made_from=origin,
    )


def _typed(document: dict[str, Any], name: str, kind: Any, pattern: re.Pattern[str] | None = None) -> Any:
    value: Any = document[name]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{name} has the wrong type: {str(value)[:80]!r}")
    if pattern is not None and not pattern.fullmatch(str(value)):
        raise ValueError(f"{name} has a value raccord does not write: {str(value)[:80]!r}")
    return value

"""The folder of one story: who may write in it, what it holds already, and how frames come in.

Every file is written whole (`files.write_atomically`) and the manifest after every frame, so a run that is killed at
any moment leaves only complete files, and the next run draws what is missing.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner import manifest as manifests
from raccord.planner.errors import InputError, MachineError
from raccord.planner.files import copy_to_temporary, remove_temporaries, told_as_machine_error, write_atomically
from raccord.planner.fingerprint import differences
from raccord.planner.frame_png import decode_png, encode_png, frame_texts, pixels_sha256
from raccord.planner.manifest import FrameRecord, Manifest, MemoryRecord, frame_file, memory_file
from raccord.planner.plan_changes import what_changed

if TYPE_CHECKING:
    from PIL.Image import Image

    from raccord.sampler.plan import Frame, Plan

PLAN_NAME = "plan.json"
PAGE_NAME = "index.html"
LOCK_NAME = ".raccord.lock"
PLAN_LIMIT_BYTES = 4 << 20

# The largest one that makes sense, SDXL at 1,000 steps, has 14 GB.
_MEMORY_LIMIT_BYTES = 16 << 30

_OUR_NAME = re.compile(
    r"plan\.json|manifest\.json|index\.html|frame-\d{2,4}\.png|storyboard(-\d{2,3})?\.png"
    r"|memory-[0-9a-f]{16}\.safetensors"
)


@contextmanager
def open_story_folder(path: Path) -> Iterator["StoryFolder"]:
    """The folder at `path`, made if need be, locked against a second raccord until the block ends.

    Raises `MachineError` when another process works in it or it cannot be written, and `InputError` when
    `path` is not a folder.
    """
    from filelock import FileLock, Timeout

    if path.exists() and not path.is_dir():
        raise InputError(f"--out {path} is a file", hint="name a folder; it is made if it does not exist")
    with told_as_machine_error(f"cannot use the folder {path}"):
        path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path / LOCK_NAME)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise MachineError(
                f"another raccord is working in {path}",
                hint="wait for it to end, or choose another --out; the lock goes away with its process",
            ) from None
    try:
        remove_temporaries(path)
        yield StoryFolder(path)
        remove_temporaries(path)
    finally:
        lock.release()


class StoryFolder:
    """A locked story folder; `begin`, then `add` for every frame of `missing`, then `finish`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Manifest | None = None
        self._plan: Plan | None = None
        self._metadata = True
        self._outdated: set[str] = set()

    def refuse_foreign(self, plan: "Plan") -> None:
        """Raise `InputError` when a file under one of our names was not put there by raccord.

        A plan.json that holds this very plan is welcome: `raccord plan -o DIR/plan.json` and then `draw` is usual.
        """
        from raccord.sampler.plan import plan_hash

        if (self.path / manifests.NAME).exists():
            manifests.read_manifest(self.path)
            return
        for name in sorted(one.name for one in self.path.iterdir() if _OUR_NAME.fullmatch(one.name)):
            held = self._plan_on_disk() if name == PLAN_NAME else None
            if held is not None and plan_hash(held) == plan_hash(plan):
                continue
            raise InputError(
                f"{self.path} holds a {name} but no {manifests.NAME}, so raccord did not write it and leaves it alone",
                hint="choose another --out, or move that file away",
            )

    def begin(
        self,
        plan: "Plan",
        *,
        keys: dict[str, str],
        origins: dict[str, dict[str, str]],
        settings: dict[str, Any],
        model: dict[str, Any],
        versions: dict[str, Any],
        fingerprint: dict[str, Any],
        metadata: bool,
        planner: dict[str, Any] | None = None,
    ) -> list[str]:
        """Take over `plan`; write plan.json and a manifest of the frames and memories that can be kept.

        `keys` maps frame ids to hashes of everything the frame's pixels depend on. A frame is kept only if it was
        drawn with the same key, settings and fingerprint, and its file still holds the pixels the manifest names.
        `origins` maps entity ids to what their memories depend on; a memory is kept if it was made from the same, with
        the same fingerprint, and its file is whole. `planner` says what made the plan; None for a plan that was edited
        here or comes from elsewhere. Returns why frames of an earlier run are drawn again and memories
        not used, one sentence each.
        """
        from raccord.sampler.plan import plan_hash, write_plan

        self.refuse_foreign(plan)
        before = manifests.read_manifest(self.path) if (self.path / manifests.NAME).exists() else None
        self._plan, self._metadata = plan, metadata
        made_by = self._made_by(before) if planner is None and before else planner or {}
        fresh = Manifest(plan_hash(plan), plan.seed, settings, model, versions, fingerprint, planner=made_by)
        kept, reasons = self._keepable(before, fresh, keys) if before else ([], [])
        # A frame whose ordinal changed may stand under the new name of another one that is kept as well.
        sources = {record.id: path if path.name == record.file else copy_to_temporary(path) for record, path in kept}
        memories, forgotten = self._keepable_memories(before, fresh, origins) if before else ([], [])
        self.manifest = replace(fresh, frames=tuple(record for record, _ in kept), memories=tuple(memories))
        self._outdated = {record.file for record in before.frames} if before else set()
        manifests.write_manifest(self.path, self.manifest)
        write_atomically(self.path / PLAN_NAME, write_plan(plan))
        for record, _ in kept:
            image = decode_png(sources[record.id], size=_size(plan))
            if image is None or pixels_sha256(image) != record.pixels_sha256:
                raise MachineError(f"{self.path / record.file} changed while raccord was reading it")
            self._put(record, image)
        return [*(f"drawing again: {reason}" for reason in reasons), *(f"casting again: {one}" for one in forgotten)]

    def missing(self) -> list["Frame"]:
        """The frames of the plan that are not drawn yet, in the plan's order."""
        plan, current = self._state()
        return [frame for frame in plan.frames if current.frame(frame.id) is None]

    def add(self, frame: "Frame", image: "Image", *, key: str, seconds: float, report: dict[str, Any]) -> FrameRecord:
        """Write a drawn frame, then the manifest that names it."""
        plan, current = self._state()
        ordinal = 1 + [one.id for one in plan.frames].index(frame.id)
        name = frame_file(ordinal, len(plan.frames))
        record = FrameRecord(frame.id, ordinal, name, key, pixels_sha256(image), round(seconds, 3), report)
        self._put(record, image)
        self.manifest = current.with_frame(record)
        manifests.write_manifest(self.path, self.manifest)
        return record

    def memory(self, entity: str) -> bytes | None:
        """The kept memory of an entity; None when there is none."""
        _, current = self._state()
        record = current.memory(entity)
        return _memory_bytes(self.path, record) if record else None

    def add_memory(self, entity: str, data: bytes, *, origin: dict[str, str]) -> MemoryRecord:
        """Write a cast entity's memory, then the manifest that names it."""
        _, current = self._state()
        record = MemoryRecord(entity, memory_file(origin), hashlib.sha256(data).hexdigest(), len(data), origin)
        write_atomically(self.path / record.file, data)
        self.manifest = current.with_memory(record)
        manifests.write_manifest(self.path, self.manifest)
        return record

    def forget(self, entity: str) -> None:
        """Take an entity's memory out of the manifest; `finish` removes the file unless another one replaced it."""
        _, current = self._state()
        self.manifest = current.without_memory(entity)

    def image(self, frame_id: str) -> "Image | None":
        """A drawn frame, read back from its file; None when it is not drawn."""
        plan, current = self._state()
        record = current.frame(frame_id)
        return decode_png(self.path / record.file, size=_size(plan)) if record else None

    def finish(self, extras: Iterable[tuple[str, bytes]]) -> Manifest:
        """Write the storyboards and the page (`extras`: name and bytes), drop outdated files, close the manifest."""
        _, current = self._state()
        keep = {record.file for record in (*current.frames, *current.memories)}
        for name, data in extras:
            write_atomically(self.path / name, data)
            keep.add(name)
        found = (*self.path.glob("storyboard*.png"), *self.path.glob("memory-*.safetensors"))
        others = {path.name for path in found if _OUR_NAME.fullmatch(path.name)}
        with told_as_machine_error(f"cannot remove outdated files of {self.path}"):
            for name in (self._outdated | others) - keep:
                (self.path / name).unlink(missing_ok=True)
        self.manifest = replace(current, complete=not self.missing())
        manifests.write_manifest(self.path, self.manifest)
        return self.manifest

    def _state(self) -> tuple["Plan", Manifest]:
        assert self._plan is not None, "begin() comes first"
        assert self.manifest is not None, "begin() comes first"
        return self._plan, self.manifest

    def _keepable(
        self, before: Manifest, fresh: Manifest, keys: dict[str, str]
    ) -> tuple[list[tuple[FrameRecord, Path]], list[str]]:
        plan = self._plan
        assert plan is not None
        reasons = []
        if before.model.get("weights_sha256") != fresh.model.get("weights_sha256"):
            names = f"{str(before.model.get('id'))[:200]} -> {fresh.model.get('id')}"
            reasons.append(f"another model, or other weights: {names}")
        held = self._plan_on_disk()
        changed = differences(before.fingerprint, fresh.fingerprint)
        if changed:
            return [], [*reasons, f"equal pixels are not promised across fingerprints: {', '.join(changed)}"]
        if before.settings != fresh.settings:
            return [], [*reasons, f"other settings: {', '.join(differences(before.settings, fresh.settings))}"]
        kept = []
        for ordinal, frame in enumerate(plan.frames, start=1):
            record = before.frame(frame.id)
            if record is None:
                continue
            if record.key != keys[frame.id]:
                why = what_changed(held, plan, frame.id) if held else []
                reasons.append(f"frame {frame.id}: {', '.join(why) or 'what it depends on'} changed")
                continue
            image = decode_png(self.path / record.file, size=_size(plan))
            if image is None or pixels_sha256(image) != record.pixels_sha256:
                reasons.append(f"frame {frame.id}: {record.file} is missing, damaged or not what was drawn")
                continue
            name = frame_file(ordinal, len(plan.frames))
            kept.append((replace(record, ordinal=ordinal, file=name), self.path / record.file))
        return kept, reasons

    def _keepable_memories(
        self, before: Manifest, fresh: Manifest, origins: dict[str, dict[str, str]]
    ) -> tuple[list[MemoryRecord], list[str]]:
        kept: list[MemoryRecord] = []
        reasons: list[str] = []
        if before.memories and differences(before.fingerprint, fresh.fingerprint):
            return [], ["the memories were cast on another machine or with other versions"]
        for record in before.memories:
            origin = origins.get(record.entity)
            if origin is None:
                continue
            changed = differences(record.made_from, origin)
            if changed:
                reasons.append(f"{record.entity}: its memory was made otherwise: {', '.join(changed)}")
            elif record.file != memory_file(origin) or not memory_is_whole(self.path, record):
                reasons.append(f"{record.entity}: {record.file} is missing, damaged or not what was cast")
            else:
                kept.append(record)
        return kept, reasons

    def _made_by(self, before: Manifest) -> dict[str, Any]:
        """What made the plan that this one is an edit of: they have a frame in common."""
        plan, held = self._plan, self._plan_on_disk()
        common = plan and held and {frame.id for frame in plan.frames} & {frame.id for frame in held.frames}
        return before.planner if common else {}

    def _put(self, record: FrameRecord, image: "Image") -> None:
        plan, current = self._state()
        frame = plan.frames[record.ordinal - 1]
        texts = frame_texts(plan, frame, recipe=current.recipe) if self._metadata else None
        data = encode_png(image, texts=texts)
        path = self.path / record.file
        if not _holds(path, data):
            write_atomically(path, data)

    def _plan_on_disk(self) -> "Plan | None":
        from raccord.sampler.plan import PlanError, read_plan

        try:
            with (self.path / PLAN_NAME).open("rb") as file:
                return read_plan(file.read(PLAN_LIMIT_BYTES + 1))
        except (OSError, PlanError):
            return None


def _size(plan: "Plan") -> tuple[int, int]:
    width, height = plan.size
    return width, height


def memory_is_whole(folder: Path, record: MemoryRecord) -> bool:
    """Whether the file of `record` in `folder` is a plain file with the bytes the manifest names."""
    path = folder / record.file
    try:
        if path.is_symlink() or not path.is_file() or record.size > _MEMORY_LIMIT_BYTES:
            return False
        if path.stat().st_size != record.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == record.sha256
    except OSError:
        return False


def _memory_bytes(folder: Path, record: MemoryRecord) -> bytes | None:
    if not memory_is_whole(folder, record):
        return None
    data = (folder / record.file).read_bytes()
    # what is used is what was hashed, whoever writes to the file in between
    return data if hashlib.sha256(data).hexdigest() == record.sha256 else None


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.read_bytes() == data
    except OSError:
        return False

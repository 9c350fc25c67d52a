"""Drawing a story folder again and comparing every pixel with what its manifest promises."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner import manifest as manifests
from raccord.planner import output
from raccord.planner.errors import InputError
from raccord.planner.files import read_bounded
from raccord.planner.fingerprint import differences
from raccord.planner.frame_png import decode_png, pixels_sha256
from raccord.planner.manifest import FrameRecord, Manifest, MemoryRecord
from raccord.planner.output import EMBEDDED, Settings, check_frame_ids
from raccord.planner.progress import Progress
from raccord.planner.story_folder import PLAN_LIMIT_BYTES, PLAN_NAME, memory_is_whole

if TYPE_CHECKING:
    from raccord.sampler.plan import Plan
    from raccord.sampler.story import Story

SAME, ALTERED, DAMAGED, DIFFERENT, NOT_DRAWN = "same", "altered", "missing or damaged", "different", "not drawn"


@dataclass(frozen=True)
class FrameVerdict:
    """One frame.

    `status`: "same" when the file and the redrawn picture both have the manifest's pixels; "altered" when the file has
    other pixels; "missing or damaged" when it cannot be read; "different" when the redrawn picture has other pixels;
    "not drawn" when the manifest does not name the frame. The three hashes are of uint8 RGB pixels, None where there
    is no picture.
    """

    id: str
    file: str | None
    status: str
    manifest_sha256: str | None
    file_sha256: str | None
    redrawn_sha256: str | None


@dataclass(frozen=True)
class MemoryVerdict:
    """The kept memory of one entity: `status` is "same" when its file is whole and casting anew gives the same bytes,
    "missing or damaged" when the file is not what the manifest names, "different" when casting gives other bytes.
    """

    entity: str
    file: str
    status: str


@dataclass(frozen=True)
class Verdict:
    """The whole folder: `same` when nothing differs, `expected` why a difference would be no surprise here."""

    same: bool
    plan_same: bool
    frames: tuple[FrameVerdict, ...]
    memories: tuple[MemoryVerdict, ...]
    expected: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def verify_folder(path: Path, *, model: str | None = None, only: tuple[str, ...] = (), progress: Progress) -> Verdict:
    """Read plan.json and manifest.json of `path`, cast and draw again (all that was drawn, or the frames in `only`).

    Kept memories are not used but compared with those cast anew. Nothing is written. The embedded model is found
    without help; another one must be given as `model`, since a manifest may come from anywhere and must not choose
    what is loaded. Raises `InputError` when plan or manifest cannot be used, `MachineError` when the model cannot be
    loaded.
    """
    from raccord.sampler.plan import plan_hash, read_plan

    if not path.is_dir():
        raise InputError(f"{path} is not a folder", hint="name the --out folder of a raccord draw or story")
    manifest = manifests.read_manifest(path)
    plan = read_plan(read_bounded(path / PLAN_NAME, limit=PLAN_LIMIT_BYTES, what="Plan"))
    check_frame_ids(plan, only)
    named = str(manifest.model.get("id"))[:200]
    if model is None and named != EMBEDDED:
        raise InputError(f"the manifest names the model {named!r}", hint=f"if you trust it: --model {named}")
    try:
        settings = Settings(**manifest.settings)
    except TypeError as error:
        raise InputError(f"{path / manifests.NAME}: settings are not those raccord writes: {error}") from error
    opened = output.open_story(plan, model=model, settings=settings, progress=progress)

    plan_same = plan_hash(plan) == manifest.plan_sha256
    changed = differences(manifest.fingerprint, opened.fingerprint) + differences(manifest.versions, opened.versions)
    if manifest.model.get("weights_sha256") != opened.model["weights_sha256"]:
        changed.append("the model has other weights")
    if not plan_same:
        changed.append(f"{PLAN_NAME} is not the plan the manifest was written for")
    memories = _judge_memories(path, opened.story, manifest, plan, only, progress)
    verdicts = []
    for frame in plan.frames:
        if only and frame.id not in only:
            continue
        record = manifest.frame(frame.id)
        if record is None:
            verdicts.append(FrameVerdict(frame.id, None, NOT_DRAWN, None, None, None))
            continue
        with progress.stage(f"frame {frame.id}"):
            redrawn = output.draw_frame(opened.story, frame.id, progress=progress)
        verdicts.append(_judge(path, record, (plan.size[0], plan.size[1]), pixels_sha256(redrawn.image)))
    bad = [one for one in verdicts if one.status != SAME and (one.status != NOT_DRAWN or manifest.complete or only)]
    same = plan_same and not bad and all(one.status == SAME for one in memories)
    return Verdict(same, plan_same, tuple(verdicts), memories, tuple(dict.fromkeys(changed)))


def _judge_memories(
    path: Path, story: "Story", manifest: Manifest, plan: "Plan", only: tuple[str, ...], progress: Progress
) -> tuple[MemoryVerdict, ...]:
    standing = {item.entity for frame in plan.frames if frame.id in only for item in frame.items}
    known = {entity.id for entity in plan.entities}
    records = [one for one in manifest.memories if one.entity in known and (not only or one.entity in standing)]
    if not records:
        return ()
    with progress.stage("casting the entities"):
        output.cast_entities(story, [record.entity for record in records], progress=progress)
    return tuple(_judge_memory(path, record, story.memory_bytes(record.entity)) for record in records)


def _judge_memory(path: Path, record: MemoryRecord, cast: bytes) -> MemoryVerdict:
    if not memory_is_whole(path, record):
        status = DAMAGED
    else:
        status = SAME if hashlib.sha256(cast).hexdigest() == record.sha256 else DIFFERENT
    return MemoryVerdict(record.entity, record.file, status)


def _judge(path: Path, record: FrameRecord, size: tuple[int, int], redrawn: str) -> FrameVerdict:
    image = decode_png(path / record.file, size=size)
    found = pixels_sha256(image) if image is not None else None
    if found is None:
        status = DAMAGED
    elif found != record.pixels_sha256:
        status = ALTERED
    else:
        status = SAME if redrawn == record.pixels_sha256 else DIFFERENT
    return FrameVerdict(record.id, record.file, status, record.pixels_sha256, found, redrawn)

"""Drawing a story folder again and comparing every pixel with what its manifest promises."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from raccord.planner import manifest as manifests
from raccord.planner import output
from raccord.planner.errors import InputError
from raccord.planner.files import read_bounded
from raccord.planner.fingerprint import differences
from raccord.planner.frame_png import decode_png, pixels_sha256
from raccord.planner.manifest import FrameRecord
from raccord.planner.output import EMBEDDED, Settings, check_frame_ids
from raccord.planner.progress import Progress
from raccord.planner.story_folder import PLAN_LIMIT_BYTES, PLAN_NAME

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
class Verdict:
    """The whole folder: `same` when nothing differs, `expected` why a difference would be no surprise here."""

    same: bool
    plan_same: bool
    frames: tuple[FrameVerdict, ...]
    expected: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def verify_folder(path: Path, *, model: str | None = None, only: tuple[str, ...] = (), progress: Progress) -> Verdict:
    """Read plan.json and manifest.json of `path`, draw the frames again (all that were drawn, or those in `only`).

    Nothing is written. The embedded model is found without help; another one must be given as `model`, since a
    manifest may come from anywhere and must not choose what is loaded. Raises `InputError` when plan or manifest
    cannot be used, `MachineError` when the model cannot be loaded.
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
    return Verdict(plan_same and not bad, plan_same, tuple(verdicts), tuple(dict.fromkeys(changed)))


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

"""Drawing a plan into a story folder: what is there already is kept, what is missing is drawn, then the sheets."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner.errors import InputError, MachineError
from raccord.planner.fingerprint import fingerprint, versions
from raccord.planner.frame_png import encode_png, pixels_sha256
from raccord.planner.manifest import NAME as MANIFEST_NAME
from raccord.planner.manifest import Manifest
from raccord.planner.page import render_page
from raccord.planner.progress import Progress
from raccord.planner.story_folder import PAGE_NAME, PLAN_NAME, StoryFolder
from raccord.planner.storyboard import draw_storyboards, storyboard_name

if TYPE_CHECKING:
    from raccord.sampler.plan import Plan
    from raccord.sampler.story import DrawnFrame, Story

EMBEDDED = "embedded"
BACKENDS = ("reference", "cpu", "triton", "cuda")


@dataclass(frozen=True)
class Settings:
    """How to draw: `steps` 1..1000; `guidance` 0..100, None for the one stored with the model; `backend` one of
    `BACKENDS`, None for the best one here.

    Raises `InputError` when a value is outside its range.
    """

    steps: int = 25
    guidance: float | None = None
    backend: str | None = None

    def __post_init__(self) -> None:
        if type(self.steps) is not int or not 1 <= self.steps <= 1000:
            raise InputError(f"steps is {self.steps!r}, not a whole number from 1 to 1000")
        if self.guidance is not None and (type(self.guidance) not in (int, float) or not 0 <= self.guidance <= 100):
            raise InputError(f"guidance is {self.guidance!r}, not a number from 0 to 100")
        if self.backend is not None and self.backend not in BACKENDS:
            raise InputError(f"backend is {self.backend!r}", hint=f"choose one of {', '.join(BACKENDS)}")


@dataclass(frozen=True)
class OpenStory:
    """A plan on a loaded model, ready to draw, and how to name settings, model, versions and machine."""

    story: "Story"
    settings: dict[str, Any]
    model: dict[str, Any]
    versions: dict[str, Any]
    fingerprint: dict[str, Any]


def open_story(plan: "Plan", *, model: str | None, settings: Settings, progress: Progress) -> OpenStory:
    """Load the pipeline (`model`: folder or hub name; None: the embedded one) and put `plan` on it.

    Raises `MachineError` when the model cannot be loaded and `InputError` when it cannot draw this plan.
    """
    with progress.stage("loading the model"):
        from raccord.planner.embedded import EmbeddedModelError, embedded_model
        from raccord.sampler.diffusers_pipeline import load_pipeline
        from raccord.sampler.story import Story

        name = model or EMBEDDED
        _check_backend(settings.backend)
        try:
            pipe = load_pipeline(embedded_model("stage") if model is None else model)
        except (OSError, ValueError, EmbeddedModelError) as error:
            raise MachineError(
                f"the model {name} cannot be loaded: {error}",
                hint="`raccord doctor` shows what is installed; --model takes a diffusers folder or a hub name",
            ) from error
        try:
            story = Story(pipe, plan, steps=settings.steps, guidance=settings.guidance, backend=settings.backend)
        except ValueError as error:
            raise InputError(f"the model {name} cannot draw this plan: {error}") from error
        used = {"steps": settings.steps, "guidance": float(story.guidance), "backend": settings.backend}
        weights = {"id": name, "weights_sha256": story.model.weights_hash()}
    return OpenStory(story, used, weights, versions(), fingerprint(pipe))


@dataclass(frozen=True)
class Drawing:
    """What a draw left in its folder: the manifest, the ids drawn now, the ids kept, wall seconds."""

    folder: Path
    manifest: Manifest
    drawn: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, paths as strings."""
        frames = [
            {
                "id": record.id,
                "file": str(self.folder / record.file),
                "pixels_sha256": record.pixels_sha256,
                "seconds": record.seconds,
                "kept": record.id in self.kept,
                "report": record.report,
            }
            for record in self.manifest.frames
        ]
        return {
            "out": str(self.folder),
            "plan": str(self.folder / PLAN_NAME),
            "plan_sha256": self.manifest.plan_sha256,
            "manifest": str(self.folder / MANIFEST_NAME),
            "page": str(self.folder / PAGE_NAME),
            "storyboard": str(self.folder / storyboard_name(1)),
            "complete": self.manifest.complete,
            "seconds": round(self.seconds, 3),
            "frames": frames,
        }


def draw_into(
    folder: StoryFolder,
    plan: "Plan",
    *,
    model: str | None = None,
    settings: Settings | None = None,
    only: tuple[str, ...] = (),
    metadata: bool = True,
    planner: dict[str, Any] | None = None,
    progress: Progress,
) -> Drawing:
    """Draw `plan` into the locked `folder`: all frames, or those whose ids are in `only`; `planner` made it.

    Frames of an earlier run with the same key are kept. Raises `InputError` for an unknown id in `only`, for a
    folder with files of others under our names, for a plan the model cannot draw; `MachineError` for a missing
    model or a disk that refuses.
    """
    began = time.monotonic()
    settings = settings or Settings()
    check_frame_ids(plan, only)
    folder.refuse_foreign(plan)
    opened = open_story(plan, model=model, settings=settings, progress=progress)
    story = opened.story
    keys = {frame.id: story.frame_key(frame.id) for frame in plan.frames}
    reasons = folder.begin(
        plan,
        keys=keys,
        origins={entity.id: story.made_from(entity.id) for entity in plan.entities},
        settings=opened.settings,
        model=opened.model,
        versions=opened.versions,
        fingerprint=opened.fingerprint,
        metadata=metadata,
        planner=planner,
    )
    for reason in reasons:
        progress.say(reason)
    missing = folder.missing()
    kept = tuple(frame.id for frame in plan.frames if frame not in missing)
    wanted = [frame for frame in missing if not only or frame.id in only]
    if kept:
        progress.say(f"kept {len(kept)} of {len(plan.frames)} frames that are already drawn")
    if wanted:
        with progress.stage("casting the entities"):
            entities = dict.fromkeys(item.entity for frame in wanted for item in frame.items)
            _cast_or_remember(story, folder, list(entities), progress)
    for number, frame in enumerate(wanted, start=1):
        with progress.stage(f"frame {frame.id} ({number} of {len(wanted)})"):
            started = time.monotonic()
            drawn = draw_frame(story, frame.id, progress=progress)
            seconds = time.monotonic() - started
            assert drawn.pixels_sha256 == pixels_sha256(drawn.image), "the drawing call hashes pixels in another way"
            folder.add(frame, drawn.image, key=keys[frame.id], seconds=seconds, report=drawn.report)
    with progress.stage("storyboard and page"):
        manifest = folder.finish(_extras(folder, plan, metadata=metadata))
    return Drawing(folder.path, manifest, tuple(frame.id for frame in wanted), kept, time.monotonic() - began)


def _cast_or_remember(story: "Story", folder: StoryFolder, entities: list[str], progress: Progress) -> None:
    """Cast `entities`, but for those whose memories `folder` has kept, and keep theirs."""
    remembered = 0
    for entity in entities:
        data = folder.memory(entity)
        if data is None:
            continue
        try:
            story.remember(data)
            remembered += 1
        except ValueError as error:
            progress.say(f"casting again: {entity}: {error}")
            folder.forget(entity)
    if remembered:
        progress.say(f"kept {remembered} of {len(entities)} memories of entities that are already cast")

    def keep(entity: str) -> None:
        folder.add_memory(entity, story.memory_bytes(entity), origin=story.made_from(entity))

    cast_entities(story, entities, progress=progress, keep=keep)


def cast_entities(
    story: "Story", entities: list[str], *, progress: Progress, keep: Callable[[str], None] | None = None
) -> None:
    """Cast `entities` that are not; `keep` is told of each. Raises `MachineError` as `draw_frame` does."""
    with _model_errors("casting"):
        story.cast(entities, progress=progress.step, keep=keep)


def draw_frame(story: "Story", frame_id: str, *, progress: Progress) -> "DrawnFrame":
    """One frame of `story`. Raises `MachineError` when the model breaks on it or memory runs out."""
    with _model_errors(f"frame {frame_id}"):
        return story.frame(frame_id, progress=progress.step)


@contextmanager
def _model_errors(what: str) -> Iterator[None]:
    try:
        yield
    except FloatingPointError as error:
        raise MachineError(str(error), hint="nothing was written for it") from error
    except MemoryError as error:
        raise MachineError(f"{what}: memory ran out", hint="use a smaller size or model") from error


def check_frame_ids(plan: "Plan", wanted: tuple[str, ...]) -> None:
    """Raise `InputError` when an id in `wanted` names no frame of `plan`."""
    known = [frame.id for frame in plan.frames]
    for frame_id in wanted:
        if frame_id not in known:
            close = get_close_matches(frame_id, known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"its frames are {', '.join(known[:20])}"
            raise InputError(f"--frame {frame_id!r} names no frame of the plan", hint=hint)


def _check_backend(backend: str | None) -> None:
    """Say at once, not at the first attention layer, that a forced backend cannot work here."""
    if backend is None:
        return
    from raccord.kernels.info import backends

    rows = [row for row in backends() if row.operation.endswith("_attention")]
    for operation in dict.fromkeys(row.operation for row in rows):
        found = {row.backend: row.reasons for row in rows if row.operation == operation}
        if backend not in found:
            raise InputError(f"{operation} has no backend {backend!r}", hint=f"it has {', '.join(found)}")
        if found[backend]:
            raise MachineError(f"{operation}: backend {backend!r} cannot run here: {'; '.join(found[backend])}")


def _extras(folder: StoryFolder, plan: "Plan", *, metadata: bool) -> Iterator[tuple[str, bytes]]:
    manifest = folder.manifest
    assert manifest is not None
    note = f"raccord {manifest.versions['raccord']}   ·   seed {plan.seed}   ·   plan {manifest.plan_sha256[:12]}"
    texts = {"Software": f"raccord {manifest.versions['raccord']}", "Plan": manifest.plan_sha256} if metadata else None
    for number, sheet in enumerate(draw_storyboards(plan, folder.image, note=note), start=1):
        yield storyboard_name(number), encode_png(sheet, texts=texts)
    yield PAGE_NAME, render_page(plan, folder.image, manifest)

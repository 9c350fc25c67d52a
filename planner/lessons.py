"""What a planner can learn from: pairs of prompt and completion, plans that a person edited, and frames in which
somebody was missing after drawing. Each becomes a lesson: a prompt as the planner writes it, and a scene that its
grammar allows.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from raccord.planner.asked import Asked, ask
from raccord.planner.cast import Choice
from raccord.planner.direct import DirectError, read_for
from raccord.planner.errors import InputError
from raccord.planner.files import read_bounded
from raccord.planner.framing import arrangements
from raccord.planner.geometry import Box, Constraint, arrange
from raccord.planner.manifest import NAME as MANIFEST_NAME
from raccord.planner.manifest import read_manifest
from raccord.planner.reading import split_story
from raccord.planner.scene import GRID, Being, Placed, Relation, Scene, Shot, rename, scene_json
from raccord.planner.world import World
from raccord.sampler.plan import Frame, Plan, plan_hash, read_plan

if TYPE_CHECKING:
    from raccord.planner.language_model import LanguageModel

_LIMIT_BYTES = 64 << 20
_PLAN_LIMIT_BYTES = 4 << 20
# What a missing item's sides grow by where no world says how large things are.
_GROWTH = 1.3
PAIR, EDIT, FAILURE = "pair", "edit", "failure"


class LessonError(ValueError):
    """A plan cannot be turned into a lesson; the message says why."""


class Lesson(NamedTuple):
    """A prompt, the completion wanted, the schema the completion obeys (None: any), and what it was made of."""

    prompt: str
    completion: str
    schema: dict[str, Any] | None
    kind: str


class Lessons(NamedTuple):
    """Lessons, and a sentence for each source that gave none."""

    found: tuple[Lesson, ...]
    skipped: tuple[str, ...]


def read_lessons(model: "LanguageModel", sources: Sequence[str | Path]) -> Lessons:
    """The lessons of story folders and of JSONL files.

    A folder with a manifest teaches what was changed in its plan since it was proposed, and what its drawn frames
    lacked. A line of a JSONL file is one of

    - `{"prompt": ..., "completion": ...}`: text, or lists of chat messages, as data sets of TRL have it;
    - `{"story": text, "before": plan, "after": plan}`: a plan as proposed and as edited;
    - `{"story": text, "plan": plan, "failed": {frame id: [entity id, ...]}}`: who was missing, by any reader.

    Raises:
        InputError: a source cannot be read, or a line is none of these.
    """
    found: list[Lesson] = []
    skipped: list[str] = []
    for source in sources:
        told = _of_folder(model, Path(source)) if Path(source).is_dir() else _of_file(model, str(source))
        for where, make in told:
            try:
                found.append(make())
            except (LessonError, DirectError) as error:
                skipped.append(f"{where}: {error}")
    return Lessons(tuple(found), tuple(skipped))


def lesson_of_edit(model: "LanguageModel", story: str, before: Plan, after: Plan) -> Lesson:
    """What an edit of a plan teaches: the scene that gives the edited plan.

    Raises:
        LessonError: nothing was changed, or the grammar of the story does not allow what was.
        DirectError: the model cannot read the story.
    """
    if plan_hash(before) == plan_hash(after):
        raise LessonError("nothing was changed in the plan")
    asked = _ask(model, story)
    return _lesson(asked, scene_of(after, asked), EDIT)


def lesson_of_failure(model: "LanguageModel", story: str, plan: Plan, failed: Mapping[str, Sequence[str]]) -> Lesson:
    """What a drawing teaches: the plan's scene with those who were missing larger, and nobody closer to another.

    Args:
        failed: frame id -> ids of the entities that were missing there; a story without any teaches to go on so.

    Raises:
        LessonError: nothing can be made larger, or the grammar of the story does not allow the plan's scene.
        DirectError: the model cannot read the story.
    """
    asked = _ask(model, story)
    scene = scene_of(plan, asked)
    names = {entity.id: entity.name for entity in plan.entities}
    shots, changed = [], False
    for frame, shot in zip(plan.frames, scene.frames, strict=True):
        missing = {names[identity] for identity in failed.get(frame.id, ()) if identity in names}
        boxes = _larger(shot, missing, scene, asked.world) if missing else None
        if boxes is not None:
            items = tuple(i.model_copy(update={"box": b}) for i, b in zip(shot.items, boxes, strict=True))
            shot, changed = shot.model_copy(update={"items": items}), True
        shots.append(shot)
    if any(failed.values()) and not changed:
        raise LessonError("those who are missing cannot be made any larger")
    return _lesson(asked, scene.model_copy(update={"frames": tuple(shots)}), FAILURE)


def _ask(model: "LanguageModel", story: str) -> Asked:
    sentences = split_story(story)
    return ask(model, read_for(model, story, sentences), sentences)


def scene_of(plan: Plan, asked: Asked) -> Scene:
    """The scene whose plan this is, with the story's own names; the inverse of `raccord.planner.compose.compose`.

    Relations are those the story states.

    Raises:
        LessonError: the plan has other frames than the story has sentences, or breaks the limits of a scene.
    """
    if len(plan.frames) != len(asked.sentences):
        raise LessonError(f"the plan has {len(plan.frames)} frames, the story {len(asked.sentences)} sentences")
    names = {entity.id: entity.name for entity in plan.entities}
    order = {asked.names.get(role, role): place for place, role in enumerate(asked.roles)}

    def called(role: str) -> str:
        return asked.names.get(role, role)

    shots = []
    for number, frame in enumerate(plan.frames):
        choice = asked.choices[number] if asked.choices else None
        items = [
            Placed.model_construct(entity=names[i.entity], action=i.action or "standing", box=_cells(i.box))
            for i in frame.items
        ]
        items.sort(key=lambda item: order.get(item.entity, len(order)))
        shots.append(
            Shot.model_construct(
                sentence=asked.sentences[number][:240],
                background=choice.background if choice and _is_place(choice, frame, asked.world) else frame.background,
                relations=tuple(
                    Relation.model_validate({"subject": called(a), "relation": word, "object": called(b)})
                    for a, word, b in (choice.relations if choice else ())
                ),
                items=tuple(items),
            )
        )
    beings = sorted(plan.entities, key=lambda entity: order.get(entity.name, len(order)))
    entities = tuple(Being.model_construct(name=one.name, card=one.card) for one in beings)
    try:
        return Scene.model_validate(Scene.model_construct(entities=entities, frames=tuple(shots)).model_dump())
    except ValueError as error:
        raise LessonError(f"the plan is no scene a planner can write: {str(error).splitlines()[0]}") from error


def _is_place(choice: Choice, frame: Frame, world: World | None) -> bool:
    return world is not None and world.backgrounds.get(choice.background) == frame.background


def _cells(box: Sequence[float]) -> Box:
    left, top, right, bottom = (round(side * GRID) for side in box)
    return left, top, max(1, right - left), max(1, bottom - top)


def _lesson(asked: Asked, scene: Scene, kind: str) -> Lesson:
    placeholders = {name: word for word, name in asked.names.items()}
    return Lesson(asked.prompt, scene_json(rename(scene, placeholders)), asked.schema, kind)


def _larger(shot: Shot, missing: set[str], scene: Scene, world: World | None) -> list[Box] | None:
    """Boxes in which the smallest of the missing is as large as the frame allows; None when it is so already."""
    places = [n for n, item in enumerate(shot.items) if item.entity in missing]
    now = [item.box for item in shot.items]
    if not places:
        return None

    def smallest(boxes: Sequence[Box]) -> int:
        return min(boxes[n][2] * boxes[n][3] for n in places)

    if world is not None:
        cards = {being.name: being.card for being in scene.entities}
        found = [list(one.boxes) for one in arrangements(shot, cards, world)]
        best = max(found, key=smallest, default=now)
    else:
        order = sorted(range(len(now)), key=lambda n: 2 * now[n][0] + now[n][2])
        grown = [_GROWTH if n in places else 1.0 for n in order]
        sizes = [
            (min(GRID, round(now[n][2] * g)), min(GRID, round(now[n][3] * g)))
            for n, g in zip(order, grown, strict=True)
        ]
        at = {shot.items[n].entity: place for place, n in enumerate(order)}
        boxes = arrange(sizes, [Constraint(at[r.subject], r.relation, at[r.object]) for r in shot.relations])
        back = dict(zip(order, boxes, strict=True)) if boxes else {}
        best = [back[n] for n in range(len(now))] if boxes else now
    return best if smallest(best) > smallest(now) else None


def _of_folder(model: "LanguageModel", folder: Path) -> Iterator[tuple[str, Any]]:
    manifest = read_manifest(folder)
    plan = read_plan(read_bounded(folder / "plan.json", limit=_PLAN_LIMIT_BYTES, what="Plan"))
    story = manifest.planner.get("story")
    if not isinstance(story, str):
        raise InputError(
            f"{folder / MANIFEST_NAME} does not say which story its plan tells",
            hint="`raccord story` writes it; for other plans give a JSONL file",
        )
    # Entities that the reports call missing; a frame that is not drawn, or was drawn of another plan, says nothing.
    drawn = [frame.id for frame in plan.frames if manifest.frame(frame.id) and manifest.plan_sha256 == plan_hash(plan)]
    failed = {identity: _missing(manifest.frame(identity).report) for identity in drawn}  # pyright: ignore[reportOptionalMemberAccess]
    if manifest.planner.get("plan_sha256") != plan_hash(plan):
        yield str(folder), lambda: _edited(model, story, plan)
    elif drawn:
        yield str(folder), lambda: lesson_of_failure(model, story, plan, failed)


def _edited(model: "LanguageModel", story: str, after: Plan) -> Lesson:
    asked = _ask(model, story)
    return _lesson(asked, scene_of(after, asked), EDIT)


def _missing(report: Mapping[str, Any]) -> list[str]:
    missing = report.get("missing", [])
    return [one for one in missing if isinstance(one, str)] if isinstance(missing, list) else []


def _of_file(model: "LanguageModel", source: str) -> Iterator[tuple[str, Any]]:
    data = read_bounded(source, limit=_LIMIT_BYTES, what="Lessons")
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                raise TypeError("must be an object")
            make = _reader(model, row)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{where}: {error}",
                hint='a line is {"prompt", "completion"}, {"story", "before", "after"} or {"story", "plan", "failed"}',
            ) from error
        yield where, make


def _reader(model: "LanguageModel", row: dict[str, Any]) -> Any:
    if row.keys() == {"prompt", "completion"}:
        pair = _pair(model, row["prompt"], row["completion"])
        return lambda: pair
    if row.keys() not in ({"story", "before", "after"}, {"story", "plan", "failed"}):
        raise ValueError(f"has the keys {', '.join(sorted(map(str, row)))[:200]}")
    story = row["story"]
    if not isinstance(story, str):
        raise TypeError("story: must be text")
    if "failed" in row:
        plan, failed = _plan(row["plan"]), row["failed"]
        if not isinstance(failed, dict) or not all(
            isinstance(ids, list) and all(isinstance(one, str) for one in ids) for ids in failed.values()
        ):
            raise TypeError("failed: must be frame ids with lists of entity ids")
        if unknown := failed.keys() - {frame.id for frame in plan.frames}:
            raise ValueError(f"failed: the plan has no frame {sorted(unknown)[0][:80]!r}")
        return lambda: lesson_of_failure(model, story, plan, failed)
    before, after = _plan(row["before"]), _plan(row["after"])
    return lambda: lesson_of_edit(model, story, before, after)


def _plan(value: Any) -> Plan:
    return read_plan(json.dumps(value).encode())


def _pair(model: "LanguageModel", prompt: Any, completion: Any) -> Lesson:
    if isinstance(prompt, str) and isinstance(completion, str):
        return Lesson(prompt, completion, None, PAIR)
    if not model.tokenizer.chat_template:
        raise ValueError("chat messages need a model with a chat template; give prompt and completion as text")
    for name, messages in (("prompt", prompt), ("completion", completion)):
        good = isinstance(messages, list) and all(
            isinstance(one, dict)
            and one.keys() == {"role", "content"}
            and all(isinstance(v, str) for v in one.values())
            for one in messages
        )
        if not good or not messages:
            raise TypeError(f"{name}: must be text or a list of messages with role and content")
    if len(completion) != 1 or completion[0]["role"] != "assistant":
        raise ValueError("completion: must be one message of the assistant")
    messages: Any = prompt
    text = str(model.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    return Lesson(text, completion[0]["content"], None, PAIR)

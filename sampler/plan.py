"""The plan: what stands where in which frame. The one interface between the planner and the sampler.

A plan is a JSON file a person can read and edit, and it is untrusted input: it holds no path, address, model or code,
and everything wrong with it is a `PlanError`. Constructing `Plan(...)` in Python checks and canonicalises exactly as
`read_plan` does. docs/plan.md is the reference of the format.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from hashlib import sha256
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from raccord.sampler.plan_error import SHOWN_PROBLEMS, broken, from_validation, pointer, shown
from raccord.sampler.plan_error import PlanError as PlanError
from raccord.sampler.plan_error import Problem as Problem
from raccord.sampler.plan_fields import Box, Depth, Seed, Size, Slug, Text, Version, Weight, Words, listed
from raccord.sampler.plan_reading import MAX_ENTITIES, MAX_FRAMES, MAX_ITEMS, parse
from raccord.sampler.plan_writing import canonical_bytes


class _Checked(type(BaseModel)):
    """Makes a constructor raise `PlanError` where pydantic's own raises `ValidationError`."""

    def __call__(cls, /, *args: Any, **fields: Any) -> Any:
        try:
            return super().__call__(*args, **fields)
        except ValidationError as error:
            raise from_validation(error, hint=_hints(cls)) from None


class _Part(BaseModel, metaclass=_Checked):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with the fields in `update` changed, checked like any other; parts are frozen, so `deep` is moot."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **(update or {})})

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        yield from self._written().items()

    def _written(self, *, always: Iterable[str] = ()) -> dict[str, Any]:
        """The fields that differ from their defaults, and those in `always`, in declared order."""
        fields = type(self).model_fields
        named = {name: getattr(self, name) for name in fields}
        return {name: value for name, value in named.items() if name in always or value != fields[name].default}


class Entity(_Part):
    """Someone or something of the story, with the same looks in every frame.

    Raises PlanError when a field breaks its rule.
    """

    id: Slug = Field(description="a short name in a-z, 0-9, - and _; frames refer to the entity by it")
    name: Text = Field("", description="what people call it, for captions; empty: the id")
    card: Words = Field(description='its looks in words, such as "a red fox with a hat"; encoded once per story')
    negative: Text = Field("", description="what its region must not show; empty: the model's usual negative")


class Item(_Part):
    """One entity in one frame: where it is and what it does there.

    Raises PlanError when a field breaks its rule.
    """

    entity: Slug = Field(description="the id of an entity of the plan")
    box: Box = Field(description="left, top, right, bottom in 0..1 of the picture, such as [0.1, 0.2, 0.5, 0.9]")
    z: Depth = Field(0, description="depth order: higher stands in front; equal ones in the order of their ids")
    action: Text = Field("", description='what it does in this frame, such as "sitting"')
    negative: Text = Field("", description="what its region must not show in this frame")
    weight: Weight = Field(1.0, description="how strongly its words are heard, 0 to 2")
    interacts: Annotated[tuple[Slug, ...], BeforeValidator(listed(most=MAX_ITEMS - 1, name="entity ids"))] = Field(
        (),
        description="entities of this frame it touches; naming one side is enough",
        json_schema_extra={"maxItems": MAX_ITEMS - 1},
    )


class Frame(_Part):
    """One picture of the story.

    Raises PlanError when a field breaks its rule.
    """

    id: Slug = Field(description="a short name in a-z, 0-9, - and _; all randomness of the frame hangs on it")
    prompt: Words = Field(description="the whole picture in words")
    background: Text = Field("", description="what is seen outside all boxes; names no entity")
    negative: Text = Field("", description="what the picture must not show")
    items: Annotated[tuple[Item, ...], FailFast(), BeforeValidator(listed(most=MAX_ITEMS, name="items"))] = Field(
        (),
        description="who is in the picture, each entity at most once",
        json_schema_extra={"maxItems": MAX_ITEMS},
    )


class Plan(_Part):
    """A story as pictures to draw: entities with their looks, and frames that place them.

    In the canonical form texts are in Unicode normal form C without outer spaces, boxes lie on a grid of 1/1024,
    entities are sorted by id and items by (z, entity), and `interacts` names both sides.

    Raises PlanError when a field breaks its rule, an id is used twice, or an id refers to nothing.
    """

    version: Version = Field(1, description="of the format")
    title: Text = Field("", description="of the story; not drawn")
    style: Text = Field("", description='of all pictures, such as "flat drawing"')
    seed: Seed = Field(0, description="0 to 2^63 - 1; another seed gives other pictures")
    size: Size = Field((512, 512), description="width, height in pixels, multiples of 8 in 64..2048")
    entities: Annotated[tuple[Entity, ...], BeforeValidator(listed(most=MAX_ENTITIES, name="entities"))] = Field(
        (), description="who and what the story is about", json_schema_extra={"maxItems": MAX_ENTITIES}
    )
    frames: Annotated[tuple[Frame, ...], BeforeValidator(listed(most=MAX_FRAMES, name="frames"))] = Field(
        description="the pictures in the order of the story, at least one",
        json_schema_extra={"minItems": 1, "maxItems": MAX_FRAMES},
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        short = self._written(always=("seed", "size"))
        short["entities"] = [entity.id for entity in self.entities]
        short["frames"] = [frame.id for frame in self.frames]
        yield from short.items()

    @field_validator("entities")
    @classmethod
    def _sort_entities(cls, entities: tuple[Entity, ...]) -> tuple[Entity, ...]:
        _raise_if_any(_repeated((entity.id for entity in entities), field="id", of="entity"))
        return tuple(sorted(entities, key=lambda entity: entity.id))

    @field_validator("frames")
    @classmethod
    def _check_frames(cls, frames: tuple[Frame, ...], info: ValidationInfo) -> tuple[Frame, ...]:
        if not frames:
            raise broken("a plan has at least one frame", value=frames, hint='add one with "id" and "prompt"')
        problems = _repeated((frame.id for frame in frames), field="id", of="frame")
        # entities that broke a rule of their own are reported alone
        entities = info.data.get("entities")
        known = None if entities is None else {entity.id for entity in entities}
        for index, frame in enumerate(frames):
            if len(problems) >= SHOWN_PROBLEMS:
                break
            for problem in _item_problems(frame.items, known):
                problems.append(problem._replace(pointer=f"/{index}/items{problem.pointer}"))
        _raise_if_any(problems)
        return tuple(_canonical_frame(frame) for frame in frames)


def read_plan(data: bytes) -> Plan:
    """The plan in `data`, the bytes of a plan file (UTF-8 JSON, at most 4 MiB).

    Raises TypeError when `data` is not bytes, and PlanError, nothing else, when they are not a plan: pointer, rule,
    value and hint of every problem.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"read_plan takes the bytes of a plan file, not {type(data).__name__}; read it in mode 'rb'")
    return Plan(**parse(data))


def write_plan(plan: Plan) -> bytes:
    """The canonical bytes of `plan`: equal plans give equal bytes, and `read_plan` gives the plan back.

    Texts are in normal form C, box numbers are the shortest decimals that snap back, and fields at their default are
    left out, except version, seed and size. Raises PlanError when the plan is larger than a plan file may be.
    """
    tree = plan._written(always=("version", "seed", "size"))
    if plan.entities:
        tree["entities"] = [entity._written() for entity in plan.entities]
    tree["frames"] = [{**frame._written(), "items": [item._written() for item in frame.items]} for frame in plan.frames]
    for frame in tree["frames"]:
        if not frame["items"]:
            del frame["items"]
    data = canonical_bytes(tree)
    parse(data)
    return data


def plan_hash(plan: Plan) -> str:
    """SHA-256 of `write_plan(plan)`, 64 hex digits: equal for every spelling of one plan."""
    return sha256(write_plan(plan)).hexdigest()


def plan_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a plan file, for editors. References between ids are beyond a schema."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Plan.model_json_schema()}


def _hints(model: type) -> Callable[[tuple[str | int, ...], str], str]:
    """What to do about a broken field of `model`, or of the parts within it."""
    parts = {"entities": Entity, "frames": Frame, "items": Item}

    def hint(path: tuple[str | int, ...], kind: str) -> str:
        names = [step for step in path if isinstance(step, str)]
        owner = model
        for name in names[:-1]:
            owner = parts.get(name, owner)
        fields = owner.model_fields  # pyright: ignore[reportAttributeAccessIssue]
        if kind == "extra_forbidden" and names:
            close = get_close_matches(names[-1][:40], fields, n=1)
            return f'did you mean "{close[0]}"?' if close else f"the fields here are {', '.join(fields)}"
        field = fields.get(names[-1]) if names else None
        if field is None:
            return f"write an object with the fields {', '.join(fields)}"
        return f'"{names[-1]}" is {field.description}'

    return hint


def _repeated(ids: Iterable[str], *, field: str, of: str) -> list[Problem]:
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for index, name in enumerate(ids):
        if first.setdefault(name, index) != index:
            rule = f"each {of} stands once; this one stands at {first[name]} already"
            problems.append(Problem(pointer((index, field)), rule, shown(name), "rename or remove one of the two"))
    return problems


def _item_problems(items: tuple[Item, ...], known: set[str] | None) -> list[Problem]:
    problems = _repeated((item.entity for item in items), field="entity", of="entity of a frame")
    here = {item.entity for item in items}
    for index, item in enumerate(items):
        if known is not None and item.entity not in known:
            close = get_close_matches(item.entity, known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else "add it to the entities of the plan"
            rule = "must be the id of an entity of the plan"
            problems.append(Problem(pointer((index, "entity")), rule, shown(item.entity), hint))
        for place, other in enumerate(item.interacts):
            if other in here and other != item.entity:
                continue
            rule = "an item interacts with another entity that has an item in the same frame"
            hint = "remove it, or add an item for that entity"
            problems.append(Problem(pointer((index, "interacts", place)), rule, shown(other), hint))
    return problems


def _raise_if_any(problems: list[Problem]) -> None:
    if problems:
        raise PlanError(*problems)


def _canonical_frame(frame: Frame) -> Frame:
    """`frame` with its items in order and every interaction named on both sides."""
    partners: dict[str, set[str]] = {item.entity: set() for item in frame.items}
    for item in frame.items:
        for other in item.interacts:
            partners[item.entity].add(other)
            partners[other].add(item.entity)
    items = []
    for item in sorted(frame.items, key=lambda item: (item.z, item.entity)):
        both = tuple(sorted(partners[item.entity]))
        items.append(item if item.interacts == both else item.model_copy(update={"interacts": both}))
    return frame if frame.items == tuple(items) else frame.model_copy(update={"items": tuple(items)})

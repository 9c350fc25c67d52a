"""A scene by a model that nothing held to the schema while it wrote: taken where it can be, refused with reasons
where it cannot."""

import copy
import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import ValidationError

from raccord.planner.scene import GRID, MAX_BEINGS, MAX_ITEMS, QUOTE_LENGTH, RelationWord, Scene

# A scene of 24 sentences with everything in them takes a third of it.
MAX_CHARACTERS = 100_000
_TEXT_LENGTH = 80
_MAX_RELATIONS = 4
_FORBIDDEN = re.compile(r"[^\w #,.'\u2019-]|_")
_START = re.compile(r"^[^\w#]+")
_RELATIONS = get_args(RelationWord)


class SceneError(ValueError):
    """A text is no scene of the story; the message is worded for whoever wrote it."""


def wire_schema() -> dict[str, Any]:
    """The schema of `Scene` in the part of JSON Schema that every server with structured outputs knows: types, enums,
    required fields, no others. What it leaves out, `read_scene` checks."""

    def plain(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        kept = {key: part[key] for key in ("type", "enum", "$ref", "const") if key in part}
        if part.get("type") == "array":
            kept["items"] = plain(part["prefixItems"][0] if "prefixItems" in part else part["items"])
        if "properties" in part:
            kept["properties"] = {name: plain(value) for name, value in part["properties"].items()}
            kept |= {"required": list(part["properties"]), "additionalProperties": False}
        return kept

    schema = copy.deepcopy(Scene.model_json_schema())
    return {**plain(schema), "$defs": {name: plain(part) for name, part in schema["$defs"].items()}}


def read_scene(text: str, sentences: Sequence[str]) -> tuple[Scene, tuple[str, ...]]:
    """The scene in the answer of a model, and a sentence for each thing that was changed to make it one.

    Words are freed of marks that no prompt needs and cut to 80 characters, numbers rounded and brought onto the grid,
    what is too much is left out, frames quote the sentences of the story. Nothing is made up.

    Raises:
        SceneError: it is no JSON object, frames are missing, or a field is missing or of another kind.
    """
    document = _object_in(text)
    notes: list[str] = []
    beings = [_being(one, f"entities[{n}]") for n, one in enumerate(_list(document, "entities", "the answer"))]
    if len(beings) > MAX_BEINGS:
        notes.append(f"left out {len(beings) - MAX_BEINGS} entities; a story has at most {MAX_BEINGS}")
    shots = _list(document, "frames", "the answer")
    if len(shots) < len(sentences):
        raise SceneError(f"frames: there are {len(shots)}, and the story has {len(sentences)} sentences")
    if len(shots) > len(sentences):
        notes.append(f"left out {len(shots) - len(sentences)} frames beyond the sentences of the story")
    frames = [
        _shot(shot, number, sentence, notes)
        for number, (shot, sentence) in enumerate(zip(shots, sentences, strict=False), start=1)
    ]
    try:
        scene = Scene.model_validate({"entities": beings[:MAX_BEINGS], "frames": frames})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise SceneError(f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}") from error
    return scene, tuple(notes)


def _object_in(text: str) -> dict[str, Any]:
    """The JSON object in an answer, which some models put between marks or words."""
    if len(text) > MAX_CHARACTERS:
        raise SceneError(f"the answer has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    start = text.find("{")
    if start < 0:
        raise SceneError("the answer holds no JSON object")
    try:
        document, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        raise SceneError(f"the answer is no JSON: {error}") from error
    return document


def _list(part: Any, name: str, where: str) -> list[Any]:
    value = part.get(name) if isinstance(part, dict) else None
    if not isinstance(value, list):
        raise SceneError(f"{where} must be an object with a list {name!r}")
    return value


def _being(part: Any, where: str) -> dict[str, str]:
    return {"name": _text(part, "name", where), "card": _text(part, "card", where)}


def _shot(part: Any, number: int, sentence: str, notes: list[str]) -> dict[str, Any]:
    where = f"frames[{number - 1}]"
    items = [_placed(one, f"{where}.items[{n}]", number, notes) for n, one in enumerate(_list(part, "items", where))]
    if len(items) > MAX_ITEMS:
        told = ", ".join(f'"{item["entity"]}"' for item in items[MAX_ITEMS:][:MAX_ITEMS])
        notes.append(f"frame {number}: left out {told}; a frame has room for {MAX_ITEMS}")
    relations = []
    for n, one in enumerate(_list(part, "relations", where)):
        relation = {name: _text(one, name, f"{where}.relations[{n}]") for name in ("subject", "relation", "object")}
        if relation["relation"] not in _RELATIONS:
            notes.append(f'frame {number}: dropped the relation "{relation["relation"]}", which there is not')
        elif len(relations) == _MAX_RELATIONS:
            notes.append(f"frame {number}: dropped a relation; a frame has at most {_MAX_RELATIONS}")
        else:
            relations.append(relation)
    return {
        "sentence": sentence[:QUOTE_LENGTH],
        "background": _text(part, "background", where),
        "relations": relations,
        "items": items[:MAX_ITEMS],
    }


def _placed(part: Any, where: str, number: int, notes: list[str]) -> dict[str, Any]:
    entity, action = _text(part, "entity", where), _text(part, "action", where)
    box = _list(part, "box", where)
    if len(box) != 4 or not all(type(value) in (int, float) and math.isfinite(value) for value in box):
        raise SceneError(f"{where}.box must be four numbers: left, top, width, height")
    lowest, highest = (0, 0, 1, 1), (GRID - 1, GRID - 1, GRID, GRID)
    bounded = [max(low, min(round(value), high)) for value, low, high in zip(box, lowest, highest, strict=True)]
    if bounded != box:
        notes.append(f'frame {number}: brought the box of "{entity}" onto the grid')
    return {"entity": entity, "action": action, "box": tuple(bounded)}


def _text(part: Any, name: str, where: str) -> str:
    """A field in the letters a scene is written in."""
    value = part.get(name) if isinstance(part, dict) else None
    if not isinstance(value, str):
        raise SceneError(f"{where} must be an object with a text {name!r}")
    plain = _FORBIDDEN.sub(" ", unicodedata.normalize("NFC", value[: 8 * _TEXT_LENGTH]))
    plain = _START.sub("", " ".join(plain.split()))[:_TEXT_LENGTH].strip()
    if not plain:
        raise SceneError(f"{where}.{name} must hold words, not {value[:40]!r}")
    return plain

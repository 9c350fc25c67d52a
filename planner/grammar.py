"""The grammar of a story's scene: the schema of `Scene`, narrowed by what the story says."""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

from raccord.planner.cast import Cast, Choice, Role
from raccord.planner.scene import QUOTE_LENGTH, Scene
from raccord.planner.world import World


def scene_schema(*, sentences: Sequence[str], cast: Cast | None = None, world: World | None = None) -> dict[str, Any]:
    """JSON schema of a scene for one story, as narrow as the story and the model's world allow.

    Args:
        sentences: the sentences as the model reads them; frame n quotes and shows sentence n.
        cast: who is in the story and what each sentence leaves open; None leaves both to the model. Needs `world`.
        world: the model's world.
    """
    schema = copy.deepcopy(Scene.model_json_schema())
    definitions = schema["$defs"]
    shot = definitions.pop("Shot")
    quoted = [_narrowed(shot, sentence={"const": sentence[:QUOTE_LENGTH]}) for sentence in sentences]
    if cast is None or world is None:
        schema["properties"]["frames"] = _tuple(quoted)
        return schema
    roles = cast.roles
    schema["properties"]["entities"] = _tuple(
        [_narrowed(definitions["Being"], name={"const": r.name}, card={"enum": list(r.cards(world))}) for r in roles]
    )
    placed = definitions.pop("Placed")
    for number, role in enumerate(roles):
        for action in (None, *role.actions(world)):
            actions = [action] if action else list(role.actions(world))
            narrow = _narrowed(placed, entity={"const": role.name}, action={"enum": actions})
            definitions[_definition(number, action)] = narrow
    shots = []
    for shown, choice in zip(quoted, cast.choices, strict=True):
        relations = [
            {"subject": subject, "relation": word, "object": other} for subject, word, other in choice.relations
        ]
        shots.append(
            _narrowed(
                shown,
                background={"enum": list(choice.backgrounds)},
                relations={"const": relations},
                items={"anyOf": [_tuple(items) for items in _line_ups(roles, choice, world)]},
            )
        )
    schema["properties"]["frames"] = _tuple(shots)
    return schema


def _line_ups(roles: Sequence[Role], choice: Choice, world: World) -> list[list[dict[str, Any]]]:
    """Items for every set of roles a frame can show, in order of the roles, each once."""
    # a first sentence that names nobody may show anybody: a frame is never empty
    possible = [role for role in roles if role.name in choice.possible] or list(roles)
    creatures = [role.name for role in possible if role.kind not in world.things]
    fewest = min(2, len(creatures)) if choice.several else 0
    told = dict(choice.actions)
    line_ups = []
    for bits in itertools.product((True, False), repeat=len(possible)):
        names = [role.name for role, present in zip(possible, bits, strict=True) if present]
        if names and set(choice.required) <= set(names) and len(set(creatures).intersection(names)) >= fewest:
            line_ups.append([_placed(n, role, told) for n, role in enumerate(roles) if role.name in names])
    return line_ups


def _definition(number: int, action: str | None) -> str:
    return f"Placed{number}{(action or '').title().replace(' ', '')}"


def _placed(number: int, role: Role, told: dict[str, str]) -> dict[str, Any]:
    """A reference to the item of role `number`, doing what the sentence says or whatever the model chooses."""
    return {"$ref": f"#/$defs/{_definition(number, told.get(role.name))}"}


def _narrowed(definition: dict[str, Any], **properties: dict[str, Any]) -> dict[str, Any]:
    return {**definition, "properties": {**definition["properties"], **properties}}


def _tuple(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": schemas, "items": False, "minItems": len(schemas), "maxItems": len(schemas)}

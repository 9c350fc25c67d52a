"""The grammar of a story's scene: the schema of `Scene`, narrowed by what the story says."""

import copy
from collections.abc import Sequence
from typing import Any

from raccord.planner.cast import Cast
from raccord.planner.looks import Role
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
    beings = [
        _narrowed(definitions["Being"], name={"const": r.name}, card={"enum": _cards(r, cast, world)})
        for r in cast.roles
    ]
    schema["properties"]["entities"] = _tuple(beings)
    placed = definitions.pop("Placed")
    for number, role in enumerate(cast.roles):
        for action in (None, *role.actions(world)):
            actions = [action] if action else list(role.actions(world))
            narrow = _narrowed(placed, entity={"const": role.name}, action={"enum": actions})
            definitions[_definition(number, action)] = narrow
    shots = []
    for shown, choice in zip(quoted, cast.choices, strict=True):
        relations = [
            {"subject": subject, "relation": word, "object": other} for subject, word, other in choice.relations
        ]
        doing = dict(choice.actions)
        items = [
            {"$ref": f"#/$defs/{_definition(number, doing.get(role.name))}"}
            for number, role in enumerate(cast.roles)
            if role.name in choice.shown
        ]
        shots.append(
            _narrowed(
                shown,
                background={"const": choice.background},
                relations={"const": relations},
                items=_tuple(items),
            )
        )
    schema["properties"]["frames"] = _tuple(shots)
    return schema


def _cards(role: Role, cast: Cast, world: World) -> list[str]:
    """Looks a role can have; one whose kind no word tells is of a kind that nobody else is, if there is one."""
    taken = {other.kind for other in cast.roles}
    kinds = [kind for kind in world.creatures if kind not in taken]
    return list(role.cards(world) if role.kind or not kinds else role.cards(world, kinds))


def _definition(number: int, action: str | None) -> str:
    return f"Placed{number}{(action or '').title().replace(' ', '')}"


def _narrowed(definition: dict[str, Any], **properties: dict[str, Any]) -> dict[str, Any]:
    return {**definition, "properties": {**definition["properties"], **properties}}


def _tuple(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "array", "prefixItems": schemas, "items": False, "minItems": len(schemas), "maxItems": len(schemas)}

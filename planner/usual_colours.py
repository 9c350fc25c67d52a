"""A story that leaves a colour open ("a fox") gets the usual one: the same, then, in every frame."""

from collections.abc import Sequence
from dataclasses import replace

from raccord.planner.looks import Role
from raccord.planner.scene import Scene
from raccord.planner.world import World


def with_usual_colours(scene: Scene, roles: Sequence[Role], world: World) -> tuple[Scene, tuple[str, ...]]:
    """The scene with a colour for every being of which the story says none, and a sentence for each.

    Two of a kind get different colours, as far as the world names several for it.

    Args:
        roles: what the story says of `scene.entities`, in their order.
    """
    usual = world.usual_colours
    beings, told = [], []
    taken = {(role.kind, role.colour) for role in roles if role.colour}
    for being, role in zip(scene.entities, roles, strict=True):
        drawn = (kind for kind in usual if role.cards(world, (kind,)) == (being.card,))
        kind = role.kind or next(drawn, None)
        if role.colour or role.second or kind is None or kind not in usual:
            beings.append(being)
            continue
        colour = next((colour for colour in usual[kind] if (kind, colour) not in taken), usual[kind][0])
        taken.add((kind, colour))
        (card,) = replace(role, colour=colour).cards(world, (kind,))
        beings.append(being.model_copy(update={"card": card}))
        if role.kind is not None:
            told.append(f'the story does not say what colour "{being.name}" is; drawn as {card}')
    return scene.model_copy(update={"entities": beings}), tuple(told)

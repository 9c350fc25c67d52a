"""Why a frame is not what it was: the parts of two plans that differ and that the frame's pixels depend on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from raccord.sampler.plan import Plan


def what_changed(before: "Plan", now: "Plan", frame_id: str) -> list[str]:
    """Names of what differs for one frame, such as "its prompt" and "the card of mia"; empty when nothing does."""
    frames = [next((frame for frame in plan.frames if frame.id == frame_id), None) for plan in (before, now)]
    if frames[0] is None or frames[1] is None:
        return ["the frame is new"] if frames[1] is not None else ["the frame is gone"]
    found = [f"the plan's {name}" for name in ("seed", "style", "size") if getattr(before, name) != getattr(now, name)]
    found += [f"its {name}" for name in _differing(frames[0], frames[1])]
    known = {entity.id: entity for entity in before.entities}
    here = {item.entity for item in frames[1].items}
    for entity in now.entities:
        if entity.id in here and entity.id in known:
            found += [f"the {name} of {entity.id}" for name in _differing(known[entity.id], entity)]
    return found


def _differing(one: "BaseModel", other: "BaseModel") -> list[str]:
    return [name for name in type(one).model_fields if getattr(one, name) != getattr(other, name)]

"""raccord: continuity for diffusion images.

A story goes in; pictures come out in which every named entity is present, stands where the plan puts it, looks the
same in every frame, and comes out bit for bit the same tomorrow. Importing this package loads nothing heavy: the
names below are fetched on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raccord.kernels.noise import gaussian as gaussian
    from raccord.planner.direct import direct as direct
    from raccord.sampler.diffusers_install import install as install
    from raccord.sampler.diffusers_install import prompts as prompts
    from raccord.sampler.diffusers_schedulers import DDIMScheduler as DDIMScheduler
    from raccord.sampler.diffusers_schedulers import DDPMScheduler as DDPMScheduler
    from raccord.sampler.plan import Entity as Entity
    from raccord.sampler.plan import Frame as Frame
    from raccord.sampler.plan import Item as Item
    from raccord.sampler.plan import Plan as Plan
    from raccord.sampler.plan import PlanError as PlanError
    from raccord.sampler.plan import plan_hash as plan_hash
    from raccord.sampler.plan import read_plan as read_plan
    from raccord.sampler.plan import write_plan as write_plan
    from raccord.sampler.story import Story as Story
    from raccord.sampler.story import draw as draw

_HOMES = {
    "DDIMScheduler": "raccord.sampler.diffusers_schedulers",
    "DDPMScheduler": "raccord.sampler.diffusers_schedulers",
    "Entity": "raccord.sampler.plan",
    "Frame": "raccord.sampler.plan",
    "Item": "raccord.sampler.plan",
    "Plan": "raccord.sampler.plan",
    "PlanError": "raccord.sampler.plan",
    "Story": "raccord.sampler.story",
    "direct": "raccord.planner.direct",
    "draw": "raccord.sampler.story",
    "gaussian": "raccord.kernels.noise",
    "install": "raccord.sampler.diffusers_install",
    "plan_hash": "raccord.sampler.plan",
    "prompts": "raccord.sampler.diffusers_install",
    "read_plan": "raccord.sampler.plan",
    "write_plan": "raccord.sampler.plan",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # importing importlib.metadata takes longer than all the rest of this file
        from importlib import metadata

        return metadata.version("raccord")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'raccord' has no attribute {name!r}; public names: {', '.join(sorted(__all__))}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)

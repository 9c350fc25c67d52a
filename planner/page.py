"""`index.html`: the whole story as one page that needs nothing else, neither a network nor a script."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner.manifest import Manifest
from raccord.planner.storyboard import PALETTE, enlarged, entity_colours, entity_names

if TYPE_CHECKING:
    from PIL.Image import Image

    from raccord.sampler.plan import Frame, Item, Plan

_LARGEST = 768
_GHOST = 160


def render_page(plan: "Plan", image_of: "Callable[[str], Image | None]", manifest: Manifest) -> bytes:
    """UTF-8 HTML of the story: cast, frames with their plan, and how it was drawn.

    Pictures are inside as data URIs; every text of the plan is escaped by the template; a content policy forbids
    scripts and every address. `image_of` gives the picture of a frame id; None is shown as "not drawn yet".
    """
    from jinja2 import Environment, StrictUndefined

    # Not importlib.resources: an editable install copies data files once, and finds the old copy first.
    template = Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    width, height = plan.size
    colours, names = entity_colours(plan), entity_names(plan)
    html = environment.from_string(template).render(
        plan=plan,
        manifest=manifest,
        palette=PALETTE,
        colour={entity: PALETTE.index(value) for entity, value in colours.items()},
        names=names,
        view={"width": 320, "height": round(320 * height / width, 2)},
        frames=[
            _frame(plan, frame, ordinal, image_of(frame.id), manifest)
            for ordinal, frame in enumerate(plan.frames, start=1)
        ],
    )
    return html.encode("utf-8")


def _frame(plan: "Plan", frame: "Frame", ordinal: int, image: "Image | None", manifest: Manifest) -> dict[str, Any]:
    names = entity_names(plan)
    record = manifest.frame(frame.id)
    unseen = record.report.get("missing") if record else None
    return {
        "id": frame.id,
        "ordinal": ordinal,
        "prompt": frame.prompt,
        "background": frame.background,
        "items": [{"entity": one.entity, "action": one.action, "box": _rectangle(one, plan)} for one in frame.items],
        "alternative": _alternative(frame, [names[item.entity] for item in frame.items]),
        "picture": data_uri(image) if image else None,
        "ghost": _ghost(image) if image else None,
        "record": record,
        "unseen": unseen if isinstance(unseen, list) else [],
    }


def _alternative(frame: "Frame", names: list[str]) -> str:
    shown = f" The plan shows {', '.join(names)}." if names else ""
    return f"{frame.prompt}{shown}"


def _rectangle(item: "Item", plan: "Plan") -> dict[str, float]:
    # In the user space of the plan drawing, 320 wide.
    x0, y0, x1, y1 = item.box
    height = 320 * plan.size[1] / plan.size[0]
    return {
        "x": round(320 * x0, 2),
        "y": round(height * y0, 2),
        "width": round(320 * (x1 - x0), 2),
        "height": round(height * (y1 - y0), 2),
    }


def data_uri(image: "Image") -> str:
    """`image` as a data URI: PNG as it is up to 512 pixels a side, above that a JPEG of at most 768."""
    if max(image.size) <= 512:
        return _uri(image, "PNG")
    scale = min(1.0, _LARGEST / max(image.size))
    return _uri(enlarged(image, (round(image.width * scale), round(image.height * scale))), "JPEG", quality=90)


def _ghost(image: "Image") -> str:
    scale = min(1.0, _GHOST / max(image.size))
    small = enlarged(image, (max(1, round(image.width * scale)), max(1, round(image.height * scale)))).convert("L")
    return _uri(small, "JPEG", quality=80)


def _uri(image: "Image", kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

"""A plan as one page to edit by: every frame one picture with its boxes, rulers and numbers over it, nothing else
needed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner.errors import InputError
from raccord.planner.frame_png import decode_png
from raccord.planner.manifest import NAME as MANIFEST_NAME
from raccord.planner.manifest import read_manifest
from raccord.planner.page import data_uri
from raccord.planner.plan_check import Checked
from raccord.planner.storyboard import PALETTE, entity_colours, entity_names

if TYPE_CHECKING:
    from PIL.Image import Image

    from raccord.sampler.plan import Frame, Plan

# What every page of raccord has in its head; a file without it was written by somebody else.
MARK = b'<meta name="generator" content="raccord plan">'
_WIDTH = 640


def is_ours(path: Path) -> bool:
    """Whether the file at `path` is a page of a plan, which may be written anew."""
    try:
        with path.open("rb") as file:
            return MARK in file.read(2048)
    except OSError:
        return False


def pictures_beside(plan: "Plan", folder: Path) -> "dict[str, Image]":
    """Frame id -> picture, for the frames that were drawn into `folder`; empty where it is no folder of raccord."""
    if not (folder / MANIFEST_NAME).is_file():
        return {}
    try:
        records = read_manifest(folder).frames
    except InputError:
        return {}
    ids = {frame.id for frame in plan.frames}
    found = {r.id: decode_png(folder / r.file, size=plan.size) for r in records if r.id in ids}
    return {name: image for name, image in found.items() if image is not None}


def render_plan_page(checked: Checked, pictures: "Mapping[str, Image]") -> bytes:
    """UTF-8 HTML of a valid plan: for each frame one drawing of its boxes, over its picture where there is one.

    Pictures are inside as data URIs, every text is escaped by the template, and a content policy forbids scripts and
    every address.
    """
    from jinja2 import Environment, StrictUndefined

    from raccord.sampler.plan import plan_hash, write_plan

    plan = checked.plan
    assert plan is not None, "a refused plan has no page"
    written = json.loads(write_plan(plan))["frames"]
    template = Path(__file__).with_name("plan_page.html.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    width, height = plan.size
    view = {"width": _WIDTH, "height": round(_WIDTH * height / width, 2)}
    marks = [(f"{tenth / 10:.1f}", round(tenth / 10, 1)) for tenth in range(1, 10)]
    html = environment.from_string(template).render(
        plan=plan,
        sha256=plan_hash(plan),
        palette=PALETTE,
        colour={entity: PALETTE.index(value) for entity, value in entity_colours(plan).items()},
        names=entity_names(plan),
        view=view,
        marks=marks,
        frames=[
            _frame(frame, number, written[number], view, pictures.get(frame.id), checked)
            for number, frame in enumerate(plan.frames)
        ],
        warnings=[finding.text for finding in checked.warnings if not finding.pointer.startswith("/frames/")],
    )
    data = html.encode("utf-8")
    assert MARK in data
    return data


def _frame(
    frame: "Frame",
    number: int,
    written: dict[str, Any],
    view: dict[str, float],
    image: "Image | None",
    checked: Checked,
) -> dict[str, Any]:
    """`written` is the frame as a plan file has it, with box numbers as short as they can be."""
    items = []
    for item, as_written in zip(frame.items, written.get("items", ()), strict=True):
        x0, y0, x1, y1 = item.box
        rectangle = {
            "x": round(view["width"] * x0, 2),
            "y": round(view["height"] * y0, 2),
            "width": round(view["width"] * (x1 - x0), 2),
            "height": round(view["height"] * (y1 - y0), 2),
        }
        items.append({"item": item, "rectangle": rectangle, "numbers": json.dumps(as_written["box"])})
    here = f"/frames/{number}"
    return {
        "frame": frame,
        "pointer": here,
        "ordinal": number + 1,
        "items": items,
        "picture": data_uri(image) if image else None,
        "warnings": [f.text for f in checked.warnings if f.pointer == here or f.pointer.startswith(f"{here}/")],
    }

"""One frame as a PNG file: its pixels, their hash, and the text chunks that say how to draw it again."""

import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

    from raccord.sampler.plan import Frame, Plan


def pixels_sha256(image: "Image") -> str:
    """Hex SHA-256 of the uint8 RGB pixels in row-major order; neither size nor file format enters."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def encode_png(image: "Image", *, texts: dict[str, str] | None = None) -> bytes:
    """PNG bytes of `image`; the same pixels and texts always give the same bytes.

    A text that Latin-1 cannot hold becomes an iTXt chunk, the others are tEXt.
    """
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in (texts or {}).items():
        info.add_text(key, text)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def decode_png(path: Path, *, size: tuple[int, int]) -> "Image | None":
    """The picture (RGB) at `path`, or None when it is missing, damaged, not a PNG, or not of `size` (w, h) pixels.

    The size is compared before any pixel is decompressed, so a file that claims to be huge costs nothing.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=["PNG"]) as image:
                if image.size != size:
                    return None
                image.load()
                return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def frame_texts(plan: "Plan", frame: "Frame", *, recipe: dict[str, Any]) -> dict[str, str]:
    """The text chunks of one frame.

    `parameters` is the convention of A1111's web UI, which most viewers read. `raccord` is JSON: `plan` is a plan of
    this frame alone, which draws the same pixels as the whole story does, `plan_sha256` names the whole plan, and
    `recipe` (settings, model, versions) is how it was drawn.
    """
    from raccord.sampler.plan import plan_hash, write_plan

    whole = plan_hash(plan)
    record = {
        "frame": frame.id,
        "plan": json.loads(write_plan(plan_of_one_frame(plan, frame))),
        "plan_sha256": whole,
        "recipe": recipe,
    }
    return {
        "Software": f"raccord {recipe['versions']['raccord']}",
        "Seed": str(plan.seed),
        "Plan": whole,
        "parameters": _parameters(plan, frame, recipe),
        "raccord": json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":")),
    }


def plan_of_one_frame(plan: "Plan", frame: "Frame") -> "Plan":
    """The plan that keeps only `frame` and the entities that appear in it."""
    present = {item.entity for item in frame.items}
    entities = tuple(entity for entity in plan.entities if entity.id in present)
    return plan.model_copy(update={"frames": (frame,), "entities": entities})


def _parameters(plan: "Plan", frame: "Frame", recipe: dict[str, Any]) -> str:
    settings, model = recipe["settings"], recipe["model"]
    # One line each: a line of the prompt that begins with "Steps:" must not be taken for settings.
    prompt = " ".join(" ".join(text.split()) for text in (frame.prompt, plan.style) if text)
    negative = " ".join(frame.negative.split())
    fields = {
        "Steps": settings["steps"],
        "Sampler": "DDIM",
        "CFG scale": f"{settings['guidance']:g}",
        "Seed": plan.seed,
        "Size": f"{plan.size[0]}x{plan.size[1]}",
        "Model hash": model["weights_sha256"][:10],
        "Model": Path(model["id"]).name,
        "Version": f"raccord {recipe['versions']['raccord']}",
    }
    lines = [prompt]
    if negative:
        lines.append(f"Negative prompt: {negative}")
    lines.append(", ".join(f"{key}: {value}" for key, value in fields.items()))
    return "\n".join(lines)

"""The storyboard: every frame beside its plan, drawn with Pillow for eyes that want everything on one sheet."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    from raccord.sampler.plan import Frame, Plan

FRAMES_PER_SHEET = 24
PALETTE = ("#1f6fb2", "#c1440e", "#2e7d4f", "#8e44ad", "#a66f00", "#c2185b", "#00797f", "#6d4c41")

_PANEL = 320
_GAP = 10
_PAD = 16
_MARGIN = 32
_PAPER, _CARD, _EDGE, _INK, _QUIET = "#f4f1ea", "#ffffff", "#dcd6c8", "#25221c", "#7a7466"
_CAPTION_LINES = 3
_TITLE, _TEXT, _SMALL = 30, 16, 13
# Asked for in this order when Pillow's own font lacks a character; the first that has them all is used.
_WIDE_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "unifont.ttf")


def entity_colours(plan: "Plan") -> dict[str, str]:
    """A colour (#rrggbb, dark enough for white text) for every entity, by its place in the plan."""
    return {entity.id: PALETTE[index % len(PALETTE)] for index, entity in enumerate(plan.entities)}


def entity_names(plan: "Plan") -> dict[str, str]:
    """What people call every entity: its name, or its id where it has none."""
    return {entity.id: entity.name or entity.id for entity in plan.entities}


def storyboard_name(sheet: int) -> str:
    """`storyboard.png` for sheet 1, `storyboard-02.png` and so on for the next."""
    return "storyboard.png" if sheet == 1 else f"storyboard-{sheet:02d}.png"


def draw_storyboards(plan: "Plan", image_of: "Callable[[str], Image | None]", *, note: str = "") -> "Iterator[Image]":
    """RGB sheets of at most 24 frames each: picture, plan boxes with entity names, caption.

    `image_of` gives the picture of a frame id, of any size, asked for one at a time; None means an empty picture that
    says so. `note` is the small line at the foot of every sheet.
    """
    frames = list(plan.frames)
    groups = [frames[first : first + FRAMES_PER_SHEET] for first in range(0, len(frames), FRAMES_PER_SHEET)]
    for index, group in enumerate(groups):
        yield _sheet(plan, group, image_of, first=index * FRAMES_PER_SHEET, note=_numbered(note, index, len(groups)))


def _numbered(note: str, index: int, total: int) -> str:
    return note if total == 1 else f"{note}   ·   sheet {index + 1} of {total}".strip()


def _sheet(
    plan: "Plan", frames: "list[Frame]", image_of: "Callable[[str], Image | None]", *, first: int, note: str
) -> "Image":
    from PIL import Image, ImageDraw

    width, height = plan.size
    panel = (_PANEL, max(80, min(3 * _PANEL, round(_PANEL * height / width))))
    columns = 1 if len(frames) == 1 else 2 if len(frames) <= 8 else 3
    rows = -(-len(frames) // columns)
    card_width = 2 * panel[0] + _GAP + 2 * _PAD
    captions = [_wrapped(one.prompt, size=_TEXT, width=card_width - 2 * _PAD, lines=_CAPTION_LINES) for one in frames]
    lines = max(len(caption) for caption in captions)
    card = (card_width, 2 * _PAD + panel[1] + _GAP + _line(_SMALL) + lines * _line(_TEXT))
    head = _MARGIN + _line(_TITLE) + (_line(_TEXT) if plan.style else 0) + _PAD
    size = (
        2 * _MARGIN + columns * card[0] + (columns - 1) * _PAD,
        head + rows * card[1] + (rows - 1) * _PAD + _MARGIN + _line(_SMALL),
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    inside = size[0] - 2 * _MARGIN
    _write(draw, (_MARGIN, _MARGIN - 8), plan.title or "Untitled", size=_TITLE, fill=_INK, width=inside)
    if plan.style:
        _write(draw, (_MARGIN, _MARGIN - 8 + _line(_TITLE)), plan.style, size=_TEXT, fill=_QUIET, width=inside)
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        corner = (_MARGIN + column * (card[0] + _PAD), head + row * (card[1] + _PAD))
        label = f"{first + index + 1}  ·  {frame.id}"
        draw.rounded_rectangle(
            (*corner, corner[0] + card[0], corner[1] + card[1]), radius=10, fill=_CARD, outline=_EDGE
        )
        place = (corner[0] + _PAD, corner[1] + _PAD)
        image = image_of(frame.id)
        sheet.paste(_picture(image, panel), place)
        sheet.paste(plan_panel(plan, frame, image, size=panel), (place[0] + panel[0] + _GAP, place[1]))
        below = place[1] + panel[1] + _GAP
        _write(draw, (place[0], below), label, size=_SMALL, fill=_QUIET, width=card[0] - 2 * _PAD)
        for number, line in enumerate(captions[index]):
            draw.text(
                (place[0], below + _line(_SMALL) + number * _line(_TEXT)), line, fill=_INK, font=_font(_TEXT, line)
            )
    _write(draw, (_MARGIN, size[1] - _MARGIN + 2), note, size=_SMALL, fill=_QUIET, width=inside)
    return sheet


def _picture(image: "Image | None", panel: tuple[int, int]) -> "Image":
    from PIL import Image, ImageDraw

    if image is not None:
        return enlarged(image, panel)
    empty = Image.new("RGB", panel, _PAPER)
    draw = ImageDraw.Draw(empty)
    draw.text((panel[0] // 2, panel[1] // 2), "not drawn yet", fill=_QUIET, font=_font(_TEXT), anchor="mm")
    return empty


def enlarged(image: "Image", size: tuple[int, int]) -> "Image":
    """`image` as RGB at `size` (w, h) by a Lanczos filter."""
    from PIL import Image

    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def plan_panel(plan: "Plan", frame: "Frame", image: "Image | None", *, size: tuple[int, int]) -> "Image":
    """The boxes of `frame`, lowest first, with entity names, over a pale ghost of the picture; RGB of `size` (w, h)."""
    from PIL import Image, ImageDraw

    scale = 2
    big = (size[0] * scale, size[1] * scale)
    base = Image.new("RGB", big, "#fbfaf7")
    if image is not None:
        grey = enlarged(image.convert("L"), size).resize(big, Image.Resampling.NEAREST)
        base = Image.blend(base, grey, 0.3)
    colours, names = entity_colours(plan), entity_names(plan)
    boxes = [(item, _pixels(item.box, big)) for item in frame.items]
    for item, box in boxes:
        tint = Image.new("RGB", (max(1, box[2] - box[0]), max(1, box[3] - box[1])), colours[item.entity])
        under = base.crop((box[0], box[1], box[0] + tint.width, box[1] + tint.height))
        base.paste(Image.blend(under, tint, 0.16), box[:2])
        ImageDraw.Draw(base).rounded_rectangle(box, radius=8, outline=colours[item.entity], width=2 * scale)
    draw = ImageDraw.Draw(base)
    draw.rectangle((0, 0, big[0] - 1, big[1] - 1), outline=_EDGE, width=scale)
    for item, box in boxes:
        _tag(draw, names[item.entity], box, colours[item.entity], size=_SMALL * scale, inside=big)
    return base.reduce(scale)


def _tag(
    draw: "ImageDraw", name: str, box: tuple[int, ...], colour: str, *, size: int, inside: tuple[int, int]
) -> None:
    pad = size // 3
    text = _shortened(name, size=size, width=max(inside[0] - box[0], inside[0] // 2) - 2 * pad)
    font = _font(size, text)
    width, height = round(font.getlength(text)) + 2 * pad, round(size * 1.5)
    left = max(0, min(box[0], inside[0] - width))
    top = max(0, min(box[1], inside[1] - height))
    draw.rounded_rectangle((left, top, left + width, top + height), radius=pad, fill=colour)
    draw.text((left + pad, top + height // 2), text, fill="#ffffff", font=font, anchor="lm")


def _pixels(box: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    return (
        round(x0 * (size[0] - 1)),
        round(y0 * (size[1] - 1)),
        round(x1 * (size[0] - 1)),
        round(y1 * (size[1] - 1)),
    )


def _line(size: int) -> int:
    return round(size * 1.45)


def _write(draw: "ImageDraw", place: tuple[int, int], text: str, *, size: int, fill: str, width: int) -> None:
    text = _shortened(text, size=size, width=width)
    draw.text(place, text, fill=fill, font=_font(size, text))


def _wrapped(text: str, *, size: int, width: int, lines: int) -> list[str]:
    """`text` in at most `lines` lines of `width` pixels; what does not fit ends in an ellipsis."""
    words, done = text.split(), []
    font = _font(size, text)
    while words and len(done) < lines:
        count = 1
        if len(done) == lines - 1:
            count = len(words)
        while count < len(words) and font.getlength(" ".join(words[: count + 1])) <= width:
            count += 1
        done.append(_shortened(" ".join(words[:count]), size=size, width=width))
        words = words[count:]
    return done


def _shortened(text: str, *, size: int, width: int) -> str:
    """The longest beginning of `text` (one line) that fits `width` pixels, with an ellipsis where it was cut."""
    # No caption of a sheet comes near this many characters, and measuring 4,096 of them is slow.
    text = " ".join(text[:600].split())
    font = _font(size, text)
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(text[:middle].rstrip() + "…") <= width else (low, middle - 1)
    return text[:low].rstrip() + "…"


def _font(size: int, text: str = "") -> Any:
    """Pillow's own font, or the first font of this machine that has the characters of `text` which that one lacks."""
    lacking = frozenset(one for one in text if not one.isascii() and one not in "…·")
    return _font_with(size, lacking)


@cache
def _font_with(size: int, characters: frozenset[str]) -> Any:
    own = _own_font(size)
    if all(_has(own, one) for one in characters):
        return own
    for name in _WIDE_FONTS:
        font = _system_font(name, size)
        if font is not None and all(_has(font, one) for one in characters):
            return font
    return _system_font(_WIDE_FONTS[0], size) or own


@cache
def _own_font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


@cache
def _system_font(name: str, size: int) -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _has(font: Any, character: str) -> bool:
    # A font draws the same box for every character it lacks, U+10FFFF being one that all lack.
    return character.isspace() or bytes(font.getmask(character)) != bytes(font.getmask("\U0010ffff"))

"""Painting of layers and settings with Pillow on a canvas four times the picture's size."""

from PIL import Image, ImageDraw

from stage.draws import Draws
from stage.world.shapes import Layer, bounds
from stage.world.vocabulary import COLOURS

SUPERSAMPLE = 4

RGB = tuple[int, int, int]
INK: RGB = (38, 34, 44)
WHITE: RGB = (250, 250, 248)


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with a share (0..1) of `b`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def tones(colour: str) -> dict[str, RGB]:
    """Fill name -> RGB for an item of this body colour."""
    base = COLOURS[colour]
    return {
        "base": base,
        "dark": mix(base, INK, 0.35),
        "light": mix(base, WHITE, 0.4),
        "pale": mix(base, WHITE, 0.75),
        "white": WHITE,
        "ink": INK,
        "slate": (70, 74, 92),
        "beak": (240, 190, 90),
        "trunk": (112, 98, 92),
        "glass": (206, 226, 234),
        "outline": mix(base, INK, 0.65),
    }


def paint(
    canvas: Image.Image, drawing: list[Layer], box: tuple[float, float, float, float], *, colour: str, mirrored: bool
) -> Image.Image:
    """Paint a drawing on `canvas` (RGB) so that outline included it fills `box` (x0, y0, x1, y1 in 0..1 of the canvas).

    Returns:
        The silhouette, a mode "L" image of the canvas's size, 0 or 255.
    """
    side = canvas.width
    fills = tones(colour)
    line = max(2, round(0.013 * side))
    left, top, right, bottom = bounds(drawing)
    x0, y0, x1, y1 = (value * side for value in box)
    x0, y0, x1, y1 = x0 + line / 2, y0 + line / 2, x1 - line / 2, y1 - line / 2
    scale_x, scale_y = (x1 - x0) / (right - left), (y1 - y0) / (bottom - top)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        across = (right - point[0]) if mirrored else (point[0] - left)
        return x0 + across * scale_x, y0 + (point[1] - top) * scale_y

    silhouette = Image.new("L", canvas.size, 0)
    pen, mask = ImageDraw.Draw(canvas), ImageDraw.Draw(silhouette)
    for layer in drawing:
        polygons = [[place(point) for point in polygon] for polygon in layer.polygons]
        if layer.outlined:
            for polygon in polygons:
                closed = [*polygon, polygon[0], polygon[1]]
                pen.line(closed, fill=fills["outline"], width=line, joint="curve")
                mask.line(closed, fill=255, width=line, joint="curve")
        for polygon in polygons:
            pen.polygon(polygon, fill=fills[layer.fill])
            mask.polygon(polygon, fill=255)
    return silhouette


def background(setting: str, draws: Draws, side: int) -> Image.Image:
    """An empty setting, `side` x `side` RGB. Pale or of low saturation, so that no setting reads as a body colour."""
    sky, ground, second = {
        "meadow": ((218, 234, 242), (190, 212, 166), (206, 222, 184)),
        "beach": ((226, 238, 244), (238, 226, 198), (172, 204, 212)),
        "snow": ((200, 210, 224), (246, 248, 251), (228, 234, 242)),
        "forest": ((212, 218, 204), (184, 188, 162), (162, 160, 146)),
        "night": ((58, 62, 88), (96, 102, 116), (78, 84, 102)),
    }[setting]
    canvas = Image.new("RGB", (side, side), sky)
    pen = ImageDraw.Draw(canvas)
    horizon = side * draws.uniform(0.42, 0.58)
    if setting == "night":
        for _ in range(9):
            x, y, r = draws.uniform(0, side), draws.uniform(0, horizon), side * draws.uniform(0.008, 0.014)
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(236, 234, 214))
        x, y, r = side * draws.uniform(0.12, 0.88), side * draws.uniform(0.12, 0.24), side * 0.075
        pen.ellipse((x - r, y - r, x + r, y + r), fill=(240, 236, 212))
    if setting == "forest":
        start = draws.uniform(-0.1, 0.05)
        for i in range(6):
            x, w = side * (start + 0.19 * i + draws.uniform(0, 0.06)), side * draws.uniform(0.05, 0.08)
            pen.rectangle((x, 0, x + w, horizon + 0.1 * side), fill=second)
    if setting == "beach":
        pen.rectangle((0, horizon - 0.1 * side, side, side), fill=second)
        pen.rectangle((0, horizon + 0.06 * side, side, side), fill=ground)
    elif setting == "forest":
        pen.rectangle((0, horizon + 0.04 * side, side, side), fill=ground)
    else:
        x = side * draws.uniform(0.0, 1.0)
        pen.ellipse((x - 0.7 * side, horizon - 0.1 * side, x + 0.7 * side, horizon + 0.8 * side), fill=second)
        x = side * draws.uniform(0.2, 0.8)
        pen.ellipse((x - 1.3 * side, horizon, x + 1.3 * side, horizon + 1.6 * side), fill=ground)
    if setting in ("meadow", "snow"):
        for _ in range(8):
            x, y, r = (
                draws.uniform(0, side),
                draws.uniform(horizon + 0.12 * side if setting == "meadow" else 0, side),
                side * 0.012,
            )
            pen.ellipse((x - r, y - r, x + r, y + r), fill=(252, 252, 246))
    return canvas

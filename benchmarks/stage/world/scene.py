"""The procedural world: a scene is a pure function of (seed, number), and a picture a pure function of a scene."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stage.draws import Draws
from stage.world import shapes
from stage.world.paint import SUPERSAMPLE, background, paint
from stage.world.vocabulary import ACCESSORIES, COLOURS, CREATURES, FACINGS, KINDS, POSES, SETTINGS

SIDE = 64
# At least this share of every item's silhouette stays visible.
VISIBLE = 0.6
# Shares of pictures with 0, 1, 2, 3 items: single entities weigh most, because region prompts are single-entity texts.
_COUNTS = (0.08, 0.52, 0.85, 1.0)


class Item(NamedTuple):
    """One creature or thing. `box` is (x0, y0, x1, y1) in 0..1 and tight around the unoccluded silhouette; higher `z`
    is nearer.
    """

    kind: str
    colour: str
    accessory: str
    box: tuple[float, float, float, float]
    z: int
    facing: str
    pose: str


class Scene(NamedTuple):
    """A setting and its items, farthest first. `number` also keys the setting's own variation (horizon, hills,
    trunks).
    """

    setting: str
    items: tuple[Item, ...]
    seed: int
    number: int


def natural_aspect(kind: str, pose: str, accessory: str) -> float:
    """Width over height of the undistorted drawing."""
    x0, y0, x1, y1 = shapes.bounds(shapes.layers(kind, pose, accessory))
    return (x1 - x0) / (y1 - y0)


def _item(draws: Draws, single: bool) -> Item:
    kind = draws.choose(KINDS)
    creature = kind in CREATURES
    accessory = draws.choose(ACCESSORIES) if creature else "none"
    pose = draws.choose(POSES) if creature else "standing"
    facing = draws.choose(FACINGS)
    aspect = natural_aspect(kind, pose, accessory) * draws.uniform(0.88, 1.14)
    longer = draws.uniform(0.35, 0.7) if single else draws.uniform(0.28, 0.56)
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    x0 = draws.uniform(0.02, 0.98 - width)
    bottom = draws.uniform(max(height + 0.02, 0.55), 0.98)
    return Item(
        kind, draws.choose(tuple(COLOURS)), accessory, (x0, bottom - height, x0 + width, bottom), 0, facing, pose
    )


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Shared area of two boxes as a share of the smaller one."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def sample_scene(seed: int, number: int) -> Scene:
    """Scene `number` of the world with this seed: 0 to 3 items, overlapping by at most 0.25 of the smaller box."""
    draws = Draws(seed, "scene", number)
    setting = draws.choose(SETTINGS)
    share = draws.uniform()
    count = next(n for n, limit in enumerate(_COUNTS) if share < limit)
    items: list[Item] = []
    for _ in range(40):
        if len(items) == count:
            break
        item = _item(draws, count == 1)
        if all(
            _overlap(item.box, other.box) <= 0.25 and (item.kind, item.colour) != (other.kind, other.colour)
            for other in items
        ):
            items.append(item)
    items.sort(key=lambda item: item.box[3])
    return Scene(setting, tuple(item._replace(z=z) for z, item in enumerate(items)), seed, number)


def _paint_scene(scene: Scene, side: int) -> tuple[Image.Image, list[NDArray[np.bool_]]]:
    canvas = background(scene.setting, Draws(scene.seed, "setting", scene.number), side * SUPERSAMPLE)
    masks: list[NDArray[np.bool_]] = []
    for item in sorted(scene.items, key=lambda item: item.z):
        drawing = shapes.layers(item.kind, item.pose, item.accessory)
        mask = np.asarray(paint(canvas, drawing, item.box, colour=item.colour, mirrored=item.facing == "right")) > 0
        masks = [other & ~mask for other in masks] + [mask]
    return canvas, masks


def render(scene: Scene, *, side: int = SIDE) -> NDArray[np.uint8]:
    """The picture, uint8 [side, side, 3] sRGB: drawn four times larger and area-averaged."""
    return np.asarray(_paint_scene(scene, side)[0].reduce(SUPERSAMPLE))


def silhouettes(scene: Scene, *, side: int = SIDE) -> NDArray[np.float32]:
    """Visible coverage of every item, float32 [items, side, side] in 0..1, in order of `z`."""
    masks = _paint_scene(scene, side)[1]
    blocks = [mask.reshape(side, SUPERSAMPLE, side, SUPERSAMPLE).mean((1, 3), dtype=np.float32) for mask in masks]
    return np.stack(blocks) if blocks else np.zeros((0, side, side), np.float32)

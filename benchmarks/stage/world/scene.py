"""The procedural world: a scene is a pure function of (seed, number), and a picture a pure function of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stage.draws import Choice, Draws
from stage.world import paint, vocabulary
from stage.world.backdrops import backdrop, weather_overlay
from stage.world.creatures import creature_layers
from stage.world.shapes import Layer, bounds
from stage.world.things import thing_layers

SIDE = 128
# At least this share of every item's silhouette stays visible.
VISIBLE = 0.6
# Items of one scene share at most this part of the smaller one's box.
OVERLAP = 0.25
# Size -> least and greatest longer side, as a share of the frame; disjoint, so that a box tells its size.
SIDES = {"small": (0.22, 0.32), "medium": (0.34, 0.46), "large": (0.5, 0.68)}
PORTRAIT_SIDES = {"medium": (0.5, 0.66), "large": (0.7, 0.92)}
# Things that may float above the ground.
_FLYING = ("kite", "balloon", "star")

Box = tuple[float, float, float, float]


class Item(NamedTuple):
    """One creature or thing. (kind, colour, second, pattern, accessory, size) is its identity code; `second` is None
    for plain items. `box` is (x0, y0, x1, y1) in 0..1 and tight around the unoccluded silhouette; higher `z` is nearer.
    """

    kind: str
    colour: str
    second: str | None
    pattern: str
    accessory: str
    size: str
    box: Box
    z: int
    facing: str
    pose: str


class Scene(NamedTuple):
    """A setting and its items, farthest first. (seed, number) also keys the setting's own variation (horizon, hills,
    trunks). A portrait is a close-up of one item, whose `size` is relative to the close-up.
    """

    setting: str
    time: str
    weather: str
    items: tuple[Item, ...]
    seed: int
    number: int
    portrait: bool = False


@dataclass(frozen=True)
class Rates:
    """How often what occurs: probabilities, and weights in the vocabulary's order (they need not sum to one)."""

    # Scenes with 0, 1, 2, 3 items. Single entities weigh most, because region prompts are single-entity texts.
    counts: tuple[float, ...] = (0.06, 0.52, 0.28, 0.14)
    creature: float = 0.55
    pattern: float = 0.4
    accessory: float = 0.55
    times: tuple[float, ...] = (0.6, 0.2, 0.2)
    weathers: tuple[float, ...] = (0.7, 0.15, 0.15)
    sizes_of_one: tuple[float, ...] = (0.3, 0.35, 0.35)
    sizes_of_several: tuple[float, ...] = (0.4, 0.45, 0.15)
    poses: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    # Width over height varies by this factor either way.
    stretch: float = 1.1


DEFAULT = Rates()


@cache
def drawing_of(kind: str, pose: str, accessory: str) -> list[Layer]:
    """The layers of a creature or thing, facing left; the same list every time, not to be changed."""
    return creature_layers(kind, pose, accessory) if kind in vocabulary.CREATURES else thing_layers(kind)


@cache
def natural_aspect(kind: str, pose: str, accessory: str) -> float:
    """Width over height of the undistorted drawing."""
    x0, y0, x1, y1 = bounds(drawing_of(kind, pose, accessory))
    return (x1 - x0) / (y1 - y0)


def weighted(draws: Draws, options: Sequence[Choice], weights: Sequence[float]) -> Choice:
    """One of the options, as likely as its weight says."""
    share = draws.uniform() * sum(weights)
    for option, weight in zip(options, weights, strict=True):
        share -= weight
        if share < 0:
            return option
    return options[-1]


def _item(draws: Draws, rates: Rates, sides: dict[str, tuple[float, float]], weights: Sequence[float]) -> Item:
    creature = draws.chance(rates.creature)
    kind = draws.choose(vocabulary.CREATURES if creature else vocabulary.THINGS)
    colour = draws.choose(tuple(vocabulary.COLOURS))
    pattern = draws.choose(vocabulary.PATTERNS[1:]) if draws.chance(rates.pattern) else "plain"
    second = draws.choose(vocabulary.second_colours(colour)) if pattern != "plain" else None
    accessory = draws.choose(vocabulary.ACCESSORIES[1:]) if creature and draws.chance(rates.accessory) else "none"
    looks = Item(kind, colour, second, pattern, accessory, "", (0.0, 0.0, 1.0, 1.0), 0, "", "")
    return _placed(looks, draws, rates, sides, weights)


def _placed(
    looks: Item, draws: Draws, rates: Rates, sides: dict[str, tuple[float, float]], weights: Sequence[float]
) -> Item:
    """The item with a pose, facing, size and box drawn anew."""
    kind, accessory = looks.kind, looks.accessory
    pose = weighted(draws, vocabulary.POSES, rates.poses) if kind in vocabulary.CREATURES else "standing"
    facing = draws.choose(vocabulary.FACINGS)
    size = weighted(draws, tuple(sides), weights)
    aspect = natural_aspect(kind, pose, accessory) * rates.stretch ** draws.uniform(-1, 1)
    longer = draws.uniform(*sides[size])
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    x0 = draws.uniform(0.02, 0.98 - width)
    highest = 0.3 if kind in _FLYING else 0.6
    bottom = draws.uniform(max(height + 0.02, highest), 0.98)
    box = (x0, bottom - height, x0 + width, bottom)
    return looks._replace(size=size, box=box, z=0, facing=facing, pose=pose)


def _overlap(a: Box, b: Box) -> float:
    """Shared area of two boxes as a share of the smaller one."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return width * height / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))


def _ordered(items: Sequence[Item]) -> tuple[Item, ...]:
    """Items farthest first: who stands lower in the picture is nearer."""
    return tuple(item._replace(z=z) for z, item in enumerate(sorted(items, key=lambda item: item.box[3])))


def _fits(items: Sequence[Item], item: Item) -> bool:
    """Whether `item` can join: nobody alike, little overlap, everyone still visible."""
    if any((item.kind, item.colour) == (other.kind, other.colour) for other in items):
        return False
    overlaps = [_overlap(item.box, other.box) for other in items]
    if max(overlaps, default=0.0) > OVERLAP:
        return False
    if not any(overlaps):
        return True
    whole = [_silhouette(one, 64) for one in _ordered([*items, item])]
    # A little more than VISIBLE, because coverage is counted here on a coarser grid than in pictures.
    return all(seen.sum() >= (VISIBLE + 0.03) * full.sum() for seen, full in zip(_visible(whole), whole, strict=True))


def sample_scene(seed: int, number: int, *, rates: Rates = DEFAULT, portrait: bool = False) -> Scene:
    """Scene `number` of the world with this seed: 0 to 3 items, or with `portrait` one item that fills 0.5 to 0.92 of
    the frame's side.
    """
    draws = Draws(seed, "portrait" if portrait else "scene", number)
    setting, time, weather = _surroundings(draws, rates)
    count = 1 if portrait else weighted(draws, range(len(rates.counts)), rates.counts)
    sides, weights = SIDES, rates.sizes_of_one if count == 1 else rates.sizes_of_several
    if portrait:
        sides, weights = PORTRAIT_SIDES, (1.0, 1.0)
    items: list[Item] = []
    for _ in range(40):
        if len(items) == count:
            break
        item = _item(draws, rates, sides, weights)
        if _fits(items, item):
            items.append(item)
    return Scene(setting, time, weather, _ordered(items), seed, number, portrait)


def portrait_of(looks: Item, seed: int, number: int, *, rates: Rates = DEFAULT) -> Scene:
    """Another picture of an entity: a portrait of the same identity but for its size, with a setting, pose, facing and
    box drawn anew; keyed by (seed, number), its background's details as those of portrait `number`.
    """
    draws = Draws(seed, "portrait of", number)
    setting, time, weather = _surroundings(draws, rates)
    item = _placed(looks, draws, rates, PORTRAIT_SIDES, (1.0, 1.0))
    return Scene(setting, time, weather, (item,), seed, number, portrait=True)


def _surroundings(draws: Draws, rates: Rates) -> tuple[str, str, str]:
    """Setting, time and weather."""
    setting = draws.choose(vocabulary.SETTINGS)
    time = weighted(draws, vocabulary.TIMES, rates.times)
    weather = weighted(draws, vocabulary.WEATHERS, rates.weathers)
    return setting, time, "clear" if setting in vocabulary.INDOORS else weather


def _silhouette(item: Item, side: int) -> NDArray[np.float32]:
    drawing = drawing_of(item.kind, item.pose, item.accessory)
    return paint.silhouette(drawing, item.box, side, mirrored=item.facing == "right")


def _visible(whole: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """What of each silhouette is left when the later ones cover it."""
    seen: list[NDArray[np.float32]] = []
    for mask in whole:
        seen = [*(other * (1 - mask) for other in seen), mask]
    return seen


def render(scene: Scene, *, side: int = SIDE) -> NDArray[np.uint8]:
    """The picture, uint8 [side, side, 3] sRGB."""
    take = "portrait" if scene.portrait else "scene"
    draws = Draws(scene.seed, "setting", take, scene.number)
    canvas = backdrop(scene.setting, scene.time, scene.weather, draws, side)
    for item in sorted(scene.items, key=lambda item: item.z):
        paint.paint(
            canvas,
            drawing_of(item.kind, item.pose, item.accessory),
            item.box,
            colour=item.colour,
            second=item.second,
            pattern=item.pattern,
            mirrored=item.facing == "right",
        )
    if scene.setting not in vocabulary.INDOORS:
        weather_overlay(canvas, scene.weather, Draws(scene.seed, "weather", take, scene.number))
    return np.asarray(canvas)


def silhouettes(scene: Scene, *, side: int = SIDE) -> NDArray[np.float32]:
    """Visible coverage of every item, float32 [items, side, side] in 0..1, in order of `z`; rain and snow in front of
    items are not counted.
    """
    ordered = sorted(scene.items, key=lambda item: item.z)
    masks = _visible([_silhouette(item, side) for item in ordered])
    return np.stack(masks) if masks else np.zeros((0, side, side), np.float32)

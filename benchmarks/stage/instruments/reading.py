"""What an instrument says about one entity it found in a picture."""

from typing import NamedTuple

from stage.world.scene import Item

Box = tuple[float, float, float, float]

# The identity code: what makes an entity the same in another picture. Pose and facing are free.
CODE = ("kind", "colour", "second", "pattern", "accessory", "size")
FREE = ("pose", "facing")


class Reading(NamedTuple):
    """One found entity, named as in `stage.world.scene.Item`.

    `second` is None on a plain entity, `box` (x0, y0, x1, y1 in 0..1) the tight box of the whole entity, also where
    another hides it, `score` the probability of the kind in 0..1, and `sharpness` that of
    `stage.instruments.metrics.sharpness` in the box.
    """

    kind: str
    colour: str
    second: str | None
    pattern: str
    accessory: str
    size: str
    pose: str
    facing: str
    box: Box
    score: float
    sharpness: float

    @property
    def code(self) -> tuple[str | None, ...]:
        """The identity code."""
        return code_of(self)


def code_of(entity: "Reading | Item") -> tuple[str | None, ...]:
    """The identity code of a reading or of a truth, in the order of `CODE`."""
    return tuple(getattr(entity, name) for name in CODE)

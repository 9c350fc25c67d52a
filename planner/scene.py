"""The scene a language model writes: few tokens, whole numbers on a grid. Its pydantic model is the one source of
the decoding grammar."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

# Cells along each side of a frame; models write whole numbers better than fractions (LGGPT, arXiv 2502.14005;
# Omost's README).
GRID = 32
# Items of one frame; so many of the smallest boxes stand side by side.
MAX_ITEMS = 5
# Beings of one story.
MAX_BEINGS = 8
# Characters of a sentence that a frame quotes.
QUOTE_LENGTH = 240

# Letters and digits of any script and a little punctuation: nothing that JSON would have to escape. `#1` stands for
# a name
# (see `raccord.planner.reading`).
Text = Annotated[str, Field(pattern=r"^[\p{L}\p{N}#][\p{L}\p{N} ,.'\u2019-]{0,79}$")]
Cell = Annotated[int, Field(ge=0, le=GRID - 1)]
Extent = Annotated[int, Field(ge=1, le=GRID)]
RelationWord = Literal["left of", "right of", "next to", "behind", "in front of", "above"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Being(_Strict):
    """Somebody or something of the story and its looks."""

    name: Text
    card: Text


class Relation(_Strict):
    """`subject` stands `relation` (of) `object`, as the spectator sees it."""

    subject: Text
    relation: RelationWord
    object: Text


class Placed(_Strict):
    """A being in one frame. `box` is (left, top, width, height) in cells of the grid, row 0 at the top."""

    entity: Text
    action: Text
    box: tuple[Cell, Cell, Extent, Extent]


class Shot(_Strict):
    """One frame: the sentence it shows, its setting, and who stands where.

    The sentence is quoted word for word (the grammar sees to that): a small model then has what it must draw right
    before its eyes.
    """

    sentence: Annotated[str, Field(min_length=1, max_length=QUOTE_LENGTH)]
    background: Text
    relations: Annotated[tuple[Relation, ...], Field(max_length=4)]
    items: Annotated[tuple[Placed, ...], Field(min_length=1, max_length=MAX_ITEMS)]


class Scene(_Strict):
    """A whole story as a language model writes it."""

    entities: Annotated[tuple[Being, ...], Field(min_length=1, max_length=MAX_BEINGS)]
    frames: Annotated[tuple[Shot, ...], Field(min_length=1, max_length=64)]


def rename(scene: Scene, new_names: Mapping[str, str]) -> Scene:
    """The scene with some beings called differently; names that `new_names` lacks stay."""
    named = {name: new_names.get(name, name) for name in scene_names(scene)}
    return Scene(
        entities=tuple(being.model_copy(update={"name": named[being.name]}) for being in scene.entities),
        frames=tuple(
            shot.model_copy(
                update={
                    "relations": tuple(
                        r.model_copy(update={"subject": named[r.subject], "object": named[r.object]})
                        for r in shot.relations
                    ),
                    "items": tuple(item.model_copy(update={"entity": named[item.entity]}) for item in shot.items),
                }
            )
            for shot in scene.frames
        ),
    )


def scene_names(scene: Scene) -> set[str]:
    """Every name in a scene, declared or not."""
    names = {being.name for being in scene.entities}
    for shot in scene.frames:
        names |= {item.entity for item in shot.items} | {name for r in shot.relations for name in (r.subject, r.object)}
    return names


def scene_json(scene: Scene) -> str:
    """The scene as a model writes it: compact JSON in the order of the fields."""
    return json.dumps(scene.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)

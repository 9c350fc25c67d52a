"""Training and evaluation text of the embedded planner: prompts as `raccord.planner` writes them, completions as its
grammar allows them."""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from raccord.planner.framing import Arrangement, arrangements
from raccord.planner.geometry import Box
from raccord.planner.prompt import world_prompt
from raccord.planner.reading import read_story
from raccord.planner.scene import QUOTE_LENGTH, Scene, rename, scene_json
from raccord.planner.world import World, read_world, write_world

# The stage's modules import each other as `stage.world`; the folder above this one is their root.
if (_benchmarks := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, _benchmarks)

from stage.files import replacing
from stage.stories.story import Story, story
from worlds import new_world

SEED = 20261122
# What is made once for all runs; delete the folder to begin anew.
BUILD = Path(__file__).resolve().parents[2] / "build" / "planner"


class Example(NamedTuple):
    """What the model reads and what it must write."""

    prompt: str
    completion: str


@functools.cache
def world() -> World:
    """The planner's world, made once."""
    path = BUILD / "world.json"
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_text(write_world(new_world()), encoding="utf-8")
    return read_world(path)


def example(told: Story) -> Example:
    """The prompt and completion of a story."""
    reading = read_story(told.text, world())
    placeholders = {name: f"#{number}" for number, name in enumerate(reading.names, start=1)}
    scene = rename(told.scene, placeholders)
    quoted = (
        shot.model_copy(update={"sentence": sentence[:QUOTE_LENGTH]})
        for shot, sentence in zip(scene.frames, reading.sentences, strict=True)
    )
    return Example(world_prompt(reading), scene_json(scene.model_copy(update={"frames": tuple(quoted)})))


def training_example(number: int, *, layout: str, max_sentences: int = 8) -> Example:
    """Example `number` of the training stories, a pure function of its arguments.

    Args:
        layout: "careless" boxes, or those of `laid_out`. Three of four stories of the layout "crowd" are crowded.
    """
    crowded = layout == "crowd" and number % 4 != 0
    told = story(
        SEED,
        number,
        layout="careless" if layout == "careless" else "careful",
        max_sentences=max_sentences,
        crowded=crowded,
    )
    return example(told if layout == "careless" else told._replace(scene=laid_out(told.scene, layout)))


def held_out_story(number: int, *, wording: int = 0, crowded: bool = False) -> Story:
    """Story `number` for evaluation: names and half of the wordings never seen in training, careful layout."""
    return story(SEED, number, held_out=True, wording=wording, crowded=crowded)


def laid_out(scene: Scene, layout: str) -> Scene:
    """The scene in the layout an adapter is to give it.

    "careful": everything in its natural sides on one line. "crowd": the same, four or more in two rows. "framing":
    wide where a setting is new, close where somebody is alone in one that is not, medium elsewhere.
    """
    cards = {being.name: being.card for being in scene.entities}
    shots = []
    for number, shot in enumerate(scene.frames):
        found = arrangements(shot, cards, world())
        size = shot_size(scene, number) if layout == "framing" else "medium"
        rows = 2 if layout == "crowd" else 1
        boxes = next(_wanted(found, size, rows), None)
        if boxes is not None:
            items = tuple(i.model_copy(update={"box": b}) for i, b in zip(shot.items, boxes, strict=True))
            shot = shot.model_copy(update={"items": items})
        shots.append(shot)
    return scene.model_copy(update={"frames": tuple(shots)})


def _wanted(found: list[Arrangement], size: str, rows: int) -> Iterator[tuple[Box, ...]]:
    """Boxes of the arrangement wanted; where there is none in two rows, those in one."""
    for wanted in ((size, rows), (size, 1)):
        yield from (one.boxes for one in found if (one.size, one.rows) == wanted)


def shot_size(scene: Scene, number: int) -> str:
    """How close a film would show frame `number`: an establishing shot of a new setting, a close-up of one alone."""
    settings = [shot.background.split()[0] for shot in scene.frames]
    if number == 0 or settings[number] != settings[number - 1]:
        return "wide"
    return "close" if len(scene.frames[number].items) == 1 else "medium"

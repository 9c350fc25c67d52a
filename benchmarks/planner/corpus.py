"""Training and evaluation text of the embedded planner: prompts as `raccord.planner` writes them, completions as its
grammar allows them."""

import functools
import sys
from pathlib import Path
from typing import NamedTuple

from raccord.planner.prompt import world_prompt
from raccord.planner.reading import read_story
from raccord.planner.scene import rename, scene_json
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
    quoted = (shot.model_copy(update={"sentence": s}) for shot, s in zip(scene.frames, reading.sentences, strict=True))
    return Example(world_prompt(reading), scene_json(scene.model_copy(update={"frames": tuple(quoted)})))


def training_example(number: int, *, layout: str, max_sentences: int = 8) -> Example:
    """Example `number` of the training stories, a pure function of its arguments."""
    return example(story(SEED, number, layout=layout, max_sentences=max_sentences))


def held_out_story(number: int, *, wording: int = 0) -> Story:
    """Story `number` for evaluation: names and half of the wordings never seen in training, careful layout."""
    return story(SEED, number, held_out=True, wording=wording)

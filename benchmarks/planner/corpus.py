"""Training and evaluation text of the embedded planner: prompts as `raccord.planner` writes them, completions as its
grammar allows them."""

import functools
import itertools
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
from stage.stories.words import NOISE_ADJECTIVES, NOISE_ADVERBS
from stage.world import vocabulary as stage
from stage.world.scene import SIDE

SEED = 20261122
_ACTION_WORDS = {
    "sitting": "sits sit sitting",
    "standing": "stands stand standing stays stay comes arrives returns meets sees finds greets",
    "walking": "walks walk walking goes go runs run",
    "waiting": "waits wait waiting",
    "looking around": "looks look looking",
    "resting": "rests rest resting sleeps sleep lies",
}
_SETTING_WORDS = {
    "meadow": "meadow grass",
    "beach": "beach sand",
    "snow": "snow snowy",
    "forest": "forest woods",
    "night": "night stars",
}
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
            temporary.write_text(write_world(_new_world()), encoding="utf-8")
    return read_world(path)


def _new_world() -> World:
    """The stage's vocabulary, and the words of the stories told about it in training."""
    creatures = itertools.product(stage.CREATURES, (None, *stage.COLOURS), stage.ACCESSORIES)
    things = itertools.product(stage.THINGS, (None, *stage.COLOURS), ("none",))
    words: set[str] = set()
    for number in range(2000):
        told = story(SEED, number)
        words |= {word.lower() for word in told.text.replace(",", " ").replace(".", " ").split()} - {
            name.lower() for name in told.names
        }
    return World(
        cards=tuple(
            stage.card(kind=kind, colour=colour, accessory=accessory)
            for kind, colour, accessory in (*creatures, *things)
        ),
        creature_actions=tuple(
            action for actions in stage.ACTIONS.values() for action in actions if action != "sitting down"
        ),
        thing_actions=("standing there",),
        backgrounds={setting: phrases[1] for setting, phrases in stage.BACKGROUNDS.items()},
        places={setting: phrases[0] for setting, phrases in stage.SETTING_PHRASES.items()},
        kinds={noun: kind for kind, nouns in stage.SYNONYMS.items() for noun in nouns},
        things=stage.THINGS,
        colours=tuple(stage.COLOURS),
        accessories=tuple(stage.ACCESSORY_WORDS),
        action_words={word: action for action, told in _ACTION_WORDS.items() for word in told.split()},
        setting_words={word: setting for setting, told in _SETTING_WORDS.items() for word in told.split()},
        words=frozenset(words - {*NOISE_ADVERBS, *NOISE_ADJECTIVES}),
        size=(SIDE, SIDE),
        max_sentences=8,
        max_names=4,
    )


def example(told: Story) -> Example:
    """The prompt and completion of a story."""
    reading = read_story(told.text, world())
    placeholders = {name: f"#{number}" for number, name in enumerate(reading.names, start=1)}
    scene = rename(told.scene, placeholders)
    quoted = (shot.model_copy(update={"sentence": s}) for shot, s in zip(scene.frames, reading.sentences, strict=True))
    return Example(world_prompt(reading), scene_json(scene.model_copy(update={"frames": tuple(quoted)})))


def training_example(number: int, *, layout: str, max_sentences: int = 6) -> Example:
    """Example `number` of the training stories, a pure function of its arguments."""
    return example(story(SEED, number, layout=layout, max_sentences=max_sentences))


def held_out_story(number: int) -> Story:
    """Story `number` for evaluation: names and half of the wordings never seen in training, careful layout."""
    return story(SEED, number, held_out=True)

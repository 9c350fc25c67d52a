"""Training and evaluation text of the embedded planner: prompts as `raccord.planner` writes them, completions as its
grammar allows them."""

import functools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from raccord.planner.framing import Arrangement, arrangements, natural_size
from raccord.planner.geometry import MIN_HEIGHT, MIN_WIDTH, Box, Constraint, arrange, faults, inside
from raccord.planner.prompt import world_prompt
from raccord.planner.reading import read_story
from raccord.planner.scene import GRID, QUOTE_LENGTH, Scene, Shot, rename, scene_json
from raccord.planner.world import World, read_world, write_world

# The stage's modules import each other as `stage.world`; the folder above this one is their root.
if (_benchmarks := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, _benchmarks)

from stage.files import replacing
from stage.stories.story import Story, story
from worlds import new_world

SEED = 20261122
# Stories to choose a lesson from, the first that states a relation.
_RELATED_CANDIDATES = 6
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
        layout: "careless" boxes, or those of `laid_out`. Three of four stories of the layout "crowd" are crowded; of
            the layout "careful", nine of ten state a relation: by chance one frame of eight does, too few to learn
            what the six of them mean.
    """
    if layout == "careless":
        return example(story(SEED, number, layout=layout, max_sentences=max_sentences))
    candidates = _RELATED_CANDIDATES if layout == "careful" else 1
    for candidate in range(number * candidates, (number + 1) * candidates):
        told = story(SEED, candidate, max_sentences=max_sentences, crowded=layout == "crowd" and number % 4 != 0)
        if any(shot.relations for shot in told.scene.frames):
            break
    return example(told._replace(scene=laid_out(told.scene, layout)))


def held_out_story(number: int, *, wording: int = 0, crowded: bool = False) -> Story:
    """Story `number` for evaluation: names and half of the wordings never seen in training, careful layout."""
    return story(SEED, number, held_out=True, wording=wording, crowded=crowded)


def laid_out(scene: Scene, layout: str) -> Scene:
    """The scene in the layout an adapter is to give it.

    "careful": relations hold and nothing overlaps (`_in_turn`). "crowd": everything in its natural sides on one line,
    four or more in two rows. "framing": wide where a setting is new, close where somebody is alone in one that is not,
    medium elsewhere.
    """
    cards = {being.name: being.card for being in scene.entities}
    shots = []
    for number, shot in enumerate(scene.frames):
        if layout == "careful":
            boxes = _in_turn(shot, cards)
        else:
            size = shot_size(scene, number) if layout == "framing" else "medium"
            boxes = next(_wanted(arrangements(shot, cards, world()), size, 2 if layout == "crowd" else 1), None)
        if boxes is not None:
            items = tuple(i.model_copy(update={"box": b}) for i, b in zip(shot.items, boxes, strict=True))
            shot = shot.model_copy(update={"items": items})
        shots.append(shot)
    return scene.model_copy(update={"frames": tuple(shots)})


def _in_turn(shot: Shot, cards: Mapping[str, str]) -> list[Box] | None:
    """Boxes as `arrange` orders them, each in the middle of its share of the width where that satisfies everything.

    Where an item stands then hangs on its turn and its own sides alone, which a small model can learn; columns that
    leave equal gaps hang on everybody's sides. Sides are rounded to even cells for the same reason.
    """
    count = len(shot.items)
    sizes = [natural_size(cards[item.entity], item.action, count, world()) for item in shot.items]
    sizes = [(max(MIN_WIDTH, 2 * round(w / 2)), max(MIN_HEIGHT, 2 * round(h / 2))) for w, h in sizes]
    position = {item.entity: index for index, item in enumerate(shot.items)}
    constraints = [Constraint(position[r.subject], r.relation, position[r.object]) for r in shot.relations]
    boxes = arrange(sizes, constraints)
    if boxes is None:
        return None
    turn = {item: place for place, item in enumerate(sorted(range(count), key=lambda i: 2 * boxes[i][0] + boxes[i][2]))}
    shared = [inside(((2 * turn[i] + 1) * GRID // (2 * count) - box[2] // 2, *box[1:])) for i, box in enumerate(boxes)]
    return shared if faults(shared, constraints) == ([], []) else boxes


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

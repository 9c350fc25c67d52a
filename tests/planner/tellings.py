"""What plain code reads in a story of the embedded planner's world, with the story's own names."""

from pathlib import Path

from raccord.planner.cast import cast_story
from raccord.planner.reading import read_story
from raccord.planner.world import read_world

PAIR = "Lina is a red cat. Bo is a blue dog. Lina and Bo sit in the forest. "
WORLD = read_world(Path(__file__).resolve().parents[2] / "models" / "planner" / "world.json")


def cast(story):
    return cast_story(read_story(story, WORLD), WORLD)


def cards(story):
    """Looks by name or noun."""
    reading = read_story(story, WORLD)
    names = {f"#{number}": name for number, name in enumerate(reading.names, start=1)}
    return {names.get(role.name, role.name): role.cards(WORLD)[0] for role in cast(story).roles}


def frames(story):
    """(place, {who: action}, relations) of every frame, with the story's names."""
    reading = read_story(story, WORLD)
    names = {f"#{number}": name for number, name in enumerate(reading.names, start=1)}
    return [
        (
            choice.background,
            {names.get(name, name): dict(choice.actions).get(name) for name in choice.shown},
            {(names.get(a, a), relation, names.get(b, b)) for a, relation, b in choice.relations},
        )
        for choice in cast(story).choices
    ]

"""What a language model is asked for one story: its prompt, and the schema its answer obeys."""

from typing import TYPE_CHECKING, Any, NamedTuple

from raccord.planner.cast import Choice, cast_story
from raccord.planner.grammar import scene_schema
from raccord.planner.prompt import general_prompt, world_prompt
from raccord.planner.reading import Reading
from raccord.planner.world import World

if TYPE_CHECKING:
    from raccord.planner.language_model import LanguageModel


class Asked(NamedTuple):
    """A prompt and a schema, and what they were made of.

    Attributes:
        sentences: what the frames quote, as the model reads it.
        names: placeholder in the prompt -> name in the story; empty for a general model.
        roles: everybody of the story as the prompt calls them, in order; empty for a general model.
        choices: what each sentence says and leaves open; empty for a general model.
    """

    prompt: str
    schema: dict[str, Any]
    sentences: tuple[str, ...]
    names: dict[str, str]
    roles: tuple[str, ...]
    choices: tuple[Choice, ...]
    world: World | None


def ask(model: "LanguageModel", reading: Reading | None, sentences: list[str]) -> Asked:
    """What `model` is asked for a story.

    Args:
        reading: the story as the model's world has it; None for a general model.
        sentences: those of the story.

    Raises:
        ValueError: the model's chat template cannot be used.
    """
    world = model.world
    if reading is None or world is None:
        prompt = general_prompt(sentences, model.tokenizer)
        return Asked(prompt, scene_schema(sentences=sentences), tuple(sentences), {}, (), (), None)
    cast = cast_story(reading, world)
    names = {f"#{number}": name for number, name in enumerate(reading.names, start=1)}
    schema = scene_schema(sentences=reading.sentences, cast=cast, world=world)
    roles = tuple(role.name for role in cast.roles)
    return Asked(world_prompt(reading), schema, tuple(reading.sentences), names, roles, cast.choices, world)

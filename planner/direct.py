"""From a story to a plan: a language model forms the scene, plain code checks and repairs it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raccord.planner.cast import cast_story
from raccord.planner.compose import compose
from raccord.planner.embedded import embedded_model
from raccord.planner.framing import framed, staged
from raccord.planner.grammar import scene_schema
from raccord.planner.hub import model_folder
from raccord.planner.language_model import LanguageModel, LanguageModelError, Written, load_language_model
from raccord.planner.prompt import general_prompt, world_prompt
from raccord.planner.reading import Reading, read_story, split_story
from raccord.planner.repair import Repaired, repair
from raccord.planner.scene import Scene, rename
from raccord.planner.world import World
from raccord.sampler.plan import Plan, PlanError

# A story is read at once; longer ones are told in parts.
MAX_CHARACTERS = 8000
_MAX_SENTENCES = 24
_MAX_TOKENS = 4096
_MAX_SECONDS = 300.0
_DEFAULT_SIZE = (512, 512)


class DirectError(ValueError):
    """A story cannot become a plan with this model; the message says why and what to do."""


@dataclass(frozen=True)
class Proposal:
    """A plan and how it came about.

    Attributes:
        plan: a valid plan.
        repairs: what was changed after the model had written its scene, one sentence each.
        unknown_words: words outside the model's world, then phrases it cannot tell apart ("blue cat" beside another);
            they have no effect on the plan.
        tokens: number of tokens the model wrote.
        seconds: wall time of everything, loading included.
        planner: hashes of the model's weights and adapters, with the adapters' weights.
    """

    plan: Plan
    repairs: tuple[str, ...]
    unknown_words: tuple[str, ...]
    tokens: int
    seconds: float
    planner: dict[str, Any]


def direct(
    story: str,
    *,
    model: str | Path | LanguageModel | None = None,
    adapters: Sequence[str] = (),
    seed: int = 0,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Plan:
    """The plan of a story; `propose` without its notes."""
    return propose(story, model=model, adapters=adapters, seed=seed, size=size, progress=progress).plan


def propose(
    story: str,
    *,
    model: str | Path | LanguageModel | None = None,
    adapters: Sequence[str] = (),
    seed: int = 0,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Proposal:
    """Turn a story into a plan: a frame for each line if every line ends a sentence, else for each sentence.

    Decoding is greedy: equal arguments give equal plans on one machine.

    Args:
        story: plain English, at most 8,000 characters; it can change text and boxes of the plan and nothing else.
        model: None for the embedded model, a folder or hub name of any transformers causal LM, or one that is loaded
            already (which keeps its adapter).
        adapters: LoRA adapters, "NAME" or "NAME:weight" (-4..4): the model's own by name, others by folder. They add
            up. The model's own "base" is in use unless it says "base:0".
        seed: the plan's seed, 0..2^63-1; the planner draws nothing itself.
        size: (width, height) in pixels; None for the size of the model's world, or 512 x 512.
        progress: called with (tokens done, most tokens possible) while the model writes.

    Raises:
        DirectError: the story is empty, too long or names nothing the model knows; or the model cannot be used or
        does not finish.
        EmbeddedModelError: the embedded model is damaged.
        OSError: `model` is neither a folder nor to be had from the hub.
    """
    started = time.monotonic()
    if not isinstance(story, str):
        raise TypeError(f"story: must be text, got {type(story).__name__}")
    if len(story) > MAX_CHARACTERS:
        raise DirectError(
            f"story: at most {MAX_CHARACTERS:,} characters can be directed at once, got {len(story):,}; "
            "tell it in parts"
        )
    sentences = split_story(story)
    if not sentences:
        raise DirectError("story: holds no words; write two to five sentences about who is where and does what")
    try:
        language_model = _loaded(model, adapters)
        reading = read_for(language_model, story, sentences)
        scene, written = form_scene(language_model, reading, sentences, progress=progress)
    except LanguageModelError as error:
        raise DirectError(str(error)) from error
    plan, repairs = planned(language_model, scene, reading, sentences, seed=seed, size=size)
    world = language_model.world
    unknown, guessed = _notices(scene, reading, world) if reading and world else ((), ())
    return Proposal(plan, guessed + repairs, unknown, written.tokens, time.monotonic() - started, language_model.record)


def planned(
    language_model: LanguageModel,
    scene: Scene,
    reading: Reading | None,
    sentences: list[str],
    *,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a scene that the model wrote, and what was repaired for it.

    In a world whose proportions are known the model's boxes say who stands left of whom; their sides and heights are
    the world's own (see `raccord.planner.framing.staged`).

    Raises:
        DirectError: the scene does not make a valid plan.
    """
    world = language_model.world
    fixed = repair(scene, reading=reading)
    larger = Repaired(staged(fixed.scene, world), ()) if world else framed(fixed.scene)
    size = size or (world.size if world else _DEFAULT_SIZE)
    try:
        plan = compose(larger.scene, sentences=sentences, world=world, seed=seed, size=size)
    except PlanError as error:
        raise DirectError(f"the scene does not make a valid plan: {error}") from error
    return plan, fixed.repairs + larger.repairs


def _notices(scene: Scene, reading: Reading, world: World) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Words of the story without effect, and a sentence for each being whose kind the story does not say."""
    cast = cast_story(reading, world)
    guessed = tuple(
        f'the story does not say what "{being.name}" is; drawn as {being.card}'
        for being, role in zip(scene.entities, cast.roles, strict=True)
        if role.kind is None
    )
    return reading.unknown + cast.left_out, guessed


def _loaded(model: str | Path | LanguageModel | None, adapters: Sequence[str]) -> LanguageModel:
    if isinstance(model, LanguageModel):
        return model
    folder = embedded_model("planner") if model is None else model_folder(model)
    return load_language_model(folder, adapters=adapters)


def read_for(language_model: LanguageModel, story: str, sentences: list[str]) -> Reading | None:
    """The story as the model's world has it; None for a general model.

    Raises:
        DirectError: too many sentences for the model, or nobody and nothing of its world in them.
    """
    world = language_model.world
    most = world.max_sentences if world else _MAX_SENTENCES
    if len(sentences) > most:
        raise DirectError(
            f"story: this model directs at most {most} sentences at once, got {len(sentences)}; tell it in parts"
        )
    if world is None:
        return None
    reading = read_story(story, world)
    if not cast_story(reading, world).roles:
        unknown = f"; unknown words: {', '.join(reading.unknown[:20])}" if reading.unknown else ""
        raise DirectError(
            f"story: names nobody and nothing of this model's world{unknown}. It knows "
            f"{', '.join((*world.creatures, *world.things))}, "
            "and anybody with a name; for other stories give a larger language model"
        )
    return reading


def form_scene(
    language_model: LanguageModel,
    reading: Reading | None,
    sentences: list[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Scene, Written]:
    """The scene as the model writes it, with the story's own names, before any repair.

    Raises:
        LanguageModelError: the model did not finish.
    """
    world = language_model.world
    if reading is None or world is None:
        prompt = general_prompt(sentences, language_model.tokenizer)
        schema = scene_schema(sentences=sentences)
    else:
        prompt = world_prompt(reading)
        cast = cast_story(reading, world)
        schema = scene_schema(sentences=reading.sentences, cast=cast, world=world)
    written = language_model.write(prompt, schema, max_tokens=_MAX_TOKENS, max_seconds=_MAX_SECONDS, progress=progress)
    try:
        scene = Scene.model_validate_json(written.text)
    except ValidationError as error:
        raise DirectError(f"the model's scene breaks its schema: {error.errors()[0]['msg']}") from error
    if reading is not None:
        scene = rename(scene, {f"#{number}": name for number, name in enumerate(reading.names, start=1)})
    return scene, written

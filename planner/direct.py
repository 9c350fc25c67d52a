"""From a story to a plan: a language model forms the scene, plain code checks and repairs it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from raccord.planner.adapters import DEFAULT
from raccord.planner.asked import ask
from raccord.planner.cast import cast_story
from raccord.planner.compose import compose
from raccord.planner.embedded import embedded_model
from raccord.planner.framing import framed, staged
from raccord.planner.free_scene import SceneError, read_scene, wire_schema
from raccord.planner.hub import model_folder
from raccord.planner.language_model import LanguageModel, LanguageModelError, Written, load_language_model
from raccord.planner.plan_check import check_plan
from raccord.planner.prompt import chat
from raccord.planner.reading import Reading, read_story, split_story
from raccord.planner.remote_model import RemoteModel, is_address
from raccord.planner.repair import Repaired, repair
from raccord.planner.scene import Scene, rename
from raccord.planner.usual_colours import with_usual_colours
from raccord.planner.world import World
from raccord.sampler.plan import Plan, PlanError, plan_hash, write_plan

# A story is read at once; longer ones are told in parts.
MAX_CHARACTERS = 8000
_MAX_SENTENCES = 24
_MAX_TOKENS = 4096
_MAX_SECONDS = 300.0
_DEFAULT_SIZE = (512, 512)
MAX_PROPOSALS = 16
# How often a model behind an endpoint is asked before it is given up.
_TRIES = 3


class DirectError(ValueError):
    """A story cannot become a plan with this model; the message says why and what to do."""


@dataclass(frozen=True)
class Proposal:
    """A plan and how it came about.

    Attributes:
        plan: a valid plan.
        repairs: what was changed after the model had written its scene, one sentence each.
        warnings: what the checks still say of the plan (`raccord.planner.plan_check`).
        unknown_words: words outside the model's world, then phrases it cannot tell apart ("blue cat" beside another);
            they have no effect on the plan.
        tokens: number of tokens the model wrote.
        seconds: wall time of everything, loading included.
        planner: hashes of the model's weights and adapters, with the adapters' weights; of a model behind an endpoint
            its name and host.
        sample: 0 if the model wrote what it found likeliest, else the number of the draw.
    """

    plan: Plan
    repairs: tuple[str, ...]
    warnings: tuple[str, ...]
    unknown_words: tuple[str, ...]
    tokens: int
    seconds: float
    planner: dict[str, Any]
    sample: int


def direct(
    story: str,
    *,
    model: str | Path | LanguageModel | RemoteModel | None = None,
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
    model: str | Path | LanguageModel | RemoteModel | None = None,
    adapters: Sequence[str] = (),
    seed: int = 0,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Proposal:
    """The plan of a story with its notes: the first of `proposals` when it is asked for one."""
    options: dict[str, Any] = {"model": model, "adapters": adapters, "seed": seed, "size": size, "progress": progress}
    return proposals(story, **options)[0]


def proposals(
    story: str,
    *,
    count: int = 1,
    model: str | Path | LanguageModel | RemoteModel | None = None,
    adapters: Sequence[str] = (),
    seed: int = 0,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Proposal, ...]:
    """Turn a story into plans: a frame for each line if every line ends a sentence, else for each sentence.

    The first attempt takes the likeliest word every time (greedy decoding), the others draw each word with a key of
    (seed, attempt, position): equal arguments give equal plans on one machine. Returned are the different valid ones,
    best first: fewest repairs, then fewest warnings of the checks, then the order of the attempts.

    Args:
        story: plain English, at most 8,000 characters; it can change text and boxes of the plan and nothing else.
        count: attempts, 1..16.
        model: None for the embedded model, a folder or hub name of any transformers causal LM, the address of an
            OpenAI-compatible endpoint ("https://host/v1#model"), or one that is loaded already (which keeps its
            adapters).
        adapters: LoRA adapters, "NAME" or "NAME:weight" (-4..4): the model's own by name, others by folder. They add
            up. The model's own "base" is in use unless it says "base:0".
        seed: the plan's seed, 0..2^63-1; draws of other attempts than the first are keyed by it, too.
        size: (width, height) in pixels; None for the size of the model's world, or 512 x 512.
        progress: called with (tokens done, most tokens possible) while the model writes.

    Raises:
        DirectError: the story is empty, too long or names nothing the model knows; or the model cannot be used or
        does not finish.
        EmbeddedModelError: the embedded model is damaged.
        OSError: `model` is neither a folder nor to be had from the hub, or the endpoint cannot be used.
    """
    started = time.monotonic()
    if not isinstance(story, str):
        raise TypeError(f"story: must be text, got {type(story).__name__}")
    if not 1 <= count <= MAX_PROPOSALS:
        raise DirectError(f"proposals: must be 1 to {MAX_PROPOSALS}, got {count}")
    if len(story) > MAX_CHARACTERS:
        raise DirectError(
            f"story: at most {MAX_CHARACTERS:,} characters can be directed at once, got {len(story):,}; "
            "tell it in parts"
        )
    sentences = split_story(story)
    if not sentences:
        raise DirectError("story: holds no words; write two to five sentences about who is where and does what")
    found: dict[str, Proposal] = {}
    failures: list[DirectError] = []
    try:
        language_model = loaded(model, adapters)
        reading = read_for(language_model, story, sentences)
    except LanguageModelError as error:
        raise DirectError(str(error)) from error
    for sample in range(count):
        try:
            scene, written = form_scene(language_model, reading, sentences, sample=sample, seed=seed, progress=progress)
            scene, unknown, guessed = filled(scene, reading, language_model.world)
            plan, repairs = planned(language_model, scene, reading, sentences, sample=sample, seed=seed, size=size)
        except (LanguageModelError, DirectError) as error:
            failures.append(DirectError(str(error)))
            continue
        warnings = tuple(finding.text for finding in check_plan(write_plan(plan)).warnings)
        proposal = Proposal(
            plan,
            guessed + written.notes + repairs,
            warnings,
            unknown,
            written.tokens,
            time.monotonic() - started,
            language_model.record,
            sample,
        )
        found.setdefault(plan_hash(plan), proposal)
    if not found:
        raise failures[0]
    return tuple(sorted(found.values(), key=lambda one: (len(one.repairs), len(one.warnings), one.sample)))


def planned(
    language_model: LanguageModel | RemoteModel,
    scene: Scene,
    reading: Reading | None,
    sentences: list[str],
    *,
    sample: int = 0,
    seed: int = 0,
    size: tuple[int, int] | None = None,
) -> tuple[Plan, tuple[str, ...]]:
    """The plan of a scene that the model wrote, and what was repaired for it.

    In a world whose proportions are known the model's boxes say who stands left of whom and, with an adapter beside its
    base or in a drawn `sample`, how close a frame is shown and whether a crowd stands in two rows; their sides and
    heights are the world's own (see `raccord.planner.framing.staged`).

    Raises:
        DirectError: the scene does not make a valid plan.
    """
    world = language_model.world
    # The base adapter is taught no other size or row, so that a box of another one is a slip; alternatives may differ.
    adapters = language_model.adapters if isinstance(language_model, LanguageModel) else ()
    usual = not sample and all(one.name == DEFAULT for one in adapters)
    fixed = repair(scene, reading=reading)
    larger = (
        Repaired(staged(fixed.scene, world, written=scene, shots=reading.shots if reading else (), usual=usual), ())
        if world
        else framed(fixed.scene)
    )
    size = size or (world.size if world else _DEFAULT_SIZE)
    try:
        plan = compose(larger.scene, sentences=sentences, world=world, seed=seed, size=size)
    except PlanError as error:
        raise DirectError(f"the scene does not make a valid plan: {error}") from error
    return plan, fixed.repairs + larger.repairs


def filled(
    scene: Scene, reading: Reading | None, world: World | None
) -> tuple[Scene, tuple[str, ...], tuple[str, ...]]:
    """The scene with what the story leaves open, words of the story without effect, and a sentence for each being whose
    kind or colour the story does not say; a general model's scene as it is.
    """
    if reading is None or world is None:
        return scene, (), ()
    cast = cast_story(reading, world)
    scene, coloured = with_usual_colours(scene, cast.roles, world)
    guessed = tuple(
        f'the story does not say what "{being.name}" is; drawn as {being.card}'
        for being, role in zip(scene.entities, cast.roles, strict=True)
        if role.kind is None
    )
    return scene, reading.unknown + cast.left_out, guessed + coloured


def loaded(
    model: str | Path | LanguageModel | RemoteModel | None, adapters: Sequence[str], *, quantise: str | None = None
) -> LanguageModel | RemoteModel:
    """The planner that `model` and `adapters` of `proposals` name; `quantise` as `load_language_model` has it.

    Raises:
        DirectError: adapters for a model behind an endpoint.
        LanguageModelError, EmbeddedModelError, OSError: the model or an adapter cannot be used.
    """
    if isinstance(model, LanguageModel | RemoteModel):
        return model
    if is_address(model):
        if adapters:
            raise DirectError("adapters are for models on this machine; the planner is behind an endpoint")
        return RemoteModel(str(model))
    folder = embedded_model("planner") if model is None else model_folder(model)
    return load_language_model(folder, adapters=adapters, quantise=quantise)


def read_for(language_model: LanguageModel | RemoteModel, story: str, sentences: list[str]) -> Reading | None:
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
    language_model: LanguageModel | RemoteModel,
    reading: Reading | None,
    sentences: list[str],
    *,
    sample: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Scene, Written]:
    """The scene as the model writes it, with the story's own names, before any repair.

    `sample` is 0 for the likeliest scene, another number for one drawn with the key (seed, sample).

    Raises:
        LanguageModelError: the model did not finish.
        EndpointError: its endpoint cannot be used.
    """
    if isinstance(language_model, RemoteModel):
        return _asked_for_scene(language_model, sentences, sample)
    try:
        asked = ask(language_model, reading, sentences)
    except ValueError as error:
        raise LanguageModelError(str(error)) from error
    written = language_model.write(
        asked.prompt,
        asked.schema,
        max_tokens=_MAX_TOKENS,
        max_seconds=_MAX_SECONDS,
        key=(seed, sample) if sample else None,
        progress=progress,
    )
    try:
        scene = Scene.model_validate_json(written.text)
    except ValidationError as error:
        raise DirectError(f"the model's scene breaks its schema: {error.errors()[0]['msg']}") from error
    if reading is not None:
        scene = rename(scene, asked.names)
    return scene, written


def _asked_for_scene(model: RemoteModel, sentences: list[str], sample: int) -> tuple[Scene, Written]:
    """Ask until the answer is a scene; a model is told what was wrong with the one before."""
    turns = chat(sentences)
    deadline = time.monotonic() + _MAX_SECONDS
    tokens = 0
    problem = ""
    for _ in range(_TRIES):
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            break
        written = model.write(turns, wire_schema(), max_tokens=_MAX_TOKENS, max_seconds=seconds, sample=sample)
        tokens += written.tokens
        try:
            scene, notes = read_scene(written.text, sentences)
        except SceneError as error:
            problem = str(error)
            turns = [
                *chat(sentences),
                {"role": "assistant", "content": written.text[:MAX_CHARACTERS]},
                {"role": "user", "content": f"That is no scene of this story: {problem}. Answer with the JSON alone."},
            ]
            continue
        again = (f"the model was asked again: {problem}",) if problem else ()
        return scene, Written(written.text, tokens, again + notes)
    raise LanguageModelError(f"the model {model.name} wrote no scene of this story in {_TRIES} tries: {problem}")

"""`raccord tune`: a LoRA adapter from lessons (Hu et al., arXiv 2106.09685), over a model in full precision or in NF4
(QLoRA: Dettmers et al., arXiv 2305.14314).

The adapter is a function of the model, the adapters in use, the lessons and the settings: examples are visited in an
order keyed by their own content, one at a time, and a run that was killed goes on from its last checkpoint to the same
bytes.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from raccord.planner.adapters import CONFIG, WEIGHTS, quiet_peft, save_adapter
from raccord.planner.errors import InputError
from raccord.planner.files import write_atomically
from raccord.planner.fingerprint import versions
from raccord.planner.language_model import LanguageModel, LanguageModelError
from raccord.planner.lessons import Lesson, LessonError
from raccord.planner.tuning import Batch, Schedule, fit, keyed_rows

if TYPE_CHECKING:
    from torch import nn

_RECORD, _CHECKPOINT = "tuned.json", "checkpoint.safetensors"
_NEW = "tuned"


@dataclass(frozen=True)
class Tuning:
    """Settings of a fine-tuning.

    Attributes:
        steps: 1..100,000 updates; batch: 1..1,024 examples for each; rank: 1..256 of the adapter's matrices.
        rate: AdamW's, above 0 and at most 1. seed: 0..2^63-1, of the order and of the adapter's first values.
        checkpoint_every: updates between checkpoints; it changes nothing else.

    Raises:
        InputError: a value is out of its range.
    """

    steps: int = 100
    rate: float = 1e-3
    batch: int = 8
    rank: int = 8
    seed: int = 0
    checkpoint_every: int = 20

    def __post_init__(self) -> None:
        limits = {"steps": 100_000, "batch": 1024, "rank": 256, "checkpoint_every": 100_000}
        for name, most in limits.items():
            if not 1 <= getattr(self, name) <= most:
                raise InputError(f"{name} is {getattr(self, name)}, not a whole number from 1 to {most:,}")
        if not 0 < self.rate <= 1:
            raise InputError(f"rate is {self.rate}, not above 0 and at most 1")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}, not a whole number from 0 to 2^63 - 1")


class Example(NamedTuple):
    """A lesson in tokens: ids, weights in the loss (0 for what is read or what the grammar leaves no choice in), and a
    hash of both."""

    ids: list[int]
    weights: list[float]
    key: str


def examples(model: LanguageModel, lessons: Sequence[Lesson]) -> tuple[list[Example], list[str]]:
    """The lessons in tokens, and a sentence for each that cannot be used."""
    found, skipped = [], []
    for number, lesson in enumerate(lessons, start=1):
        try:
            found.append(_example(model, lesson))
        except LessonError as error:
            skipped.append(f"lesson {number}, of {lesson.kind}: {error}")
    return found, skipped


def _example(model: LanguageModel, lesson: Lesson) -> Example:
    tokenizer = model.tokenizer
    # As `LanguageModel.write`: a chat template has written the special tokens already.
    read = list(tokenizer(lesson.prompt, add_special_tokens=not tokenizer.chat_template).input_ids)
    written = list(tokenizer(lesson.completion, add_special_tokens=False).input_ids)
    weights = [1.0] * len(written) if lesson.schema is None else model.choices(written, lesson.schema)
    if weights is None:
        raise LessonError("the grammar of its story does not allow it; looks, places and people are the story's own")
    # What ends a document that no grammar ends.
    ids = [*read, *written, tokenizer.eos_token_id]
    weights = [*[0.0] * len(read), *weights, 1.0 if lesson.schema is None else 0.0]
    if len(ids) > model.context:
        raise LessonError(f"it has {len(ids)} tokens, the model's context {model.context}")
    if not any(weights):
        raise LessonError("its story leaves the model no choice")
    key = hashlib.sha256(json.dumps([ids, weights]).encode()).hexdigest()
    return Example(ids, weights, key)


def tune(
    model: LanguageModel,
    lessons: Sequence[Lesson],
    out: Path,
    settings: Tuning | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    skipped: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train an adapter and write it to the folder `out`; `--adapter OUT` then uses it beside those `model` uses now.

    Args:
        model: is left without adapters. Its weights do not change.
        lessons: what to learn, at least one.
        out: made if need be; a run that was stopped there goes on, a finished one is done already.
        progress: called with (updates done, updates in all).
        skipped: called with a sentence for each lesson that cannot be used.

    Returns:
        What `tuned.json` beside the adapter says: hashes, settings, number of lessons by kind, versions.

    Raises:
        InputError: there is no lesson to learn from, or `out` holds something else.
    """
    settings = settings or Tuning()
    found, why = examples(model, lessons)
    for sentence in why if skipped else ():
        skipped(sentence)  # pyright: ignore[reportOptionalCall]
    if not found:
        raise InputError("there is no lesson to learn from", hint="; ".join(why[:5]))
    record = _record(model, lessons, found, settings)
    if _finished(out, record):
        return record
    adapted = _with_new_adapter(model, settings)
    identity = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()

    def batches(step: int) -> list[Batch]:
        rows = keyed_rows([example.key for example in found], settings.seed, step, settings.batch)
        return [_batch(found[row]) for row in rows]

    schedule = Schedule(
        steps=settings.steps,
        rate=settings.rate,
        warmup=min(10, settings.steps // 10),
        checkpoint_every=settings.checkpoint_every,
    )
    checkpoint = out / _CHECKPOINT
    out.mkdir(parents=True, exist_ok=True)
    losses: list[float] = []

    def report(step: int, loss: float, _: int) -> None:
        losses.append(loss)
        if progress is not None:
            progress(step, settings.steps)

    fit(adapted, batches, schedule, checkpoint, identity=identity, report=report)
    save_adapter(adapted, _NEW, out)
    write_atomically(out / _RECORD, (json.dumps(record, indent=2, sort_keys=True) + "\n").encode())
    checkpoint.unlink(missing_ok=True)
    model.use(())
    return record


def _batch(example: Example) -> Batch:
    import torch

    return torch.tensor([example.ids]), torch.tensor([example.weights])


def _record(
    model: LanguageModel, lessons: Sequence[Lesson], found: Sequence[Example], settings: Tuning
) -> dict[str, Any]:
    counted = {kind: sum(lesson.kind == kind for lesson in lessons) for kind in sorted({one.kind for one in lessons})}
    digest = hashlib.sha256("".join(sorted(example.key for example in found)).encode()).hexdigest()
    chosen = {name: value for name, value in asdict(settings).items() if name != "checkpoint_every"}
    return {
        "format": "raccord-adapter",
        "over": model.record,
        "quantised": model.quantised,
        "lessons": {**counted, "used": len(found), "sha256": digest},
        "settings": chosen,
        "versions": {name: versions()[name] for name in ("raccord", "torch", "transformers", "peft")},
    }


def _finished(out: Path, record: dict[str, Any]) -> bool:
    """Whether `out` holds the very adapter already."""
    if not (out / WEIGHTS).exists() and not (out / CONFIG).exists():
        return False
    try:
        before = json.loads((out / _RECORD).read_bytes())
    except (OSError, ValueError):
        before = None
    if before == record:
        return True
    # A run that was killed between its last files wrote no record yet.
    if before is None and (out / _CHECKPOINT).exists():
        return False
    raise InputError(f"{out} holds another adapter", hint="choose another --out, or move that one away")


def _with_new_adapter(model: LanguageModel, settings: Tuning) -> "nn.Module":
    """The model with the adapters it uses, frozen, and a fresh one that is trained."""
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    config = LoraConfig(
        r=settings.rank, lora_alpha=2 * settings.rank, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    # peft draws the first values from torch's global generator.
    with torch.random.fork_rng(devices=[]), quiet_peft():
        torch.manual_seed(settings.seed)
        adapted: Any = model.model
        if isinstance(adapted, PeftModel):
            adapted.add_adapter(_NEW, config)
        else:
            adapted = get_peft_model(adapted, config, adapter_name=_NEW)
            model.model = adapted  # pyright: ignore[reportAttributeAccessIssue]
    tuner: Any = adapted.base_model
    tuner.set_adapter([*(one.sha256[:16] for one in model.adapters), _NEW])
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_(f".{_NEW}." in name)
    if not any(parameter.requires_grad for parameter in adapted.parameters()):
        raise LanguageModelError("model: has no linear layer that an adapter can be put on")
    return adapted

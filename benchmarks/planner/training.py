"""What each step of the planner's trainings sees: keyed stories, so that a resumed run ends with the same weights."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import corpus
import torch
from transformers import PreTrainedTokenizerBase

from raccord.planner.tuning import Schedule, fit

# Training stories start behind those the vocabulary was read from.
_FIRST_STORY = 10_000
# Steps whose stories are sorted by length together.
_GROUP = 8


@dataclass(frozen=True)
class Run(Schedule):
    """Settings of one training run.

    Attributes:
        layout: "careless" (the base model), or what an adapter is to do (`corpus.laid_out`).
        first_story: number of the first story; step n sees `batch` stories from first_story + n * batch on.
        box_weight: weight of the numbers of boxes in the loss, 1 for everything else. Careless boxes are mostly
            noise, and at weight 1 their
            gradient drowns what the words of a story say.
        curriculum: longest story, in sentences, by share of the run done; ((0.1, 2), (1.0, 6)) tells at most 2 in
            the first tenth. A model
            learns to look things up in the story from single sentences first, at a third of the cost.
    """

    layout: str = "careless"
    batch: int = 16
    first_story: int = _FIRST_STORY
    box_weight: float = 1.0
    curriculum: tuple[tuple[float, int], ...] = ((0.3, 1), (0.55, 2), (1.0, 6))


@functools.lru_cache(maxsize=1)
def _group(run: Run, group: int, tokenizer: PreTrainedTokenizerBase) -> list[tuple[list[int], list[float]]]:
    """Token ids of the stories of `_GROUP` steps and their weights in the loss, shortest first: batches of like
    length waste little on padding."""
    step, count = group * _GROUP, _GROUP * run.batch
    limit = next(sentences for share, sentences in run.curriculum if step < share * run.steps or share == 1.0)
    rows = []
    for number in range(run.first_story + group * count, run.first_story + (group + 1) * count):
        prompt, completion = corpus.training_example(number, layout=run.layout, max_sentences=limit)
        read = tokenizer(prompt).input_ids
        written = [*tokenizer(completion).input_ids, tokenizer.eos_token_id]
        tokens = list(tokenizer.convert_ids_to_tokens(written))
        weights = _weights(tokens, run.box_weight)
        rows.append((read + written, [0.0] * len(read) + weights))
    return sorted(rows, key=lambda row: len(row[0]))


def _weights(tokens: list[str], box_weight: float) -> list[float]:
    """Weights of a completion's tokens in the loss: 0 in quoted sentences, `box_weight` in boxes, or 1."""
    weights: list[float] = []
    quoting = in_box = False
    for before, token in zip(["", *tokens], tokens, strict=False):
        quoting = (quoting or before.endswith('"sentence":"')) and not token.startswith('","background"')
        in_box = token.lstrip(",").isdigit() and (in_box or before.endswith('"box":['))
        weights.append(0.0 if quoting else box_weight if in_box else 1.0)
    return weights


def _padding(tokenizer: PreTrainedTokenizerBase) -> int:
    return tokenizer.get_vocab()[str(tokenizer.pad_token)]


def batch_of_step(run: Run, step: int, tokenizer: PreTrainedTokenizerBase) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids int64 and weights in the loss float32, both [batch, longest], padded at the end with weight 0."""
    start = (5 * step % _GROUP) * run.batch
    rows = _group(run, step // _GROUP, tokenizer)[start : start + run.batch]
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((run.batch, longest), _padding(tokenizer))
    weights = torch.zeros((run.batch, longest))
    for row, (tokens, row_weights) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(tokens)] = torch.tensor(row_weights)
    return ids, weights


def train(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    run: Run,
    checkpoint: Path,
    *,
    report: Callable[[int, float, int], None] | None = None,
) -> None:
    """Train in place, resuming from `checkpoint` if it exists (`raccord.planner.tuning.fit`)."""
    fit(model, lambda step: [batch_of_step(run, step, tokenizer)], run, checkpoint, report=report)

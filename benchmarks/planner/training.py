"""Next-token training of completions with keyed data: step n sees the same stories in every run, so a resumed run
ends with the same weights."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import corpus
import torch
from stage.checkpoint import load_checkpoint, save_checkpoint
from transformers import PreTrainedTokenizerBase

# Training stories start behind those the vocabulary was read from.
_FIRST_STORY = 10_000
# Steps whose stories are sorted by length together.
_GROUP = 8


@dataclass(frozen=True)
class Run:
    """Settings of one training run.

    Attributes:
        layout: "careless" (the base model) or "careful" (the adapter).
        first_story: number of the first story; step n sees `batch` stories from first_story + n * batch on.
        steps, batch, rate, warmup, weight_decay: of AdamW with linear warm-up and cosine decay to a twentieth.
        box_weight: weight of the numbers of boxes in the loss, 1 for everything else. Careless boxes are mostly
            noise, and at weight 1 their
            gradient drowns what the words of a story say.
        curriculum: longest story, in sentences, by share of the run done; ((0.1, 2), (1.0, 6)) tells at most 2 in
            the first tenth. A model
            learns to look things up in the story from single sentences first, at a third of the cost.
    """

    layout: str
    steps: int
    batch: int
    rate: float
    warmup: int
    weight_decay: float = 0.05
    first_story: int = _FIRST_STORY
    box_weight: float = 1.0
    curriculum: tuple[tuple[float, int], ...] = ((0.3, 1), (0.55, 2), (1.0, 6))
    checkpoint_every: int = 150


def learning_rate(run: Run, step: int) -> float:
    """The rate of step `step` (0-based)."""
    if step < run.warmup:
        return run.rate * (step + 1) / run.warmup
    done = (step - run.warmup) / max(1, run.steps - run.warmup)
    return run.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


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


def weighted_loss(model: torch.nn.Module, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the next token over [batch, length] ids, each token counted with its weight."""
    logits = model(input_ids=ids).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    kept = weights[:, 1:].flatten()
    return (losses * kept).sum() / kept.sum()


def train(
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    run: Run,
    checkpoint: Path,
    *,
    report: Callable[[int, float, int], None] | None = None,
) -> None:
    """Train in place, resuming from `checkpoint` if it exists.

    Args:
        model: a causal LM of transformers; parameters that require a gradient are trained.
        checkpoint: safetensors file of weights, moments and step, written atomically every `checkpoint_every` steps
            and at the end.
        report: called after each step with (steps done, loss, tokens in the batch).
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=run.rate, betas=(0.9, 0.98), fused=True, weight_decay=run.weight_decay)
    step, _ = load_checkpoint(checkpoint, {"model": model}, optimiser)
    model.train()
    while step < run.steps:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(run, step)
        ids, weights = batch_of_step(run, step, tokenizer)
        loss = weighted_loss(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step += 1
        if report is not None:
            report(step, float(loss.detach()), int((ids != _padding(tokenizer)).sum()))
        if step % run.checkpoint_every == 0 or step == run.steps:
            save_checkpoint(checkpoint, {"model": model}, optimiser, step=step, curve=[])
    model.eval()

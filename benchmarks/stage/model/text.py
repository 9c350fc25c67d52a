"""The text encoder's first training: what a caption has said so far, at every word.

The denoiser's error says little about words: a fox drawn as a cat costs a few percent. So the text encoder first learns
to tell, at each token, which attributes the text has named for the thing it speaks of ("a red fox with a hat": at
"fox", red and fox; at "hat", red, fox and hat), with synonyms as one. The denoiser then starts from states that differ
where meanings differ. Needs no pictures.
"""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from stage.checkpoint import load_checkpoint, save_checkpoint
from stage.draws import Draws, key
from stage.model.config import StageConfig
from stage.model.pictures import Kind, scene_of
from stage.model.rate import learning_rate
from stage.world import vocabulary
from stage.world.captions import caption

_BATCH = 64
_RATE = 1e-3


def _lexicon() -> dict[tuple[str, ...], tuple[str, str]]:
    """Words of a phrase -> (group, canonical value)."""
    tables = {
        "kind": vocabulary.SYNONYMS,
        "pattern": vocabulary.PATTERN_WORDS,
        "pattern noun": vocabulary.PATTERN_NOUNS,
        "accessory": vocabulary.ACCESSORY_WORDS,
        "size": vocabulary.SIZE_WORDS,
        "pose": vocabulary.ACTIONS,
        "facing": vocabulary.FACING_PHRASES,
        "setting": {s: (*vocabulary.SETTING_PHRASES[s], *vocabulary.BACKGROUNDS[s]) for s in vocabulary.SETTINGS},
        "time": vocabulary.TIME_PHRASES,
        "weather": vocabulary.WEATHER_PHRASES,
        "colour": {colour: (colour,) for colour in vocabulary.COLOURS},
    }
    return {
        tuple(phrase.split()): (group, value)
        for group, table in tables.items()
        for value, phrases in table.items()
        for phrase in phrases
    }


LEXICON = _lexicon()
_LONGEST = max(len(phrase) for phrase in LEXICON)
# What a text can say of a thing or of the scene.
FACTS = tuple(
    sorted(
        {("pattern" if group == "pattern noun" else group, value) for group, value in LEXICON.values()}
        | {("second", colour) for colour in vocabulary.COLOURS}
    )
)


def said(words: list[str]) -> list[frozenset[tuple[str, str]]]:
    """For every word of a caption, the facts named so far of the thing it speaks of, and of the scene.

    Sizes, patterns and colours stand before their noun, of two colours the second is the second colour ("red and
    white"); accessories, poses and pattern nouns ("with white stripes") follow it.
    """
    states: list[frozenset[tuple[str, str]]] = []
    scene: set[tuple[str, str]] = set()
    thing: set[tuple[str, str]] = set()
    coming: set[tuple[str, str]] = set()
    place = 0
    while place < len(words):
        lengths = range(min(_LONGEST, len(words) - place), 0, -1)
        length = next((n for n in lengths if tuple(words[place : place + n]) in LEXICON), 0)
        before = frozenset(scene | (coming or thing))
        if length:
            group, value = LEXICON[tuple(words[place : place + length])]
            if group == "kind":
                thing, coming = coming | {(group, value)}, set()
            elif group in ("setting", "time", "weather"):
                scene.add((group, value))
            elif group == "colour":
                first = any(known == "colour" for known, _ in coming)
                coming.add(("second" if first else "colour", value))
            elif group in ("size", "pattern"):
                coming.add((group, value))
            elif group == "pattern noun":
                thing |= {("pattern", value)} | {("second", colour) for known, colour in coming if known == "colour"}
                coming = set()
            else:
                thing.add((group, value))
        # A phrase is known at its last word.
        states += [before] * (max(length, 1) - 1) + [frozenset(scene | (coming or thing))]
        place += max(length, 1)
    return states


def examples(config: StageConfig, step: int, tokenizer: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens int64 [B, T], facts float32 [B, T, F] and their weight float32 [B, T]: 1 from the first word to the last
    padding token, which sees the whole text.
    """
    index = {fact: i for i, fact in enumerate(FACTS)}
    kind: Kind = "scene" if step % 2 else "portrait"
    # Beyond the pictures' own numbers: texts cost nothing.
    first = 10_000_000 + step * _BATCH
    texts = [caption(scene_of(config, kind, n), Draws(config.seed, "text", n)) for n in range(first, first + _BATCH)]
    tokens = torch.tensor(tokenizer(texts, padding="max_length", max_length=tokenizer.model_max_length).input_ids)
    facts, weight = torch.zeros(*tokens.shape, len(FACTS)), torch.ones(tokens.shape)
    weight[:, 0] = 0
    for row, text in enumerate(texts):
        spaced = text.replace(",", " , ").split()
        states = said(spaced)
        ids = [len(tokenizer(word, add_special_tokens=False).input_ids) for word in spaced]
        position = 1
        for state, count in zip(states, ids, strict=True):
            for fact in state:
                facts[row, position : position + count, index[fact]] = 1
            position += count
        for fact in frozenset().union(*states):
            facts[row, position:, index[fact]] = 1
    return tokens, facts, weight


def train_text_encoder(config: StageConfig, folder: Path, text_encoder: Any, tokenizer: Any) -> None:
    """Train or resume `text_encoder` in place; keyed by step. File: `text.safetensors`."""
    device = torch.device(config.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(config.seed, "text probe weights"))
        probe = nn.Linear(config.text_width, len(FACTS)).to(device)
    modules = {"text_encoder": text_encoder, "probe": probe}
    parameters = [*text_encoder.parameters(), *probe.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=_RATE, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    path = folder / "text.safetensors"
    start, curve = load_checkpoint(path, modules, optimiser)
    began = time.monotonic()
    for step in range(start, config.text_steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps=config.text_steps, peak=_RATE, warmup=20)
        tokens, facts, weight = (tensor.to(device) for tensor in examples(config, step, tokenizer))
        logits = probe(text_encoder(tokens).last_hidden_state)
        error = functional.binary_cross_entropy_with_logits(logits, facts, reduction="none").sum(-1)
        loss = (error * weight).sum() / weight.sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        done = step + 1 == config.text_steps
        if (step + 1) % 50 == 0 or done:
            curve.append([step + 1, round(loss.item(), 5)])
            print(f"text {step + 1} loss {curve[-1][1]:.4f} {time.monotonic() - began:.0f}s", flush=True)
        if (step + 1) % config.checkpoint_every == 0 or done:
            save_checkpoint(path, modules, optimiser, step=step + 1, curve=curve)

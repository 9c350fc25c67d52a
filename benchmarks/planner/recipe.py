"""The embedded planner: its architecture and the settings of its training runs."""

from pathlib import Path
from typing import Any

import torch
from training import Run
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from raccord.planner.adapters import quiet_peft
from raccord.planner.tuning import load_weights

# First the language and a careless layout, then adapters that correct the layout.
BASE = Run(
    layout="careless",
    steps=650,
    batch=16,
    rate=3e-3,
    warmup=40,
    weight_decay=0.05,
    box_weight=0.2,
    curriculum=((0.3, 1), (0.6, 2), (0.85, 4), (1.0, 8)),
    checkpoint_every=150,
)
# By name, in the order they are trained; those after the first are trained with the first in use.
ADAPTERS = {
    name: Run(
        layout=layout,
        steps=steps,
        batch=8,
        rate=rate,
        warmup=40,
        first_story=first_story,
        box_weight=4.0,
        curriculum=curriculum,
        checkpoint_every=50,
    )
    for name, layout, steps, rate, first_story, curriculum in (
        ("base", "careful", 1600, 4e-3, 1_000_000, ((0.5, 2), (1.0, 3))),
        ("crowd", "crowd", 600, 4e-3, 2_000_000, ((0.7, 1), (1.0, 2))),
        ("framing", "framing", 700, 4e-3, 3_000_000, ((0.4, 2), (1.0, 3))),
    )
}
ADAPTER_RANK = 16


def new_model(
    tokenizer: PreTrainedTokenizerBase, *, seed: int = 0, width: int = 128, layers: int = 3
) -> LlamaForCausalLM:
    """An untrained Llama (by default 0.6 M parameters); the same weights for the same seed, whatever ran before."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,  # pyright: ignore[reportArgumentType]
        pad_token_id=tokenizer.pad_token_id,  # pyright: ignore[reportArgumentType]
    )
    # transformers initialises from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).float()


def with_adapter(model: LlamaForCausalLM, *, seed: int = 0, rank: int = ADAPTER_RANK) -> Any:
    """The model, frozen, with a fresh LoRA on all its linear layers; the model is changed in place."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]), quiet_peft():
        torch.manual_seed(seed)
        return get_peft_model(
            model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        )


def trained_model(tokenizer: PreTrainedTokenizerBase, folder: Path) -> LlamaForCausalLM:
    """The model with the weights of the base run, whose checkpoints lie in `folder`."""
    model = new_model(tokenizer)
    load_weights(folder / "base.safetensors", model)
    return model


def adapter_to_train(name: str, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Any:
    """The trained model with a fresh adapter; with the first adapter of `ADAPTERS` merged in, unless it is that one."""
    model = trained_model(tokenizer, folder)
    first = next(iter(ADAPTERS))
    if name != first:
        corrected = with_adapter(model)
        load_weights(checkpoint(folder, first), corrected)
        model = corrected.merge_and_unload()
    return with_adapter(model)


def checkpoint(folder: Path, name: str) -> Path:
    """Where the checkpoint of an adapter's run lies."""
    return folder / f"adapter-{name}.safetensors"

"""The embedded planner: its architecture and the settings of its two training runs."""

import warnings

import torch
from training import Run
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

# First the language and a careless layout, then an adapter that corrects the layout.
BASE = Run(
    layout="careless",
    steps=650,
    batch=16,
    rate=3e-3,
    warmup=40,
    box_weight=0.2,
    curriculum=((0.3, 1), (0.6, 2), (0.85, 4), (1.0, 8)),
)
ADAPTER = Run(
    layout="careful",
    steps=250,
    batch=16,
    rate=5e-3,
    warmup=20,
    weight_decay=0.0,
    first_story=1_000_000,
    box_weight=4.0,
    curriculum=((1.0, 3),),
    checkpoint_every=100,
)
ADAPTER_NAME = "base"
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


def with_adapter(model: LlamaForCausalLM, *, seed: int = 0, rank: int = ADAPTER_RANK) -> torch.nn.Module:
    """The model, frozen, with a fresh LoRA on all its linear layers; the model is changed in place."""
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft 0.21 reads an attribute that transformers 5 has renamed.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        torch.manual_seed(seed)
        return get_peft_model(
            model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
        )

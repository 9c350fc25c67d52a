"""A local causal language model that can only write what a JSON schema allows."""

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raccord.planner.adapters import Adapter, AdapterError, find_adapters, inject
from raccord.planner.world import World, read_world

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


class LanguageModelError(ValueError):
    """A model folder cannot be used, or a model did not finish what it was asked to write."""


@dataclass(frozen=True)
class Written:
    """Text that satisfies the schema it was asked for, and the number of tokens it took."""

    text: str
    tokens: int


class LanguageModel:
    """A transformers causal LM with its tokenizer, on the CPU in float32.

    Attributes:
        world: what the model was trained on, from its `world.json`; None for a general model.
        folder: where it was loaded from, if it was.
        adapters: those in use.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerFast",
        world: World | None = None,
        folder: Path | None = None,
    ):
        from llguidance.hf import from_tokenizer

        if not tokenizer.is_fast:
            raise LanguageModelError("tokenizer: must be a fast one (tokenizer.json), which decoding to a schema needs")
        self.model, self.tokenizer, self.world, self.folder = model.eval(), tokenizer, world, folder
        self.adapters: tuple[Adapter, ...] = ()
        self._vocabulary = from_tokenizer(tokenizer, n_vocab=model.config.get_text_config().vocab_size)

    @property
    def context(self) -> int:
        """Largest number of tokens the model reads and writes together."""
        return min(int(getattr(self.model.config.get_text_config(), "max_position_embeddings", 4096)), 8192)

    def use(self, adapters: Sequence[Adapter]) -> None:
        """Use these LoRA adapters, and only these, from now on; none: the model as it was.

        Raises:
            AdapterError: an adapter was made for a model of another shape.
        """
        self.adapters = ()
        self.model = inject(self.model, adapters)
        self.adapters = tuple(adapters)

    @functools.cached_property
    def weights_sha256(self) -> str | None:
        """SHA-256 over the names and SHA-256s of the safetensors files of its folder; None without a folder."""
        if self.folder is None:
            return None
        digest = hashlib.sha256()
        for path in sorted(self.folder.glob("*.safetensors")):
            with path.open("rb") as file:
                digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        return digest.hexdigest()

    @property
    def record(self) -> dict[str, Any]:
        """What provenance says of it: hashes, and the names and weights of its adapters; no path."""
        return {"weights_sha256": self.weights_sha256, "adapters": [one.record for one in self.adapters]}

    def write(
        self,
        prompt: str,
        schema: dict[str, Any],
        *,
        max_tokens: int,
        max_seconds: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> Written:
        """Continue `prompt` greedily with a JSON document that satisfies `schema`.

        Args:
            prompt: what the model reads.
            schema: JSON schema; key order is that of its properties, no white space between tokens.
            max_tokens, max_seconds: bounds; fewer tokens where the model's context is smaller.
            progress: called with (tokens done, most tokens possible) after each token.

        Raises:
            LanguageModelError: the prompt fills the context, or the document was not finished within the bounds.
        """
        from transformers import GenerationConfig

        # A chat template has written the special tokens already; a bare prompt needs those of the tokenizer.
        read = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=not self.tokenizer.chat_template)
        length = read["input_ids"].shape[1]
        limit = min(max_tokens, self.context - length)
        if limit < 16:
            raise LanguageModelError(
                f"story: {length} tokens leave no room in the model's context of {self.context}; shorten the story"
            )
        guide = _Guide(self._vocabulary, schema, length, limit, progress)
        end = self.tokenizer.eos_token_id
        config = GenerationConfig(
            max_new_tokens=limit,
            max_time=max_seconds,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id,
        )
        output: Any = self.model.generate(  # pyright: ignore[reportCallIssue]
            input_ids=read["input_ids"],
            attention_mask=read["attention_mask"],
            generation_config=config,
            logits_processor=[guide],
        )
        tokens = output[0, length:].tolist()
        written = [token for token in tokens if token != end]
        if not guide.complete(tokens):
            raise LanguageModelError(
                f"the model had not finished its scene after {len(tokens)} tokens (at most {limit} tokens and "
                f"{max_seconds:g} s are allowed); tell a shorter story or use another model"
            )
        return Written(str(self.tokenizer.decode(written)), len(written))


class _Guide:
    """A logits processor that forbids every token that would leave the schema."""

    def __init__(
        self,
        vocabulary: Any,
        schema: dict[str, Any],
        prompt: int,
        limit: int,
        progress: Callable[[int, int], None] | None,
    ):
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(schema),
            overrides={"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"},
        )
        self._matcher = LLMatcher(vocabulary, grammar)
        if self._matcher.is_error():
            raise LanguageModelError(f"schema: llguidance cannot use it: {self._matcher.get_error()}")
        self._read, self._limit, self._progress = prompt, limit, progress
        self._prompt = prompt

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        import numpy as np
        import torch

        self._follow(input_ids[0, self._read :].tolist())
        self._read = input_ids.shape[1]
        if self._progress is not None:
            self._progress(self._read - self._prompt, self._limit)
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        allowed = torch.from_numpy(bits[: scores.shape[1]].astype(bool)).to(scores.device)
        return scores.masked_fill(~allowed, float("-inf"))

    def _follow(self, tokens: list[int]) -> None:
        for token in tokens:
            if not self._matcher.is_stopped() and not self._matcher.consume_token(token):
                raise LanguageModelError(f"llguidance refused token {token}: {self._matcher.get_error()}")

    def complete(self, tokens: list[int]) -> bool:
        """Whether all tokens written form a whole document."""
        self._follow(tokens[self._read - self._prompt :])
        return self._matcher.is_stopped() or self._matcher.is_accepting()


def load_language_model(folder: Path, *, adapters: Sequence[str] = ()) -> LanguageModel:
    """Load a folder of `save_pretrained` (safetensors only, no remote code, nothing from the network).

    Args:
        folder: model, tokenizer and, for a model of a closed world, `world.json`.
        adapters: LoRA adapters to use, "NAME" or "NAME:weight", as `raccord.planner.adapters.find_adapters` reads them.

    Raises:
        LanguageModelError: the folder is missing or not such a folder, or an adapter cannot be used.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    if not (folder / "config.json").is_file():
        raise LanguageModelError(
            f"model: {folder} must be a folder with config.json, weights in safetensors and a tokenizer"
        )
    # Its bars would be drawn across those of the command line.
    shows_bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError) as error:
        raise LanguageModelError(f"model: {folder} does not load as a causal language model: {error}") from error
    finally:
        if shows_bars:
            logging.enable_progress_bar()
    description = folder / "world.json"
    world = read_world(description) if description.is_file() else None
    loaded = LanguageModel(model, tokenizer, world, folder)
    try:
        loaded.use(find_adapters(folder, adapters))
    except AdapterError as error:
        raise LanguageModelError(str(error)) from error
    return loaded

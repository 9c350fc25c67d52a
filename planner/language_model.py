"""A local causal language model that can only write what a JSON schema allows."""

import functools
import hashlib
import importlib.util
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


# Of drawn documents; below 1 the likelier tokens are drawn more often than the model finds them likely.
_TEMPERATURE = 0.8


class LanguageModelError(ValueError):
    """A model folder cannot be used, or a model did not finish what it was asked to write."""


@dataclass(frozen=True)
class Written:
    """What a model wrote, the number of tokens it took, and what had to be changed to make it what was asked for."""

    text: str
    tokens: int
    notes: tuple[str, ...] = ()


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
        self.quantised: str | None = None
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

    def choices(self, tokens: Sequence[int], schema: dict[str, Any]) -> list[float] | None:
        """For each token of a document 0 where `schema` leaves no other text, else 1; None if it forbids the document.

        Raises:
            LanguageModelError: llguidance cannot use the schema.
        """
        matcher = _matcher(self._vocabulary, schema)
        weights: list[float] = []
        for place, token in enumerate(tokens):
            forced = matcher.compute_ff_bytes()
            before = self.tokenizer.decode(tokens[:place])
            added = self.tokenizer.decode(tokens[: place + 1])[len(before) :].encode()
            if not matcher.consume_token(token):
                return None
            weights.append(0.0 if added and forced.startswith(added) else 1.0)
        return weights if matcher.is_accepting() or matcher.is_stopped() else None

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
        key: tuple[int, int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Written:
        """Continue `prompt` with a JSON document that satisfies `schema`.

        Args:
            prompt: what the model reads.
            schema: JSON schema; key order is that of its properties, no white space between tokens.
            max_tokens, max_seconds: bounds; fewer tokens where the model's context is smaller.
            key: None takes the likeliest token every time; (seed, sample) draws each with a key of them and its place.
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
        guide = _Guide(self._vocabulary, schema, length, limit, key, progress)
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


def _matcher(vocabulary: Any, schema: dict[str, Any]) -> Any:
    """llguidance's follower of a document in a schema, without white space between tokens."""
    from llguidance import LLMatcher

    grammar = LLMatcher.grammar_from_json_schema(
        json.dumps(schema),
        overrides={"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"},
    )
    matcher = LLMatcher(vocabulary, grammar)
    if matcher.is_error():
        raise LanguageModelError(f"schema: llguidance cannot use it: {matcher.get_error()}")
    return matcher


class _Guide:
    """A logits processor that forbids every token that would leave the schema; with a key it also draws.

    The largest of logits / temperature + Gumbel noise is a draw from their softmax (Gumbel 1954; Maddison, Tarlow,
    Minka, "A* Sampling", 2014), so greedy decoding of what comes out is sampling, without a generator.
    """

    def __init__(
        self,
        vocabulary: Any,
        schema: dict[str, Any],
        prompt: int,
        limit: int,
        key: tuple[int, int] | None,
        progress: Callable[[int, int], None] | None,
    ):
        self._matcher = _matcher(vocabulary, schema)
        self._read, self._limit, self._progress = prompt, limit, progress
        self._prompt, self._key = prompt, key

    def __call__(self, input_ids: "torch.Tensor", scores: "torch.Tensor") -> "torch.Tensor":
        import numpy as np
        import torch

        self._follow(input_ids[0, self._read :].tolist())
        self._read = input_ids.shape[1]
        if self._progress is not None:
            self._progress(self._read - self._prompt, self._limit)
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        allowed = torch.from_numpy(bits[: scores.shape[1]].astype(bool)).to(scores.device)
        if self._key is not None:
            scores = scores.double() / _TEMPERATURE + self._gumbel(scores.shape[1]).to(scores.device)
        return scores.masked_fill(~allowed, float("-inf"))

    def _gumbel(self, count: int) -> "torch.Tensor":
        """Standard Gumbel noise float64 [count], a function of the key and of the place in the document."""
        import torch

        from raccord.kernels.noise import gaussian

        assert self._key is not None
        seed, sample = self._key
        normal = gaussian(seed, "proposal", [sample], [self._read - self._prompt], (1, 1, count))
        # |normal| ends at 6.24, so neither logarithm meets 0.
        return -torch.log(-torch.log(torch.special.ndtr(normal.flatten().double())))

    def _follow(self, tokens: list[int]) -> None:
        for token in tokens:
            if not self._matcher.is_stopped() and not self._matcher.consume_token(token):
                raise LanguageModelError(f"llguidance refused token {token}: {self._matcher.get_error()}")

    def complete(self, tokens: list[int]) -> bool:
        """Whether all tokens written form a whole document."""
        self._follow(tokens[self._read - self._prompt :])
        return self._matcher.is_stopped() or self._matcher.is_accepting()


def load_language_model(
    folder: Path, *, adapters: Sequence[str] = (), quantise: str | None = None
) -> LanguageModel:
    """Load a folder of `save_pretrained` (safetensors only, no remote code, nothing from the network).

    Args:
        folder: model, tokenizer and, for a model of a closed world, `world.json`.
        adapters: LoRA adapters to use, "NAME" or "NAME:weight", as `raccord.planner.adapters.find_adapters` reads them.
        quantise: "nf4" keeps the weights of linear layers in 4 bits (bitsandbytes; arXiv 2305.14314), None in float32.

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
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            quantization_config=_quantisation(quantise),
        )
    except (OSError, ValueError, KeyError) as error:
        raise LanguageModelError(f"model: {folder} does not load as a causal language model: {error}") from error
    finally:
        if shows_bars:
            logging.enable_progress_bar()
    description = folder / "world.json"
    world = read_world(description) if description.is_file() else None
    loaded = LanguageModel(model, tokenizer, world, folder)
    loaded.quantised = quantise
    try:
        loaded.use(find_adapters(folder, adapters))
    except AdapterError as error:
        raise LanguageModelError(str(error)) from error
    return loaded


def _quantisation(kind: str | None) -> Any:
    if kind is None:
        return None
    if kind != "nf4":
        raise LanguageModelError(f"quantise: must be 'nf4', got {kind!r}")
    import torch
    from transformers import BitsAndBytesConfig

    if importlib.util.find_spec("bitsandbytes") is None:
        raise LanguageModelError("quantise: NF4 needs bitsandbytes; pip install 'raccord[qlora]'")
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )

"""A local causal language model that can only write what a JSON schema allows."""

import functools
import hashlib
import importlib.util
import json
import time
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
            before = str(self.tokenizer.decode(list(tokens[:place])))
            added = str(self.tokenizer.decode(list(tokens[: place + 1])))[len(before) :].encode()
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
        # A chat template has written the special tokens already; a bare prompt needs those of the tokenizer.
        read = self.tokenizer(prompt, return_tensors="pt", add_special_tokens=not self.tokenizer.chat_template)
        length = read["input_ids"].shape[1]
        limit = min(max_tokens, self.context - length)
        if limit < 16:
            raise LanguageModelError(
                f"story: {length} tokens leave no room in the model's context of {self.context}; shorten the story"
            )
        end: Any = self.tokenizer.eos_token_id
        guide = _Guide(self._vocabulary, schema, key, end)
        self._decode(read["input_ids"].to(self.model.device), guide, limit, max_seconds, progress)
        if not guide.complete:
            raise LanguageModelError(
                f"the model had not finished its scene after {len(guide.tokens)} tokens (at most {limit} tokens and "
                f"{max_seconds:g} s are allowed); tell a shorter story or use another model"
            )
        return Written(str(self.tokenizer.decode(guide.tokens)), len(guide.tokens))

    def _decode(
        self,
        pending: "torch.Tensor",
        guide: "_Guide",
        limit: int,
        max_seconds: float,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        """Let the model write where the schema leaves a choice; what it forces is read by the model at once, in one
        pass with the choice before it."""
        import torch

        deadline = time.monotonic() + max_seconds
        cache: Any = None
        forced: list[int] = []
        while not guide.complete and len(guide.tokens) < limit and time.monotonic() < deadline:
            with torch.no_grad():
                more = torch.tensor([forced], dtype=pending.dtype, device=pending.device)
                found: Any = self.model(input_ids=torch.cat([pending, more], 1), past_key_values=cache, use_cache=True)
            cache = found.past_key_values
            chosen, forced = guide.choose(found.logits[0, -1]), guide.forced()
            pending = torch.tensor([[chosen]], dtype=pending.dtype, device=pending.device)
            if progress is not None:
                progress(min(len(guide.tokens), limit), limit)


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
    """Follows a document token by token, forbids what would leave its schema, and with a key draws.

    The largest of logits / temperature + Gumbel noise is a draw from their softmax (Gumbel 1954; Maddison, Tarlow,
    Minka, "A* Sampling", 2014), so taking the largest of what comes out is sampling, without a generator.
    """

    def __init__(self, vocabulary: Any, schema: dict[str, Any], key: tuple[int, int] | None, end: int | None):
        self._matcher = _matcher(vocabulary, schema)
        self._key, self._end = key, end
        self.tokens: list[int] = []
        self.complete = False

    def choose(self, scores: "torch.Tensor") -> int:
        """The next token of the document, of scores [vocabulary]."""
        import numpy as np
        import torch

        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        allowed = torch.from_numpy(bits[: scores.shape[0]].astype(bool)).to(scores.device)
        if self._key is not None:
            scores = scores.double() / _TEMPERATURE + self._gumbel(scores.shape[0]).to(scores.device)
        token = int(scores.masked_fill(~allowed, float("-inf")).argmax())
        self._follow(token)
        return token

    def forced(self) -> list[int]:
        """The tokens that have to follow, which are now part of the document."""
        tokens = [] if self.complete else self._matcher.compute_ff_tokens()
        for token in tokens:
            self._follow(token)
        return tokens

    def _gumbel(self, count: int) -> "torch.Tensor":
        """Standard Gumbel noise float64 [count], a function of the key and of the place in the document."""
        import torch

        from raccord.kernels.noise import gaussian

        assert self._key is not None
        seed, sample = self._key
        normal = gaussian(seed, "proposal", [sample], [len(self.tokens)], (1, 1, count))
        # |normal| ends at 6.24, so neither logarithm meets 0.
        return -torch.log(-torch.log(torch.special.ndtr(normal.flatten().double())))

    def _follow(self, token: int) -> None:
        if token != self._end:
            if not self._matcher.consume_token(token):
                raise LanguageModelError(f"llguidance refused token {token}: {self._matcher.get_error()}")
            self.tokens.append(token)
        self.complete = token == self._end or self._matcher.is_stopped()


def load_language_model(folder: Path, *, adapters: Sequence[str] = (), quantise: str | None = None) -> LanguageModel:
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

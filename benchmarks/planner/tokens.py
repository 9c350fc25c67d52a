"""The embedded planner's tokenizer: byte-level BPE over its own stories, with one token for each run of JSON
punctuation and keys."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import corpus
from stage.files import replace_folder
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, END = "<pad>", "<end>"
_KEYS = "entities|name|card|frames|sentence|background|relations|subject|relation|object|items|entity|action|box"
# A name, a number, a run of punctuation and keys such as `"},{"entity":"`, a word; anything else byte by byte.
_PIECES = rf' ,| ?#\d+|,?\d+|[{{}}\[\]",:]+(?:(?:{_KEYS})"[{{}}\[\]",:]+)*| ?[a-z]+| ?[^\sa-z0-9{{}}\[\]",:#]+|\s'


def _texts(stories: int) -> Iterator[str]:
    for number in range(stories):
        prompt, completion = corpus.training_example(number, layout="careless")
        yield prompt + completion


def planner_tokenizer() -> PreTrainedTokenizerFast:
    """The embedded planner's tokenizer, made once."""
    folder = corpus.BUILD / "tokenizer"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=corpus.BUILD) as temporary:
            build_tokenizer().save_pretrained(temporary)
            replace_folder(Path(shutil.copytree(temporary, f"{temporary}.done")), folder)
    return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)


def build_tokenizer(*, stories: int = 1000, vocabulary: int = 1024) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the first training stories; the same bytes every time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    numbers = [f",{number}" for number in range(33)] + [f"{number}" for number in range(33)]
    tokenizer.train_from_iterator([*numbers * 50, *_texts(stories)], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )

"""A CLIP tokenizer for the world's words: byte-level byte-pair encoding in which each of them is one token.

Sennrich et al. 2016 (arXiv:1508.07909), algorithm 1, run until every word is whole; any other text still encodes, in
smaller pieces.
"""

import itertools
from collections import Counter
from typing import Any

from stage.world.vocabulary import MAX_TOKENS, words

START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"


def _byte_symbols() -> list[str]:
    """The 256 printable symbols that byte-level encodings write for bytes 0..255 (GPT-2's table, in CLIP's order)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]


def learn_merges(vocabulary: tuple[str, ...]) -> list[tuple[str, str]]:
    """Merges, most frequent pair first (ties: alphabetical), until every word is one symbol."""
    spellings = [[*word[:-1], word[-1] + SUFFIX] for word in vocabulary]
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for spelling in spellings for pair in itertools.pairwise(spelling))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for spelling in spellings:
            i = 0
            while i < len(spelling) - 1:
                if (spelling[i], spelling[i + 1]) == best:
                    spelling[i : i + 2] = ["".join(best)]
                i += 1


def build_tokenizer() -> Any:
    """The `CLIPTokenizer`; token ids: 256 bytes, 256 bytes that end a word, merges, start, end. Punctuation is covered
    by the bytes.
    """
    from transformers import CLIPTokenizer

    symbols = _byte_symbols()
    merges = learn_merges(words())
    tokens = [*symbols, *(symbol + SUFFIX for symbol in symbols), *("".join(pair) for pair in merges), START, END]
    # Two merge paths can spell one token; it keeps its first id.
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    build: Any = CLIPTokenizer
    return build(
        vocab=vocabulary,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=MAX_TOKENS,
    )

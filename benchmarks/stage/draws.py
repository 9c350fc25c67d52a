"""Keyed random draws: every number is a function of (seed, purpose, id, position), never of a generator's history
elsewhere.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

Choice = TypeVar("Choice")


def key(seed: int, purpose: str, *ids: int | str) -> int:
    """A 63-bit key (0..2^63-1) of (seed, purpose, ids), the same on every machine and in every version of Python."""
    text = "\x1f".join([str(seed), purpose, *map(str, ids)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


class Draws:
    """A short stream of uniform numbers; draw n depends on the key and on n only."""

    def __init__(self, seed: int, purpose: str, *ids: int | str):
        self._prefix = hashlib.blake2b(str(key(seed, purpose, *ids)).encode(), digest_size=8)
        self._position = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        block = self._prefix.copy()
        block.update(self._position.to_bytes(4, "little"))
        self._position += 1
        return low + (high - low) * ((int.from_bytes(block.digest(), "little") >> 11) * 2.0**-53)

    def integer(self, count: int) -> int:
        """An integer in 0..count-1."""
        return int(self.uniform() * count)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def choose(self, options: Sequence[Choice]) -> Choice:
        """One of the options, all equally likely."""
        return options[self.integer(len(options))]

"""Derive the coefficients in `table.py` from the normal distribution: `python -m raccord.kernels.noise.make_table`.

Needs mpmath (extra `test`). The result is frozen under `NOISE_VERSION`; this script is how anybody re-derives it, and
a test compares the two.
"""

import hashlib
import struct
import sys
from typing import Any

_OCTAVES = 31
_SEGMENTS = 16
# The Chebyshev-Lobatto points of [0, 1]: they contain both ends, so neighbouring segments meet.
_NODES = ("0", "0.25", "0.75", "1")
_DECIMAL_DIGITS = 30


def _quantile(octave: int, position: Any) -> Any:
    """The x with P(X > x) = 2^(octave - 32) (1 + position / 16), X standard normal, in mpmath's precision."""
    import mpmath

    tail = mpmath.ldexp(1 + position / _SEGMENTS, octave - 32)
    return mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * tail)


def table() -> list[tuple[float, ...]]:
    """All rows: the cubic through the quantile at the nodes of each segment, constant coefficient first.

    Each coefficient is rounded once to float32 (by way of float64, 29 bits wider, which no value straddles).
    """
    import mpmath

    rows = []
    with mpmath.workdps(_DECIMAL_DIGITS):
        nodes = [mpmath.mpf(node) for node in _NODES]
        to_powers = mpmath.matrix([[node**power for power in range(4)] for node in nodes]) ** -1
        for octave in range(_OCTAVES):
            for index in range(_SEGMENTS):
                values = mpmath.matrix([_quantile(octave, index + node) for node in nodes])
                rows.append([float(coefficient) for coefficient in to_powers * values])
    # Magnitude 2^31, reached only by rounding, is the median.
    rows.append([0.0, 0.0, 0.0, 0.0])
    return [struct.unpack("<4f", struct.pack("<4f", *row)) for row in rows]


def main() -> None:
    """Print the constants of `table.py`: eight hexadecimal digits a coefficient, the bits of its float32."""
    packed = b"".join(struct.pack(">4f", *row) for row in table())
    digits = packed.hex()
    lines = [digits[start : start + 96] for start in range(0, len(digits), 96)]
    sys.stdout.write("\n".join([*lines, hashlib.sha256(packed).hexdigest(), ""]))


if __name__ == "__main__":
    main()

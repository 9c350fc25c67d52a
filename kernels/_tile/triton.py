"""Rows of any width in tiles whose sides are powers of two: 160 columns as 128 and 32, not as 256.

The first MAIN columns of a row are one tile, the other REST (0: none) a second one, filled up with zeros. Products of
float32 are not rounded to TensorFloat-32.
"""

from typing import Any

import triton
import triton.language as tl

# the least side of a matrix product
_LEAST = 16


def split(width: int) -> dict[str, Any]:
    """How the tiles share a row of `width` columns."""
    main = max(_LEAST, 1 << (width.bit_length() - 1))
    rest = 0 if width <= main else max(_LEAST, triton.next_power_of_2(width - main))
    return {"D": width, "MAIN": main, "REST": rest}


@triton.jit
def rows(base, index, stride, there, D: tl.constexpr, FIRST: tl.constexpr, COLUMNS: tl.constexpr):
    """[len(index), COLUMNS]: columns FIRST.. of the rows named by `index`, 0 beyond D and where nothing is there."""
    columns = FIRST + tl.arange(0, COLUMNS)
    mask = there[:, None] if FIRST + COLUMNS <= D else there[:, None] & (columns < D)[None, :]
    return tl.load(base + (index[:, None] * stride + columns[None, :]), mask=mask, other=0.0)


@triton.jit
def store_rows(base, index, stride, there, found, D: tl.constexpr, FIRST: tl.constexpr, COLUMNS: tl.constexpr):
    """The reverse of `rows`."""
    columns = FIRST + tl.arange(0, COLUMNS)
    mask = there[:, None] if FIRST + COLUMNS <= D else there[:, None] & (columns < D)[None, :]
    tl.store(base + (index[:, None] * stride + columns[None, :]), found.to(base.dtype.element_ty), mask=mask)


@triton.jit
def products(a, a_rest, b, b_rest, REST: tl.constexpr):
    """[rows of a, rows of b]: every row of `a` times every row of `b`."""
    found = tl.dot(a, tl.trans(b), input_precision="ieee")
    if REST > 0:
        found = tl.dot(a_rest, tl.trans(b_rest), found, input_precision="ieee")
    return found

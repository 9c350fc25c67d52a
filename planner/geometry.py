"""Boxes on the grid: what the relations of a scene mean, and an arrangement that satisfies them.

A box is (left, top, width, height) in cells of a 32 x 32 grid, row 0 at the top.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from raccord.planner.placing import Box, Size, place_one_by_one
from raccord.planner.scene import GRID

MIN_WIDTH, MIN_HEIGHT = 6, 8
# Largest share of the smaller box that two boxes may have in common, if nothing says that one stands behind the other.
MAX_OVERLAP = 0.1
# The same for a pair in depth: the rear one must stay recognisable.
MAX_DEPTH_OVERLAP = 0.4
_GROUND = 30
# Where the rear one of two rows stands.
REAR_GROUND = 20
_NEXT_TO_GAP = 6
_STEP_BACK = 5
_DEPTH = ("behind", "in front of")


class Constraint(NamedTuple):
    """Item `subject` stands `relation` (of) item `object`; items by position in a list of boxes."""

    subject: int
    relation: str
    object: int


def overlap(a: Box, b: Box) -> float:
    """Shared area of two boxes as a share of the smaller one, 0..1."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0, width) * max(0, height) / min(a[2] * a[3], b[2] * b[3])


def _shared(a_start: int, a_length: int, b_start: int, b_length: int) -> float:
    return (min(a_start + a_length, b_start + b_length) - max(a_start, b_start)) / min(a_length, b_length)


def holds(relation: str, a: Box, b: Box) -> bool:
    """Whether box `a` stands in `relation` to box `b`.

    Left and right compare centres (at least 3 cells apart); next to: a gap of at most 6 cells on about the same
    height; behind: feet at least
    2 cells higher, a quarter of the width shared, boxes touching; above: entirely above (2 cells of tolerance) and a
    quarter of the width shared.
    """
    if relation == "right of":
        return holds("left of", b, a)
    if relation == "in front of":
        return holds("behind", b, a)
    if relation == "left of":
        return 2 * b[0] + b[2] - 2 * a[0] - a[2] >= 6
    columns, rows = _shared(a[0], a[2], b[0], b[2]), _shared(a[1], a[3], b[1], b[3])
    if relation == "next to":
        gap = max(a[0], b[0]) - min(a[0] + a[2], b[0] + b[2])
        return gap <= _NEXT_TO_GAP and rows >= 0.5 and overlap(a, b) <= MAX_OVERLAP
    if relation == "behind":
        return b[1] + b[3] - a[1] - a[3] >= 2 and columns >= 0.25 and rows > 0
    if relation == "above":
        return a[1] + a[3] <= b[1] + 2 and columns >= 0.25
    raise ValueError(
        f"relation: must be one of left of, right of, next to, behind, in front of, above, got {relation!r}"
    )


def overlap_allowed(first: int, second: int, constraints: Sequence[Constraint]) -> float:
    """Largest overlap that two items of a frame may have."""
    pair = {first, second}
    in_depth = any({c.subject, c.object} == pair and c.relation in _DEPTH for c in constraints)
    return MAX_DEPTH_OVERLAP if in_depth else MAX_OVERLAP


def inside(box: Box) -> Box:
    """The box made large enough to draw (6 x 8 cells) and moved, or shrunk, into the frame."""
    width, height = min(max(box[2], MIN_WIDTH), GRID), min(max(box[3], MIN_HEIGHT), GRID)
    return max(0, min(box[0], GRID - width)), max(0, min(box[1], GRID - height)), width, height


def faults(boxes: Sequence[Box], constraints: Sequence[Constraint]) -> tuple[list[Constraint], list[tuple[int, int]]]:
    """Relations that do not hold, and pairs of items that overlap too much."""
    wrong = [c for c in constraints if not holds(c.relation, boxes[c.subject], boxes[c.object])]
    pairs = itertools.combinations(range(len(boxes)), 2)
    return wrong, [(i, j) for i, j in pairs if overlap(boxes[i], boxes[j]) > overlap_allowed(i, j, constraints)]


def arrange(sizes: Sequence[Size], constraints: Sequence[Constraint], *, rows: int = 1) -> list[Box] | None:
    """Boxes that satisfy every relation without overlap; sizes are kept where they fit and shrunk together where
    they do not.

    Items stand on one ground line, from left to right in the given order unless a relation wants another one; in two
    rows half of them stand higher up, those left and right of each other in the same row. Where columns cannot satisfy
    the relations, boxes are searched for one by one (`raccord.planner.placing`).

    Args:
        sizes: (width, height) of up to five items.
        constraints: relations between them.
        rows: 1 or 2.

    Returns:
        The boxes, or None when the relations contradict each other or do not fit into one frame.
    """
    shrunk = [
        [(max(MIN_WIDTH, round(w * shrink)), max(MIN_HEIGHT, round(h * shrink))) for w, h in sizes]
        for shrink in (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
    ]
    if rows == 2:
        orders = list(itertools.permutations(range(len(sizes))))
        in_rows = (_in_two_rows(order, small) for small in shrunk for order in orders)
        return _faultless((boxes for boxes in in_rows if boxes and _level(boxes, constraints)), constraints)
    orders = list(itertools.permutations(_columns(len(sizes), constraints) or ()))
    in_columns = (_place(order, small, constraints) for small in shrunk for order in orders if order)
    return _faultless(in_columns, constraints) or next(filter(None, (_searched(s, constraints) for s in shrunk)), None)


def _faultless(candidates: Iterable[list[Box] | None], constraints: Sequence[Constraint]) -> list[Box] | None:
    """The first boxes that are as their relations want them and overlap no more than they may."""
    return next((boxes for boxes in candidates if boxes and faults(boxes, constraints) == ([], [])), None)


def _level(boxes: Sequence[Box], constraints: Sequence[Constraint]) -> bool:
    """Whether all that stand left or right of each other are in one row."""
    sides = [c for c in constraints if c.relation in ("left of", "right of")]
    return all(boxes[c.subject][1] + boxes[c.subject][3] == boxes[c.object][1] + boxes[c.object][3] for c in sides)


def _searched(sizes: Sequence[Size], constraints: Sequence[Constraint]) -> list[Box] | None:
    """Boxes without a fault that a search finds."""
    needs = []
    for c in constraints:
        if c.relation in (*_DEPTH, "above"):
            front = c.relation == "in front of"
            upper, lower = (c.object, c.subject) if front else (c.subject, c.object)
            needs.append((upper, lower, "above" if c.relation == "above" else "behind"))

    def fits(placed: dict[int, Box], last: int) -> bool:
        return all(
            overlap(box, placed[last]) <= overlap_allowed(item, last, constraints)
            for item, box in placed.items()
            if item != last
        ) and all(
            holds(c.relation, placed[c.subject], placed[c.object])
            for c in constraints
            if last in (c.subject, c.object) and {c.subject, c.object} <= placed.keys()
        )

    return place_one_by_one(sizes, needs, fits, _GROUND)


def _in_two_rows(order: Sequence[int], sizes: Sequence[Size]) -> list[Box] | None:
    """Every second item in the rear; None where a row is too wide."""
    boxes: dict[int, Box] = {}
    for feet, row in ((_GROUND, order[::2]), (REAR_GROUND, order[1::2])):
        free = GRID - sum(sizes[i][0] for i in row)
        if free < 0:
            return None
        gap, x = free // (len(row) + 1), 0
        for i in row:
            width, height = sizes[i]
            boxes[i] = (x + gap, feet - height, width, height)
            x += gap + width
    return [boxes[i] for i in range(len(sizes))] if all(box[1] >= 0 for box in boxes.values()) else None


def _columns(count: int, constraints: Sequence[Constraint]) -> list[tuple[int, ...]] | None:
    """Items grouped into columns: (item,), or (upper or rear item, lower or front item) for a pair in depth or on
    top of each other."""
    partner: dict[int, tuple[int, int]] = {}
    for c in constraints:
        if c.relation in (*_DEPTH, "above"):
            pair = (c.object, c.subject) if c.relation == "in front of" else (c.subject, c.object)
            if any(partner.get(item, pair) != pair for item in pair):
                return None
            partner |= dict.fromkeys(pair, pair)
    return list(dict.fromkeys(partner.get(item, (item,)) for item in range(count)))


def _place(
    order: Sequence[tuple[int, ...]], sizes: Sequence[Size], constraints: Sequence[Constraint]
) -> list[Box] | None:
    stacked = {(c.subject, c.object) for c in constraints if c.relation == "above"}
    beside = {frozenset((c.subject, c.object)) for c in constraints if c.relation == "next to"}
    widths = [max(sizes[i][0] for i in column) for column in order]
    for position, column in enumerate(order):
        if len(column) == 2 and column not in stacked:
            rear, front = (sizes[i][0] for i in column)
            widths[position] = rear + front - _depth_share(rear, front)
    free = GRID - sum(widths)
    if free < 0:
        return None
    gap = free // (len(order) + 1)
    # Neighbours that stand next to each other keep together; the space saved goes to the sides.
    gaps = [
        min(gap, 4) if any(frozenset((a, b)) in beside for a in left for b in right) else gap
        for left, right in itertools.pairwise(order)
    ]
    x = (GRID - sum(widths) - sum(gaps)) // 2
    boxes: dict[int, Box] = {}
    for column, width, after in zip(order, widths, [*gaps, 0], strict=True):
        boxes |= _fill(column, sizes, x, width, column in stacked)
        x += width + after
    if any(box[1] < 0 for box in boxes.values()):
        return None
    return [boxes[i] for i in range(len(sizes))]


def _depth_share(rear: int, front: int) -> int:
    """Cells of width that a rear and a front item share."""
    return -(-2 * min(rear, front) // 5)


def _fill(column: tuple[int, ...], sizes: Sequence[Size], x: int, width: int, stacked: bool) -> dict[int, Box]:
    lower = column[-1]
    lower_width, lower_height = sizes[lower]
    if len(column) == 1:
        return {lower: (x, _GROUND - lower_height, lower_width, lower_height)}
    upper = column[0]
    upper_width, upper_height = sizes[upper]
    if stacked:
        lower_box = (x + (width - lower_width) // 2, _GROUND - lower_height, lower_width, lower_height)
        return {
            lower: lower_box,
            upper: (x + (width - upper_width) // 2, lower_box[1] - 1 - upper_height, upper_width, upper_height),
        }
    front = x + upper_width - _depth_share(upper_width, lower_width)
    rear_top = _GROUND - _STEP_BACK - upper_height
    return {
        upper: (x, rear_top, upper_width, upper_height),
        lower: (front, _GROUND - lower_height, lower_width, lower_height),
    }

"""From plain values to the canonical bytes of a plan: one spelling, and laid out for a person to edit."""

import json
from typing import Any

from raccord.sampler.plan_fields import GRID

_WIDTH = 120


def canonical_bytes(tree: dict[str, Any]) -> bytes:
    """`tree` as UTF-8 JSON: the given key order, two spaces of indent, what fits in 120 columns on one line."""
    return (_lines(tree, 0, flat=False) + "\n").encode()


def box_number(value: float) -> str:
    """The shortest decimal that snaps back to `value`, a multiple of 1/1024: four digits always suffice."""
    for digits in range(5):
        text = f"{value:.{digits}f}"
        if round(float(text) * GRID) == value * GRID:
            return text
    raise AssertionError(f"{value} is not on the grid")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _lines(value: Any, indent: int, *, flat: bool) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return _number(value)
    if not flat and _is_leaf(value):
        line = _lines(value, indent, flat=True)
        if indent + len(line) <= _WIDTH:
            return line
    break_line, comma = ("", ", ") if flat else ("\n" + " " * (indent + 2), "," + "\n" + " " * (indent + 2))
    end = "" if flat else "\n" + " " * indent
    if isinstance(value, dict):
        parts = (f'"{key}": {_field(key, part, indent + 2, flat=flat)}' for key, part in value.items())
        return "{" + break_line + comma.join(parts) + end + "}"
    parts = (_lines(part, indent + 2, flat=flat) for part in value)
    return "[" + break_line + comma.join(parts) + end + "]"


def _field(key: str, value: Any, indent: int, *, flat: bool) -> str:
    if key == "box":
        return "[" + ", ".join(box_number(side) for side in value) + "]"
    return _lines(value, indent, flat=flat)


def _is_leaf(value: Any) -> bool:
    """Holds no object below its own level: an item, an entity, a list of ids."""
    parts = value.values() if isinstance(value, dict) else value
    return not any(isinstance(inner, dict) for part in parts for inner in _inner(part))


def _inner(part: Any) -> tuple[Any, ...]:
    return (part,) if not isinstance(part, list | tuple) else tuple(part)

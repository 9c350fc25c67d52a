"""From the bytes of a plan file to plain Python values: limits first, then strict JSON.

Everything here is counted or scanned in C before the first object is built, so a hostile file costs what its bytes
cost. Python's own `json` accepts NaN, duplicate keys and any depth; those are refused here (RFC 8259, RFC 7493).
"""

import json
import re
from array import array
from itertools import accumulate
from typing import Any

from raccord.sampler.plan_error import Forbidden, broken, shown

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 16
MAX_FRAMES = 1024
MAX_ENTITIES = 256
MAX_ITEMS = 64
# No object of a plan has more than 8; unknown ones are reported by name up to here.
_MAX_FIELDS = 64

# What the largest legal plan can hold, counted over the whole file, texts included: one object for the plan, each
# entity, frame and item; one array for size, entities, frames, the items of a frame, and box and interacts of an item.
_MAX_COUNTS = {
    b"{": (1 + MAX_ENTITIES + MAX_FRAMES * (1 + MAX_ITEMS), "objects"),
    b"[": (3 + MAX_FRAMES * (1 + 2 * MAX_ITEMS), "arrays"),
    # the separators and quotes of 65,536 full items do not fit into 4 MiB; these bound the time json needs
    b",": (2**19, "commas"),
    b'"': (2**20, "quotation marks"),
}
# More objects than arrays than these cannot be: every item has a box.
_MAX_WITHOUT_ARRAY = 1 + MAX_ENTITIES + MAX_FRAMES
# A whole number of more digits costs time that grows with their square.
_LONG_NUMBER = re.compile(rb"\d{100,}")
_MAX_LONG_NUMBERS = 64
_MAX_DIGITS = 4300
_BRACKETS = b"[]{}"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_NOT_SHAPE = bytes(set(range(256)) - set(_BRACKETS + b","))
_TO_STEPS = bytes.maketrans(_BRACKETS, bytes([1, 255, 1, 255]))
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x00\x00\xfe\xff": "UTF-32"}
_UTF8_MARK = b"\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object in `data`, as dicts, lists, str, int, float, bool and None.

    data: at most 4 MiB of UTF-8; a byte order mark at the start is skipped, since some editors write one.
    Raises PlanError for everything that is not one JSON object within the limits. NaN and Infinity, and objects that
    name a key twice, come back as values no field accepts, so that the error carries their pointer.
    """
    _check_size(data)
    data = data.removeprefix(_UTF8_MARK)
    text = _decode(data)
    _check_counts(data)
    # with the escapes gone, every second piece between quotes lies outside the strings
    outside = b"".join(data.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')[::2])
    _check_depth(outside)
    _check_shape(outside)
    try:
        # strict=False lets raw control characters through to the text rule, which knows their pointer
        tree = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, strict=False)
    except json.JSONDecodeError as error:
        around = text[max(error.pos - 20, 0) : error.pos + 20]
        rule = f"must be JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        raise broken(rule, value=around, hint="look at that place and just before it") from None
    if isinstance(tree, Forbidden):
        raise broken(tree.rule, value=tree, hint=tree.hint)
    if not isinstance(tree, dict):
        raise broken("a plan is one JSON object", value=tree, hint='start the file with { and give it "frames"')
    return tree


def _constant(text: str) -> Forbidden:
    return Forbidden(text, "numbers must be finite; JSON has no NaN or Infinity", "write an ordinary number")


def _object(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) > _MAX_FIELDS:
        rule = f"an object has at most {_MAX_FIELDS} fields"
        return Forbidden(f"{len(pairs):,} fields", rule, "use the fields of docs/plan.md")
    fields = dict(pairs)
    if _SURROGATE.search("".join(fields)):
        rule = "the name of a field is Unicode text"
        return Forbidden("half a surrogate pair", rule, "use the fields of docs/plan.md")
    if len(fields) == len(pairs):
        return fields
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            rule = "a key may stand only once in an object"
            return Forbidden(f"{shown(key)} twice", rule, "remove or rename one of the two")
        seen.add(key)
    raise AssertionError("a dict lost a key that is not repeated")


def _check_size(data: bytes) -> None:
    if len(data) > MAX_BYTES:
        hint = "split the story into several plans"
        raise broken(f"a plan file has at most {MAX_BYTES:,} bytes", value=len(data), hint=hint)
    if not data.strip():
        raise broken("a plan file must not be empty", value=data[:20], hint='the smallest plan has one "frames" entry')


def _decode(data: bytes) -> str:
    for mark, name in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise broken("a plan file is encoded in UTF-8", value=f"a {name} mark", hint="save it again as UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        rule = f"a plan file is encoded in UTF-8: {error.reason} at byte {error.start}"
        value = data[max(error.start - 8, 0) : error.start + 8]
        raise broken(rule, value=value, hint="save it again as UTF-8") from None


def _check_counts(data: bytes) -> None:
    for mark, (most, name) in _MAX_COUNTS.items():
        found = data.count(mark)
        if found > most:
            rule = f"a plan file holds at most {most:,} {name}"
            raise broken(rule, value=f"{found:,} times {mark.decode()}", hint="split the story into several plans")

    most = 2 * _MAX_FIELDS * data.count(b"{") + MAX_FRAMES * data.count(b"[")
    found = (data.count(b'"') - data.count(rb"\"")) // 2
    if found > most:
        rule = f"objects have at most {_MAX_FIELDS} fields and arrays {MAX_FRAMES:,} values: {most:,} texts here"
        raise broken(rule, value=f"{found:,} texts", hint="use the fields of docs/plan.md")


def _check_shape(outside: bytes) -> None:
    """What no plan has, found in C before an object is built for each part of it."""
    shape = outside.translate(None, _NOT_SHAPE)
    if b"," * MAX_FRAMES in shape:
        rule = f"an array holds at most {MAX_FRAMES:,} values"
        raise broken(rule, value="more", hint="split the story into several plans")
    objects, arrays = shape.count(b"{"), shape.count(b"[")
    if objects > arrays + _MAX_WITHOUT_ARRAY:
        rule = f"a plan has at most {_MAX_WITHOUT_ARRAY:,} objects more than arrays, since every item has a box"
        raise broken(rule, value=f"{objects:,} objects and {arrays:,} arrays", hint="use the fields of docs/plan.md")
    long = _LONG_NUMBER.findall(outside)
    # Python reads no whole number that is longer
    if max(map(len, long), default=0) > _MAX_DIGITS:
        longest = max(long, key=len)[:60].decode()
        raise broken(f"numbers have at most {_MAX_DIGITS:,} digits", value=longest, hint="write a shorter number")
    if len(long) > _MAX_LONG_NUMBERS:
        rule = f"at most {_MAX_LONG_NUMBERS} numbers have a hundred digits or more"
        raise broken(rule, value=f"{len(long):,}", hint="write shorter numbers")


def _check_depth(outside: bytes) -> None:
    brackets = outside.translate(_TO_STEPS, _NOT_BRACKETS)
    depth = max(accumulate(array("b", brackets)), default=0)
    if depth > MAX_DEPTH:
        rule = f"objects and arrays nest at most {MAX_DEPTH} deep"
        raise broken(rule, value=f"{depth} deep", hint="a plan needs 6: plan, frames, frame, items, item, box")

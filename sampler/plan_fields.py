"""The field types of a plan: texts, ids, boxes, numbers. Each checks its value and returns the canonical one."""

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict

from raccord.sampler.plan_error import Forbidden, broken

MAX_CHARACTERS = 4096
MAX_ID = 64
# Boxes live on a grid of 1/1024 of the picture, and are at least 1/64 of it (8 of 512 pixels) wide and high.
GRID = 1024
LEAST_SIDE = 16 / GRID

# Nothing that a person cannot see may reach the model: controls, line and paragraph separators, bidirectional
# embeddings, overrides and isolates, byte order marks, annotation marks, tags, surrogates, non-characters.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\ufdd0-\ufdef"
    "\U000e0000-\U000e007f]"
)
# Unicode's Stream-Safe Text Format (UAX 15, section 13). Normalisation is quadratic in the length of such a run.
_MAX_MARKS = 30
# Where so many can stand: not in Latin, Han, Hangul or emoji, and no mark is looked up there.
_MARKABLE = re.compile(
    rf"[\u0300-\u2fff\u3000-\u33ff\ua000-\uabff\ud7b0-\U0001efff\U000e0000-\U0010ffff]{{{_MAX_MARKS + 1},}}"
)
_SLUG = re.compile(rf"[a-z0-9][a-z0-9_-]{{0,{MAX_ID - 1}}}")


def _string(value: Any, hint: str) -> str:
    if isinstance(value, Forbidden):
        raise broken(value.rule, value=value, hint=value.hint)
    if not isinstance(value, str):
        raise broken("must be a text", value=value, hint=hint)
    return str(value)


def _text(value: Any) -> str:
    text = _string(value, 'write it in quotes, or leave the field out; null is not ""')
    if len(text) > MAX_CHARACTERS:
        raise broken(f"a text has at most {MAX_CHARACTERS:,} characters", value=len(text), hint="shorten it")
    found = _INVISIBLE.search(text)
    if found:
        rule = f"a text holds no invisible or control characters; U+{ord(found.group()):04X} at {found.start()}"
        raise broken(rule, value=text[max(found.start() - 10, 0) :], hint="remove it; a space does for a line break")
    if text.isascii():
        return text.strip()
    _check_marks(text)
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > MAX_CHARACTERS:
        rule = f"a text has at most {MAX_CHARACTERS:,} characters in normal form C"
        raise broken(rule, value=len(text), hint="shorten it")
    return text


def _check_marks(text: str) -> None:
    for stretch in _MARKABLE.finditer(text):
        run = 0
        for place, character in enumerate(stretch.group(), start=stretch.start()):
            run = run + 1 if unicodedata.combining(character) else 0
            if run > _MAX_MARKS:
                rule = f"at most {_MAX_MARKS} combining marks may follow one another; there are more at {place}"
                raise broken(rule, value=text[place - run : place], hint="remove the marks")


def _words(value: Any) -> str:
    text = _text(value)
    if not text:
        raise broken("must not be empty", value=value, hint="say in words what is to be seen")
    return text


def _slug(value: Any) -> str:
    hint = "start with a letter or digit"
    text = _string(value, hint)
    if _SLUG.fullmatch(text):
        return text
    suggestion = re.sub(r"[^a-z0-9_-]+", "-", text[:200].lower()).strip("-_")[:MAX_ID]
    if suggestion:
        hint = f'for example "{suggestion}"'
    rule = f"an id has 1 to {MAX_ID} characters out of a-z, 0-9, - and _, and starts with a letter or digit"
    raise broken(rule, value=value, hint=hint)


def listed(*, most: int, name: str, least: int = 0) -> Callable[[Any], Any]:
    """A validator for a list or tuple of `least` to `most` values, so that a long one is refused before its values."""
    count = f"exactly {most}" if least == most else f"at most {most:,}"

    def check(value: Any) -> Any:
        if isinstance(value, Forbidden):
            raise broken(value.rule, value=value, hint=value.hint)
        if not isinstance(value, list | tuple):
            raise broken(f"must be a list of {count} {name}", value=value, hint="write it in [ ]")
        if not least <= len(value) <= most:
            hint = "add some" if len(value) < least else "take some out"
            raise broken(f"must be {count} {name}", value=f"{len(value):,}", hint=hint)
        return value

    return check


def _box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    # k / 1024 is exact in binary, so snapping twice changes nothing; adding 0.0 turns -0.0 into 0.0
    left, top, right, bottom = (round(side * GRID) / GRID + 0.0 for side in box)
    for low, high, names in ((left, right, "x0 < x1"), (top, bottom, "y0 < y1")):
        if not low < high:
            raise broken(f"a box needs {names}", value=list(box), hint="the order is left, top, right, bottom")
        if high - low < LEAST_SIDE:
            rule = f"a box is at least 1/64 of the picture wide and high, {names} by {LEAST_SIDE} or more"
            raise broken(rule, value=list(box), hint="make it larger")
    return left, top, right, bottom


def _version(value: int) -> int:
    if value != 1:
        hint = "newer plans need a newer raccord" if value > 1 else 'write "version": 1'
        raise broken("this raccord reads plans of version 1", value=value, hint=hint)
    return value


def _positive_zero(value: float) -> float:
    return value + 0.0


_two = listed(most=2, least=2, name="numbers: width, height")
_four = listed(most=4, least=4, name="numbers: left, top, right, bottom")

Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
_Share = Annotated[Number, Field(ge=0, le=1)]
_Pixels = Annotated[Whole, Field(ge=64, le=2048, multiple_of=8)]

Version = Annotated[Whole, AfterValidator(_version), Field(json_schema_extra={"const": 1})]
Text = Annotated[str, BeforeValidator(_text), Field(json_schema_extra={"maxLength": MAX_CHARACTERS})]
Words = Annotated[str, BeforeValidator(_words), Field(json_schema_extra={"minLength": 1, "maxLength": MAX_CHARACTERS})]
Slug = Annotated[str, BeforeValidator(_slug), Field(json_schema_extra={"pattern": f"^{_SLUG.pattern}$"})]
Seed = Annotated[Whole, Field(ge=0, le=2**63 - 1)]
Depth = Annotated[Whole, Field(ge=-1024, le=1024)]
Weight = Annotated[Number, Field(ge=0, le=2), AfterValidator(_positive_zero)]
Size = Annotated[tuple[_Pixels, _Pixels], BeforeValidator(_two)]
Box = Annotated[tuple[_Share, _Share, _Share, _Share], AfterValidator(_box), BeforeValidator(_four)]

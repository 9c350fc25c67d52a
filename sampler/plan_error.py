"""What a refused plan says: where (JSON pointer, RFC 6901), which rule, which value, and what to do about it."""

from collections.abc import Callable, Iterable
from itertools import islice
from reprlib import Repr
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pydantic import ValidationError

SHOWN_PROBLEMS = 20

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlevel = 2

# What pydantic words for programmers, for the person who edits the file.
_RULES = {
    "missing": "this field is required",
    "extra_forbidden": "there is no such field",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "model_type": "must be an object",
}


class Problem(NamedTuple):
    """One broken rule.

    pointer: JSON pointer into the plan as it was given, "" for the whole of it, "/frames/0/items/2/box" for a part.
    rule: what must hold there.
    value: the value found, as Python would print it, shortened to 80 characters.
    hint: what to do.
    """

    pointer: str
    rule: str
    value: str
    hint: str

    def __str__(self) -> str:
        # ascii() would hide every accent; only what cannot be printed is escaped
        pointer = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in self.pointer[:200])
        return f"{pointer or 'plan'}: {self.rule} (got {self.value}); {self.hint}"


class PlanError(ValueError):
    """A plan was refused. `pointer`, `rule`, `value` and `hint` are those of the first problem.

    problems: at most 20, in the order of the document. A list of items is left at its first bad item, and references
    between ids are looked at when everything else holds, so mending these may bring up others.
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems[:SHOWN_PROBLEMS])
        self.problems = problems[:SHOWN_PROBLEMS]
        self.pointer, self.rule, self.value, self.hint = problems[0]

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Forbidden:
    """Stands in a parsed file for what Python's json accepts and a plan does not, until validation meets it there."""

    def __init__(self, text: str, rule: str, hint: str) -> None:
        self.text = text
        self.rule = rule
        self.hint = hint

    def __repr__(self) -> str:
        return self.text


def shown(value: Any) -> str:
    """`value` as Python prints it, in at most 80 characters, whatever it is."""
    try:
        text = _SHORT.repr(value)
        return text if len(text) <= 80 else f"{text[:60]} ... {text[-12:]}"
    except ValueError:
        # integers over 4,300 digits refuse to become text
        return f"a number of {value.bit_length()} bits" if isinstance(value, int) else f"a {type(value).__name__}"


def pointer(steps: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) that follows `steps` from the top of the document."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def broken(rule: str, *, value: Any, hint: str, at: Iterable[str | int] = ()) -> PlanError:
    """A `PlanError` with one problem; `at` counts from the value under validation."""
    return PlanError(Problem(pointer(at), rule, shown(value), hint))


def from_validation(error: "ValidationError", *, hint: Callable[[tuple[str | int, ...], str], str]) -> PlanError:
    """Pydantic's findings as a `PlanError`; `hint(path, kind)` says what to do about the value at `path`."""
    problems: list[Problem] = []
    for finding in islice(error.errors(include_url=False), SHOWN_PROBLEMS):
        path = finding["loc"]
        cause = finding.get("ctx", {}).get("error")
        if isinstance(cause, PlanError):
            start = pointer(path)
            problems += [problem._replace(pointer=start + problem.pointer) for problem in cause.problems]
            continue
        found = finding["input"]
        if isinstance(found, Forbidden):
            problems.append(Problem(pointer(path), found.rule, shown(found), found.hint))
            continue
        kind = finding["type"]
        rule = _RULES.get(kind) or finding["msg"].replace("Input should be", "must be")
        value = "nothing" if kind == "missing" else shown(found)
        problems.append(Problem(pointer(path), rule, value, hint(path, kind)))
    return PlanError(*problems)

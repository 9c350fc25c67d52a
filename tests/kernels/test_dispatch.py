"""Choosing a backend: the first without a reason, or the forced one, or an error with the reasons."""

import pytest

from raccord.kernels._dispatch import Backend, Operation

# `math` holds a function named like the operation, so choosing a backend imports nothing of ours.
SERVES = Backend("math")
NOT_BUILT = Backend("module.that.does.not.exist", available=lambda: ["not built"])
EVEN_ONLY = Backend("math", accepts=lambda number: ["number is odd", "and odd is hard"] if number % 2 else [])


@pytest.fixture(autouse=True)
def _automatic(monkeypatch):
    monkeypatch.delenv("RACCORD_BACKEND", raising=False)


def chosen(backends, forced=None, **call):
    """Name of the backend chosen, told by giving each its own module name."""
    operation = Operation("sqrt", backends)
    function = operation.choose(forced, **call)
    assert function(4) == 2
    return function.__module__


def test_the_first_backend_without_a_reason_is_taken():
    backends = {"a": NOT_BUILT, "b": EVEN_ONLY, "c": Backend("cmath")}
    assert chosen(backends, number=2) == "math"
    assert chosen(backends, number=3) == "cmath"


def test_the_module_of_a_refusing_backend_is_never_imported():
    assert chosen({"a": NOT_BUILT, "b": SERVES}) == "math"


def test_a_forced_backend_is_taken_out_of_turn():
    assert chosen({"a": SERVES, "b": Backend("cmath")}, "b") == "cmath"


def test_a_forced_backend_that_cannot_serve_raises_its_reasons_and_nothing_else_runs():
    backends = {"a": EVEN_ONLY, "b": SERVES}
    with pytest.raises(RuntimeError, match=r"sqrt: backend 'a', forced by argument.*number is odd; and odd is hard"):
        Operation("sqrt", backends).choose("a", number=3)


def test_the_environment_forces_and_the_argument_goes_before_it(monkeypatch):
    monkeypatch.setenv("RACCORD_BACKEND", "b")
    backends = {"a": SERVES, "b": Backend("cmath"), "c": NOT_BUILT}
    assert chosen(backends) == "cmath"
    assert chosen(backends, "a") == "math"
    monkeypatch.setenv("RACCORD_BACKEND", "c")
    with pytest.raises(RuntimeError, match=r"forced by environment variable RACCORD_BACKEND, cannot serve.*not built"):
        chosen(backends)


def test_an_unknown_backend_is_refused_with_the_names_there_are(monkeypatch):
    with pytest.raises(ValueError, match=r"sqrt has no backend 'z' \(argument backend\); it has a, b"):
        chosen({"a": SERVES, "b": SERVES}, "z")
    monkeypatch.setenv("RACCORD_BACKEND", "z")
    with pytest.raises(ValueError, match="environment variable RACCORD_BACKEND"):
        chosen({"a": SERVES})


def test_when_none_can_serve_everybodys_reasons_are_told():
    with pytest.raises(RuntimeError, match=r"a: not built \| b: number is odd; and odd is hard"):
        chosen({"a": NOT_BUILT, "b": EVEN_ONLY}, number=1)


def test_a_choice_is_kept_for_its_call_and_forgotten_on_demand():
    refused = []
    operation = Operation("sqrt", {"a": Backend("math", available=lambda: list(refused)), "b": Backend("cmath")})
    assert operation.choose().__module__ == "math"
    refused.append("gone")
    assert operation.choose().__module__ == "math"
    assert operation.choose(number=1).__module__ == "cmath"
    operation.forget()
    assert operation.choose().__module__ == "cmath"


def test_a_preferred_backend_is_asked_first_and_may_refuse():
    operation = Operation("sqrt", {"a": SERVES, "b": EVEN_ONLY, "c": Backend("cmath")})
    assert operation.pick(first="c") == "c"
    assert operation.pick("a", first="c") == "a"
    assert operation.pick(first="b", number=2) == "b"
    assert operation.pick(first="b", number=3) == "a"

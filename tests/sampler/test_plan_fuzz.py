"""Twenty thousand malformed plans: nothing but PlanError, none slow; and the oversized ones refused before parsing."""

import copy
import json
import random
import time

import pytest

from raccord.sampler.plan import PlanError, read_plan, write_plan

PLANS = 20_000
SECONDS = 0.05
LONGEST = 100_000

HOSTILE = [
    None,
    True,
    -1,
    0,
    2**63,
    10**300,
    10**4000,
    0.5,
    -0.0,
    1e-320,
    float("nan"),
    float("inf"),
    "",
    " ",
    "cat",
    "../../etc/passwd",
    "http://example.org/x",
    "\u0000",
    "\ud800",
    "\udc00\ud800",
    "\u202egnp.exe",
    "e" + "\u0301\u0323" * 40,
    "\ufeffcat",
    "x" * 5000,
    "\u0958" * 4000,
    "\U0001d160" * 4000,
    [],
    [0, 0, 1, 1],
    [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]],
    ["cat"] * 200,
    {},
    {"": {}},
    {"entity": "cat", "box": [0, 0, 1, 1]},
    {"__class__": "os.system", "\ud800": 1, "a/b~c": 2},
]
NAMES = ["id", "box", "items", "frames", "entities", "seed", "size", "Box", "acton", "", "\ud800", "a/b~", "\u0000"]


def valid_tree(rng: random.Random) -> dict:
    ids = rng.sample(["cat", "dog", "owl", "frog", "red-ball", "house_2"], rng.randint(0, 5))
    frames = []
    for index in range(rng.randint(1, 4)):
        items = []
        for entity in rng.sample(ids, rng.randint(0, len(ids))):
            left, top = rng.uniform(0, 0.5), rng.uniform(0, 0.5)
            item = {"entity": entity, "box": [left, top, left + rng.uniform(0.1, 0.5), top + 0.4]}
            extras = {"z": rng.randint(-9, 9), "action": "sitting", "weight": rng.uniform(0, 2), "negative": "b\u00e4r"}
            items.append(item | {key: extras[key] for key in rng.sample(list(extras), rng.randint(0, 4))})
        for item in items:
            others = [other["entity"] for other in items if other is not item]
            item["interacts"] = rng.sample(others, rng.randint(0, len(others)))
        frames.append({"id": f"f{index}", "prompt": "a cat in a meadow", "background": "a meadow", "items": items})
    entities = [{"id": entity, "name": "Zo\u00eb", "card": f"a {entity}"} for entity in ids]
    return {"version": 1, "seed": rng.randrange(2**63), "size": [512, 512], "entities": entities, "frames": frames}


def containers(value: object) -> list:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return [] if inner is None else [value, *(found for part in inner for found in containers(part))]


def mutate_tree(tree: dict, rng: random.Random) -> None:
    home = rng.choice([found for found in containers(tree) if found] or [tree])
    key = rng.choice(list(home)) if isinstance(home, dict) else rng.randrange(len(home))
    match rng.randrange(6):
        case 0 | 1:
            home[key] = copy.deepcopy(rng.choice(HOSTILE))
        case 2:
            del home[key]
        case 3 if isinstance(home, dict):
            home[rng.choice(NAMES)] = home.pop(key)
        case 3 | 4 if isinstance(home, list):
            home.extend([home[key]] * rng.choice([1, 1, 1, 70]))
        case _ if isinstance(home, dict):
            home[rng.choice(NAMES)] = copy.deepcopy(rng.choice(HOSTILE))
        case _:
            home[key] = [home[key]] * rng.choice([1, 20])


def malformed_by_grammar(rng: random.Random) -> bytes:
    tree = valid_tree(rng)
    for _ in range(rng.randint(1, 3)):
        mutate_tree(tree, rng)
    text = json.dumps(tree, ensure_ascii=True, indent=rng.choice([None, 1]))
    if rng.random() < 0.2:
        place = rng.choice([place for place, mark in enumerate(text) if mark == "{"])
        text = text[: place + 1] + '"id": "twice", "id": "twice", ' + text[place + 1 :]
    return text.encode()[:LONGEST]


def malformed_by_bytes(rng: random.Random) -> bytes:
    data = bytearray(json.dumps(valid_tree(rng), ensure_ascii=rng.random() < 0.5).encode())
    for _ in range(rng.randint(1, 8)):
        start, end = sorted(rng.choices(range(len(data) + 1), k=2))
        end = min(end, start + rng.choice([1, 4, 64, 4096]))
        match rng.randrange(7):
            case 0:
                data[start:end] = b""
            case 1:
                data[start:start] = data[start:end]
            case 2:
                data[start:end] = rng.randbytes(min(end - start, 8))
            case 3:
                data[start : start + 1] = rng.choice(b'{}[]:,"\\ \x00\x1f\xff\xed0-9eE.tfnN').to_bytes()
            case 4:
                del data[start:]
            case 5:
                data[start:start] = rng.choice([b"NaN", b"-Infinity", b"1e999", b"\\ud800", b"\xef\xbb\xbf", b"[" * 40])
            case 6:
                data[start:end] = data[start:end] * rng.choice([2, 30])
        data = data or bytearray(b"{")
    return bytes(data[:LONGEST])


def outcome(data: bytes) -> tuple[PlanError | None, float]:
    """The refusal, if any, and the processor time in seconds."""
    started = time.process_time()
    error = None
    try:
        plan = read_plan(data)
    except PlanError as caught:
        error = caught
        str(error)
    seconds = time.process_time() - started
    if error is None:
        assert read_plan(write_plan(plan)) == plan
    return error, seconds


@pytest.mark.parametrize(
    ("malformed", "least_refused"), [(malformed_by_grammar, 0.75), (malformed_by_bytes, 0.75)], ids=["grammar", "bytes"]
)
def test_malformed_plans_are_refused_by_plan_error_alone_and_at_once(malformed, least_refused):
    refused = 0
    rules = set()
    for case in range(PLANS // 2):
        data = malformed(random.Random(f"plan-fuzz-1 {malformed.__name__} {case}"))
        error, seconds = outcome(data)
        if seconds > SECONDS:
            # a collection of garbage that others left may fall into one reading; not into two
            error, seconds = outcome(data)
        assert seconds < SECONDS, f"case {case} took {seconds * 1e3:.0f} ms: {data[:200]!r}"
        if error is not None:
            refused += 1
            rules.add(error.rule.split(";")[0][:24])
            assert all(problem.rule and problem.hint and problem.value for problem in error.problems)
            assert len(str(error)) < 20 * 600
    # the mutations must mostly break plans, and in many ways, or this test would show nothing
    assert refused > least_refused * PLANS / 2
    assert len(rules) > 15


def test_unmutated_plans_of_the_fuzzer_are_valid():
    for case in range(200):
        error, _ = outcome(json.dumps(valid_tree(random.Random(case))).encode())
        assert error is None


BOX = b'{"entity":"cat","box":[0,0,1,1]},'
MILLIONS = {
    "boxes": b'{"frames":[{"id":"a","prompt":"p","items":[' + BOX * 10**6 + b"{}]}]}",
    "empty objects": b"[" + b"{}," * 10**6 + b"{}]",
    "empty arrays": b'{"frames":[' + b"[]," * 10**6 + b"[]]}",
    "numbers": b'{"frames":[' + b"0," * 10**6 + b"0]}",
    "quotes": b'{"frames":' + b'"' * (4 * 2**20 - 100),
    "brackets": b"[" * (4 * 2**20),
    "braces": b'{"":' * 2**20,
    "long numbers": b'{"frames":[' + b"0.123456," * 466_000 + b"0]}",
    "texts": b'{"frames":[' + b'"abcd",' * (2**19 - 5) + b"0]}",
    "fields": b'{"frames":[' + b'{"a":0,"a":0},' * 65_000 + b"{}]}",
    "digits": b'{"frames":[' + (b"9" * 4299 + b",") * 970 + b"0]}",
    "one number": b'{"seed":' + b"1" * (4 * 2**20 - 100) + b"}",
}


@pytest.mark.parametrize("name", MILLIONS)
def test_a_million_of_anything_is_refused_within_a_tenth_of_a_second(name):
    error, seconds = outcome(MILLIONS[name])
    assert error is not None
    assert "at most" in error.rule
    assert min(seconds, outcome(MILLIONS[name])[1]) < 0.1

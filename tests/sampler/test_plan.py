"""The plan: what is accepted, what is refused and where, and the laws of its canonical form."""

import copy
import json
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raccord.sampler.plan import (
    Entity,
    Frame,
    Item,
    Plan,
    PlanError,
    plan_hash,
    plan_schema,
    read_plan,
    write_plan,
)

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.plan.json"))

TREE = {
    "version": 1,
    "title": "The hat",
    "style": "flat drawing",
    "seed": 7,
    "size": [512, 384],
    "entities": [
        {"id": "cat", "name": "Mia", "card": "a red cat with a hat", "negative": "scarf"},
        {"id": "dog", "name": "Bo", "card": "a blue dog"},
        {"id": "owl", "name": "Uhu", "card": "a brown owl"},
    ],
    "frames": [
        {
            "id": "one",
            "prompt": "a cat and a dog in a meadow",
            "background": "a meadow",
            "negative": "rain",
            "items": [
                {"entity": "cat", "box": [0.1, 0.3, 0.5, 0.9], "z": 1, "action": "sitting", "negative": "running"},
                {"entity": "dog", "box": [0.5, 0.25, 1, 1], "z": 2, "weight": 1.5, "interacts": ["cat"]},
            ],
        },
        {"id": "two", "prompt": "an owl", "items": [{"entity": "owl", "box": [0, 0, 1, 1]}]},
    ],
}


def read(tree: object) -> Plan:
    return read_plan(json.dumps(tree).encode())


def refusal(tree: object) -> PlanError:
    with pytest.raises(PlanError) as caught:
        read(tree)
    return caught.value


def paths(value: object, start: tuple = ()) -> list[tuple]:
    """Every place in a tree, as steps from the top."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, part in parts for path in [(*start, key), *paths(part, (*start, key))]]


def replaced(tree: dict, path: tuple, value: object) -> dict:
    tree = copy.deepcopy(tree)
    home: Any = tree
    for step in path[:-1]:
        home = home[step]
    home[path[-1]] = value
    return tree


def pointer(path: tuple) -> str:
    return "".join(f"/{step}" for step in path)


def test_the_fields_come_out_as_they_went_in():
    plan = read(TREE)
    cat, dog = plan.frames[0].items
    assert (plan.seed, plan.size, plan.style) == (7, (512, 384), "flat drawing")
    assert [entity.id for entity in plan.entities] == ["cat", "dog", "owl"]
    assert (cat.entity, cat.z, cat.action, cat.weight, dog.weight) == ("cat", 1, "sitting", 1.0, 1.5)
    assert plan.frames[1].items[0].box == (0.0, 0.0, 1.0, 1.0)
    assert plan.frames[0].background == "a meadow"


def test_a_plan_needs_one_frame_and_a_frame_needs_a_prompt():
    plan = read({"frames": [{"id": "a", "prompt": "a meadow"}]})
    assert (plan.version, plan.seed, plan.size, plan.entities) == (1, 0, (512, 512), ())
    assert plan.frames[0].items == ()
    assert refusal({"frames": []}).pointer == "/frames"
    assert refusal({}).pointer == "/frames"
    assert refusal({"frames": [{"id": "a"}]}).pointer == "/frames/0/prompt"


@pytest.mark.parametrize("path", paths(TREE), ids=pointer)
@pytest.mark.parametrize("wrong", [None, {"a": 1}, True], ids=["null", "object", "true"])
def test_a_wrong_type_anywhere_is_refused_at_its_own_pointer(path, wrong):
    error = refusal(replaced(TREE, path, wrong))
    # an object where an object belongs is refused at its first missing field, below the place
    assert error.pointer == pointer(path) or (isinstance(wrong, dict) and error.pointer.startswith(pointer(path)))
    assert error.rule
    assert error.hint
    assert str(error).startswith(error.pointer)
    assert error.value in str(error)


RULES = [
    ("/version", 2, "version 1"),
    ("/seed", -1, "greater than or equal to 0"),
    ("/seed", 2**63, "less than or equal to 9223372036854775807"),
    ("/seed", 1.0, "whole number"),
    ("/seed", "1", "whole number"),
    ("/size/0", 100, "multiple of 8"),
    ("/size/1", 4096, "less than or equal to 2048"),
    ("/size/1", 56, "greater than or equal to 64"),
    ("/size", [512], "exactly 2"),
    ("/title", "a\u202eb", "U+202E at 1"),
    ("/title", "a\u0000", "U+0000 at 1"),
    ("/title", "a\nb", "U+000A at 1"),
    ("/title", "\ud800", "U+D800 at 0"),
    ("/title", "x" * 4097, "at most 4,096"),
    # U+0958 has no composed form: normal form C is twice as long
    ("/title", "\u0958" * 2049, "normal form C"),
    ("/title", "a" + "\u0301" * 31, "combining marks"),
    ("/entities/0/id", "Red Cat", "an id has"),
    ("/entities/0/id", "../cat", "an id has"),
    ("/entities/0/id", "c" * 65, "an id has"),
    ("/entities/1/id", "cat", "stands at 0 already"),
    ("/entities/0/card", "  ", "empty"),
    ("/frames/1/id", "one", "stands at 0 already"),
    ("/frames/0/items/1/entity", "cat", "stands at 0 already"),
    ("/frames/0/items/1/entity", "horse", "id of an entity"),
    ("/frames/0/items/1/interacts/0", "dog", "another entity"),
    ("/frames/0/items/1/interacts/0", "owl", "another entity"),
    ("/frames/0/items/0/box", [0.5, 0, 0.5, 1], "x0 < x1"),
    ("/frames/0/items/0/box", [0, 0.9, 1, 0.1], "y0 < y1"),
    ("/frames/0/items/0/box", [0, 0, 0.015, 1], "1/64"),
    ("/frames/0/items/0/box", [0, 0, 1], "exactly 4"),
    ("/frames/0/items/0/box/2", 1.0001, "less than or equal to 1"),
    ("/frames/0/items/0/box/0", -0.1, "greater than or equal to 0"),
    ("/frames/0/items/0/box/0", "0", "number"),
    ("/frames/0/items/0/box/0", float("nan"), "finite"),
    ("/frames/0/items/0/box/0", float("-inf"), "finite"),
    ("/frames/0/items/0/weight", 2.5, "less than or equal to 2"),
    ("/frames/0/items/0/z", 1.5, "whole number"),
    ("/frames/0/items/0/z", 10**4000, "less than or equal to 1024"),
    ("/frames/0/items/0/weight", 10**4000, "number"),
]


@pytest.mark.parametrize(("where", "value", "rule"), RULES, ids=[f"{where}-{rule}" for where, _, rule in RULES])
def test_every_rule_is_refused_at_its_own_pointer(where, value, rule):
    path = tuple(int(step) if step.isdigit() else step for step in where.split("/")[1:])
    error = refusal(replaced(TREE, path, value))
    assert error.pointer == where
    assert rule in error.rule


def test_a_list_over_its_limit_is_refused():
    frame = {"id": "a", "prompt": "p"}
    entities = [{"id": f"e{index}", "card": "c"} for index in range(257)]
    items = [{"entity": f"e{index}", "box": [0, 0, 1, 1]} for index in range(65)]
    assert "256" in refusal({"entities": entities, "frames": [frame]}).rule
    assert "64" in refusal({"entities": entities[:256], "frames": [{**frame, "items": items}]}).rule
    assert "1,024" in refusal({"frames": [{"id": f"f{index}", "prompt": "p"} for index in range(1025)]}).rule
    full = {"entities": entities[:256], "frames": [{**frame, "items": items[:64]}]}
    assert len(read(full).frames[0].items) == 64


def test_an_unknown_field_is_refused_with_the_one_that_was_meant():
    error = refusal(replaced(TREE, ("frames", 0, "items", 0, "acton"), "sitting"))
    assert error.pointer == "/frames/0/items/0/acton"
    assert '"action"' in error.hint
    # RFC 6901: ~ and / in a name are escaped
    assert refusal({**TREE, "a/b~c": 1}).pointer == "/a~1b~0c"


def test_several_problems_are_reported_together_and_at_most_twenty():
    error = refusal({**TREE, "seed": -1, "title": 3, "size": [1, 1]})
    assert [problem.pointer for problem in error.problems] == ["/title", "/seed", "/size/0", "/size/1"]
    many = refusal({"frames": [{"id": "A", "prompt": "p"}] * 100})
    assert len(many.problems) == 20
    assert pickle.loads(pickle.dumps(many)).problems == many.problems


BYTES = [
    (b"", "empty"),
    (b" \n", "empty"),
    (b"{", "JSON"),
    (b"[]", "object"),
    (b"NaN", "finite"),
    (b'{"seed": 1, "seed": 1}', "once"),
    (b'{"title": "\xff"}', "UTF-8"),
    (b'{"title": "\xed\xa0\x80"}', "UTF-8"),
    ('{"seed": 1}'.encode("utf-16"), "UTF-8"),
    ('{"seed": 1}'.encode("utf-16-be"), "JSON"),
    (b'{"\\ud800": 1}', "Unicode"),
    (b"{'seed': 1}", "JSON"),
    (b'{"seed": 1,}', "JSON"),
    (b'{"seed": 01}', "JSON"),
    (b'{"seed": 1} {}', "JSON"),
    (b'{"seed": ' + b"9" * 5000 + b"}", "digits"),
    (b"[" * 17, "16 deep"),
    (b"[" * 100_000, "16 deep"),
    (b'{"a":' * 60_000, "16 deep"),
    (b"{" + b",".join(b'"k%d":1' % index for index in range(100)) + b"}", "64 fields"),
    (b" " * (4 * 2**20 + 1), "4,194,304 bytes"),
]


@pytest.mark.parametrize(("data", "rule"), BYTES, ids=[repr(data[:24]) for data, _ in BYTES])
def test_what_is_not_one_json_object_is_refused(data, rule):
    with pytest.raises(PlanError, match=rule):
        read_plan(data)


def test_brackets_and_escapes_inside_texts_are_not_structure():
    tree = replaced(TREE, ("title",), '[[[[[[[[[[[[[[[[[[[[ \\" \\\\ {{{{{{{{{{{{{{{{{{{{{')
    assert read(tree).title == tree["title"]


def test_a_byte_order_mark_is_skipped_and_never_written():
    data = json.dumps(TREE).encode()
    assert read_plan(b"\xef\xbb\xbf" + data) == read_plan(data)
    assert write_plan(read(TREE)).startswith(b"{")


@pytest.mark.parametrize("wrong", ["{}", bytearray(b"{}"), None, Path("x")])
def test_only_bytes_are_read(wrong):
    with pytest.raises(TypeError, match="bytes"):
        read_plan(wrong)


def test_python_is_held_to_the_same_rules():
    plan = Plan(
        title=" cafe\u0301 ",
        entities=[Entity(id="owl", card="an owl"), Entity(id="cat", card="a cat")],
        frames=[
            Frame(
                id="a",
                prompt="p",
                items=[
                    Item(entity="owl", box=(0.1, 0, 1, 1), interacts=["cat"]),
                    Item(entity="cat", box=(0, 0, 0.3001, 1)),
                ],
            )
        ],
    )
    assert plan.title == "caf\u00e9"
    assert [entity.id for entity in plan.entities] == ["cat", "owl"]
    assert [(item.entity, item.interacts) for item in plan.frames[0].items] == [("cat", ("owl",)), ("owl", ("cat",))]
    assert plan.frames[0].items[0].box == (0.0, 0.0, 307 / 1024, 1.0)
    assert read_plan(write_plan(plan)) == plan
    assert hash(plan) == hash(read_plan(write_plan(plan)))


def test_python_mistakes_are_plan_errors_too():
    with pytest.raises(PlanError, match="x0 < x1"):
        Item(entity="a", box=(1, 0, 0, 1))
    with pytest.raises(PlanError, match="list of exactly 4"):
        Item(entity="a", box={0, 1})  # pyright: ignore[reportArgumentType]
    item = Item(entity="ghost", box=(0, 0, 1, 1))
    with pytest.raises(PlanError) as caught:
        Plan(frames=[Frame(id="a", prompt="p", items=[item])])
    assert caught.value.pointer == "/frames/0/items/0/entity"
    with pytest.raises(PlanError, match="/seed"):
        Plan(seed=10**5000, frames=[Frame(id="a", prompt="p")])


def test_a_copy_with_changes_is_checked_and_the_original_stays():
    plan = read(TREE)
    assert plan.model_copy(update={"seed": 8}).seed == 8
    assert plan.seed == 7
    with pytest.raises(PlanError, match="/seed"):
        plan.model_copy(update={"seed": -1})
    with pytest.raises(ValueError, match="frozen"):
        plan.seed = 9


def test_a_plan_that_would_be_too_large_to_read_is_not_written():
    frames = [Frame(id=f"f{index}", prompt="p" * 4096, background="b" * 4096) for index in range(520)]
    with pytest.raises(PlanError, match="bytes"):
        write_plan(Plan(frames=frames))


def test_repr_shows_what_differs_from_the_default():
    assert repr(Item(entity="cat", box=(0, 0, 1, 1))) == "Item(entity='cat', box=(0.0, 0.0, 1.0, 1.0))"
    assert "entities=['cat', 'dog', 'owl']" in repr(read(TREE))


@st.composite
def trees(draw) -> dict:
    """A valid plan, spelled canonically but for the order of its lists."""
    texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
    slugs = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,7}", fullmatch=True)
    ids = draw(st.lists(slugs, max_size=4, unique=True))

    def box() -> list[float]:
        left, top = draw(st.integers(0, 1008)), draw(st.integers(0, 1008))
        right, bottom = draw(st.integers(left + 16, 1024)), draw(st.integers(top + 16, 1024))
        return [left / 1024, top / 1024, right / 1024, bottom / 1024]

    frames = []
    for name in draw(st.lists(slugs, min_size=1, max_size=3, unique=True)):
        here = draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
        items = []
        for entity in here:
            others = [other for other in here if other != entity]
            interacts = draw(st.lists(st.sampled_from(others), unique=True)) if others else []
            items.append(
                {
                    "entity": entity,
                    "box": box(),
                    "z": draw(st.integers(-1024, 1024)),
                    "action": draw(texts),
                    "weight": draw(st.floats(0, 2)),
                    "interacts": interacts,
                }
            )
        frames.append({"id": name, "prompt": draw(texts), "background": draw(texts), "items": items})
    return {
        "seed": draw(st.integers(0, 2**63 - 1)),
        "size": [8 * draw(st.integers(8, 256)), 8 * draw(st.integers(8, 256))],
        "entities": [{"id": name, "card": draw(texts)} for name in ids],
        "frames": frames,
    }


def respelled(value: object, draw, key: str = "") -> object:
    """The same plan in other words: order, normal form, spaces around texts, number types, moves under the grid."""
    if isinstance(value, dict):
        return {name: respelled(value[name], draw, name) for name in draw(st.permutations(list(value)))}
    if isinstance(value, list):
        parts = [respelled(part, draw, key) for part in value]
        return draw(st.permutations(parts)) if key in ("entities", "items", "interacts") else parts
    if isinstance(value, str) and key not in ("id", "entity", "interacts"):
        return " " * draw(st.integers(0, 2)) + unicodedata.normalize("NFD", value) + " "
    if isinstance(value, float) and key == "box":
        return min(max(value + draw(st.floats(-0.4, 0.4)) / 1024, 0.0), 1.0)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


@settings(max_examples=100, deadline=None, derandomize=True)
@given(trees(), st.data())
def test_every_spelling_of_a_plan_has_the_same_bytes_and_hash(tree, data):
    plan = read(tree)
    other = respelled(tree, data.draw)
    spelled = json.dumps(other, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 0, 3])))
    again = read_plan(spelled.encode())
    assert again == plan
    assert write_plan(again) == write_plan(plan)
    assert plan_hash(again) == plan_hash(plan)
    assert read_plan(write_plan(plan)) == plan
    assert Plan(**tree) == plan


CHANGES = {
    "title": "The scarf",
    "style": "oil",
    "seed": 8,
    "size": [384, 512],
    "id": "other",
    "name": "Mio",
    "card": "a red cat",
    "negative": "snow",
    "prompt": "a cat",
    "background": "a beach",
    "box": [0.125, 0.3, 0.5, 0.9],
    "z": 3,
    "action": "standing",
    "weight": 0.5,
    "interacts": [],
}


REFERRED = [("entities", 1, "id"), ("entities", 2, "id")]


@pytest.mark.parametrize(
    "path", [path for path in paths(TREE) if path[-1] in CHANGES and path not in REFERRED], ids=pointer
)
def test_a_change_of_any_field_changes_the_hash(path):
    # nothing refers to the bear, so its id may change
    tree = {**TREE, "entities": [{"id": "bear", "card": "a bear"}, *TREE["entities"][1:], TREE["entities"][0]]}
    assert plan_hash(read(replaced(tree, path, CHANGES[path[-1]]))) != plan_hash(read(tree))


def test_another_entity_in_the_same_place_changes_the_hash():
    other = replaced(TREE, ("frames", 1, "items", 0, "entity"), "dog")
    assert plan_hash(read(other)) != plan_hash(read(TREE))


def test_the_order_of_frames_is_part_of_the_plan():
    assert plan_hash(read({**TREE, "frames": TREE["frames"][::-1]})) != plan_hash(read(TREE))


def test_box_numbers_are_written_short_and_come_back():
    for cell in range(1009):
        item = Item(entity="a", box=(cell / 1024, 0, 1, 1))
        plan = Plan(entities=[Entity(id="a", card="a")], frames=[Frame(id="f", prompt="p", items=[item])])
        data = write_plan(plan)
        assert read_plan(data) == plan
        (line,) = [line for line in data.decode().splitlines() if "box" in line]
        # 0.dddd at most: the grid is coarser than a ten-thousandth
        assert len(line.split("[")[1].split(",")[0]) <= 6


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_canonical(path):
    data = path.read_bytes()
    assert write_plan(read_plan(data)) == data
    assert len(read_plan(data).frames) >= 3


def test_there_are_examples():
    assert EXAMPLES


def test_the_schema_says_what_the_reader_does():
    schema = plan_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["frames"]
    item = schema["$defs"]["Item"]["properties"]
    assert item["box"]["minItems"] == item["box"]["maxItems"] == 4
    assert item["weight"]["maximum"] == 2
    assert schema["properties"]["frames"]["maxItems"] == 1024
    assert schema["properties"]["entities"]["maxItems"] == 256
    assert schema["$defs"]["Frame"]["properties"]["items"]["maxItems"] == 64
    jsonschema.Draft202012Validator.check_schema(schema)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(trees())
def test_what_is_written_fits_the_schema(tree):
    jsonschema.validate(json.loads(write_plan(read(tree))), plan_schema())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_fit_the_schema(path):
    jsonschema.validate(json.loads(path.read_bytes()), plan_schema())


# what a schema cannot say: references, order inside a box, what text is invisible, normal form
BEYOND = (
    "x0 < x1",
    "y0 < y1",
    "1/64",
    "id of an entity",
    "another entity",
    "already",
    "U+",
    "normal",
    "marks",
    "empty",
    "finite",
)


@pytest.mark.parametrize(
    ("where", "value", "rule"), [case for case in RULES if not any(word in case[2] for word in BEYOND)]
)
def test_an_editor_with_the_schema_refuses_what_the_reader_refuses(where, value, rule):
    path = tuple(int(step) if step.isdigit() else step for step in where.split("/")[1:])
    # JSON Schema has one kind of number: 1.0 is an integer there
    if value == 1.0:
        return
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(replaced(TREE, path, value), plan_schema())


def test_plans_need_neither_torch_nor_diffusers():
    code = "import sys, raccord.sampler.plan; print({'torch', 'diffusers', 'transformers', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

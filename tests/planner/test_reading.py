"""Reading a story: sentences, names as placeholders, words outside the world."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raccord.planner.embedded import embedded_model
from raccord.planner.reading import UNKNOWN, read_story, split_story
from raccord.planner.world import World, read_world

WORDS = ("a", "the", "red", "cat", "ball", "she", "meets", "sits", "in", "snow", "then", "and", "is", "of", "left")
PLACES = {
    f"{setting}{time}{weather}": f"an empty {setting}{time}{weather}"
    for setting in ("snow", "beach")
    for time in ("", " night")
    for weather in ("", " rain")
}
WORN = ("none", "hat")
WORLD = World(
    creatures=("cat",),
    things=("ball",),
    kinds={"cat": "cat", "ball": "ball"},
    plurals={"cats": "cat", "balls": "ball"},
    colours=("red",),
    patterns={"striped": "striped"},
    accessories={"hat": "hat"},
    sizes={"small": "small"},
    settings={"snow": "snow", "beach": "beach"},
    times={"day": "day", "night": "night"},
    weathers={"clear": "clear", "rain": "rain"},
    indoors=(),
    backgrounds=PLACES,
    places={place: f"in the {place}" for place in PLACES},
    creature_actions=("standing", "sitting"),
    thing_actions=("standing there",),
    poses={"standing": "standing", "sitting": "sitting", "standing there": "standing"},
    action_words={"sits": "sitting"},
    verbs=("meets",),
    forms={"sat": "sits"},
    floating=(),
    scales={},
    usual_colours={},
    aspects={
        f"{kind}, {pose}, {worn}": 0.8 for kind in ("cat", "ball") for pose in ("standing", "sitting") for worn in WORN
    },
    words=frozenset(WORDS),
    size=(64, 64),
    max_sentences=8,
    max_names=3,
)


def test_names_become_placeholders_in_order_of_appearance():
    reading = read_story("Lina the red cat meets Bo. Then Bo sits left of Lina.", WORLD)
    assert reading.names == ("Lina", "Bo")
    assert reading.sentences == ("#1 the red cat meets #2", "then #2 sits left of #1")


def test_a_story_reads_the_same_under_other_names():
    story = "{0} the cat sits. She meets {1}, a red cat. {1} sits in the snow."
    first = read_story(story.format("Lina", "Bo"), WORLD)
    second = read_story(story.format("Zoë", "Xanthippe"), WORLD)
    assert first.sentences == second.sentences


def test_name_of_two_words_and_its_parts_are_one_person():
    reading = read_story("Captain Bo sits. Bo meets Ann's cat. The Captain sits.", WORLD)
    assert reading.names == ("Captain Bo", "Ann")
    assert reading.sentences == ("#1 sits", "#1 meets #2 's cat", "the #1 sits")


def test_unknown_words_are_reported_and_marked_not_dropped():
    reading = read_story("The cat meets a fierce dragon.", WORLD)
    assert reading.unknown == ("fierce", "dragon")
    assert reading.sentences == (f"the cat meets a {UNKNOWN}",)


def test_more_names_than_the_model_knows_are_reported():
    reading = read_story("Ann and Ben and Cid and Dan and Eve sits.", WORLD)
    assert reading.names == ("Ann", "Ben", "Cid")
    assert reading.unknown == ("Dan", "Eve")


def test_known_words_are_no_names_at_the_start_of_a_sentence():
    assert read_story("Red cat. She sits. Then Cat sits.", WORLD).names == ()


def test_words_of_other_forms_are_read_as_those_the_world_has():
    assert read_story("Lina sat. A cat Sat in the snow.", WORLD).sentences == ("#1 sits", "a cat sits in the snow")


def test_a_word_that_opens_a_sentence_is_no_name():
    reading = read_story("Quickly Lina sits. Tired, she sits. Emily meets Fred. Lina, Bo and Kim sit.", WORLD)
    assert reading.names == ("Lina", "Emily", "Fred")
    assert reading.unknown == ("Quickly", "Tired", "Bo", "Kim", "sit")


def test_usual_genders_of_names_are_known():
    assert read_story("Captain Tom meets Lina. Zzyx sits.", WORLD).genders == (None, "she", None)
    assert read_story("Mrs. Tom sits.", WORLD).genders == ("she",)


def test_lines_that_end_like_sentences_are_frames():
    story = "Lina is a cat. Bo is a cat.\n\nLina meets Bo!\n"
    assert split_story(story) == ["Lina is a cat. Bo is a cat.", "Lina meets Bo!"]
    assert read_story(story, WORLD).sentences == ("#1 is a cat and #2 is a cat", "#1 meets #2")
    # Wrapped lines are no frames.
    assert split_story("Lina meets\nBo. She sits.") == ["Lina meets Bo", "She sits"]


@pytest.mark.parametrize(
    ("told", "read", "shot"),
    [
        ('"Let us go to the beach," says Lina. She sits.', "says #1 and she sits", None),
        ('"Look, a boat!" says Lina.', "look , a boat , says #1", None),
        ('Lina says: "I am Lina. Who are you?"', "#1 says , i am #1 ,", None),
        ("Scene two: Lina sits.", "#1 sits", None),
        ("Close-up: Lina sits.", "#1 sits", "close"),
        ("A wide shot of Lina, who sits.", "#1 , who sits", "wide"),
        ("Lina is smaller than Bo and sits.", "#1 is small and sits", None),
    ],
)
def test_speech_headings_and_the_camera_are_no_part_of_what_is_told(told, read, shot):
    world = read_world(embedded_model("planner") / "world.json")
    reading = read_story(f"{told}\nThey sleep.\n", world)
    assert reading.sentences[0] == read
    assert reading.shots[:1] == ((shot,) if shot else ())


def test_sentences_end_at_marks_and_line_breaks():
    assert split_story("One cat sits!! \n\nTwo…  “Three?” four\x00 five") == [
        "One cat sits",
        "Two",
        "“Three?” four five",
    ]
    assert split_story('"Come!" she calls. "Why? No." Bo stays.') == ['"Come!" she calls', '"Why? No"', "Bo stays"]
    assert split_story(" \n . !? 😀 ") == []


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=300))
def test_any_text_is_read_and_only_the_worlds_words_are_left(text):
    reading = read_story(text, WORLD)
    allowed = WORLD.words | {",", UNKNOWN, "'s"} | {f"#{n}" for n in range(1, len(reading.names) + 1)}
    assert all(word in allowed for sentence in reading.sentences for word in sentence.split())
    assert len(reading.sentences) == len(split_story(text))

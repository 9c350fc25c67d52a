"""Turns of phrase of plain stories: each mechanism of the reading with a few of them."""

import pytest
from tellings import PAIR, cards, cast, frames


@pytest.mark.parametrize(
    ("verb", "action"),
    [
        ("knelt down", "sitting"),
        ("crept past", "walking"),
        ("leapt about", "running"),
        ("was lying on the floor", "resting"),
        ("nodded off", "sleeping"),
        ("went to sleep", "sleeping"),
        ("looked left and right", "looking around"),
        ("takes a nap", "sleeping"),
    ],
)
def test_every_form_of_a_verb_and_phrases_of_it(verb, action):
    assert frames(f"Lina the cat {verb}.")[0][1]["Lina"] == action


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("Lina turns off a lamp.", {"Lina", "Bo", "lamp"}),
        ("Lina leaves her hat at home.", {"Lina", "Bo"}),
        ("Lina puts a drum away.", {"Lina", "Bo", "drum"}),
        ("Bo has never seen a kite.", {"Lina", "Bo"}),
        ("Bo wants to fly a kite.", {"Lina", "Bo"}),
        ("Nobody had seen a robot.", {"Lina", "Bo"}),
        ("Bo goes away to find a lamp.", {"Lina"}),
        ("Lina goes to look for it, but Bo stays behind.", {"Bo"}),
        ("Lina thanks Bo, and he drives off.", {"Lina", "Bo"}),
        ("Lina isn't there.", {"Bo"}),
        ("The wind takes a balloon away.", {"Lina", "Bo", "balloon"}),
        ("Lina's hat flies away.", {"Lina", "Bo"}),
    ],
)
def test_who_is_there(sentence, shown):
    assert set(frames(PAIR + sentence)[-1][1]) == shown


@pytest.mark.parametrize(
    ("sentence", "relation"),
    [
        ("Lina puts a ball down next to Bo", ("ball", "next to", "Bo")),
        ("Lina gives a ball to Bo", ("Bo", "next to", "ball")),
        ("Lina looks behind a tree and finds a ball", ("ball", "behind", "tree")),
        ("Lina sits in a tree", ("Lina", "above", "tree")),
        ("Lina sits on a low branch of a tree", ("Lina", "above", "tree")),
        ("there is a cake in front of Lina", ("cake", "in front of", "Lina")),
        ("there is a cake on the table between them", ("Lina", "left of", "cake")),
        ("Lina sits next to a lamp, reading a book", ("Lina", "next to", "lamp")),
        ("a balloon floats above their heads", ("balloon", "above", "Lina")),
        ("they are racing, and Lina is in front", ("Lina", "in front of", "Bo")),
        ("Lina sits on Bo's lap", ("Lina", "above", "Bo")),
        ("there is a tree, Lina to the left of the tree and Bo to the right", ("Bo", "right of", "tree")),
        ("Lina sits in a boat beside Bo", ("Lina", "next to", "Bo")),
    ],
)
def test_where_things_are(sentence, relation):
    assert relation in frames(f"{PAIR}Now {sentence}.")[-1][2]


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        ("Poppy is a pink bunny.", {"Poppy": "a pink rabbit"}),
        ("Mama Bear and Little Bear walk.", {"Mama": "a bear", "Little Bear": "a bear"}),
        (
            "Lina the cat holds two balloons, a red one and a blue one.",
            {"Lina": "a cat", "balloon": "a red balloon", "second balloon": "a blue balloon"},
        ),
        ("A fox and a rabbit sit. The rabbit was called Blue.", {"fox": "a fox", "Blue": "a rabbit"}),
        ("Two robots live here. The red one is called Bip.", {"Bip": "a red robot", "second robot": "a robot"}),
        ("Lina the cat is here. Hugo is a frog too, but a yellow one.", {"Lina": "a cat", "Hugo": "a yellow frog"}),
        ("A rabbit digs. Are you there, Rosa? Rosa waves.", {"Rosa": "a rabbit"}),
        ("Doors open. Boom! Lina the cat comes.", {"Lina": "a cat"}),
        ("Lina, who is a cat, and Bo, who is a dog, run.", {"Lina": "a cat", "Bo": "a dog"}),
        (
            "A cat and a dog live by the same house. The dog, Bo, is black.",
            {"cat": "a cat", "Bo": "a black dog", "house": "a house"},
        ),
    ],
)
def test_names_and_looks(story, expected):
    assert cards(story) == expected


@pytest.mark.parametrize(
    ("story", "places"),
    [
        ("A cake stands on the table. Lina the cat comes in.", ["room", "room"]),
        ("Lina the cat sits in the forest. Snow is falling.", ["forest", "forest snowfall"]),
        ("Lina the cat sits in the kitchen. Outside the house Bo the dog waits.", ["room", "meadow"]),
        ("Lina the cat wants to go to the moon.", ["meadow"]),
        ("Lina the cat sees a red tent.", ["meadow"]),
        ("Lina the cat hides inside a drum.", ["meadow"]),
        ("Lina the cat sails her boat.", ["beach"]),
        ("In the mountains sits Lina the cat. A star lies in the grass.", ["mountains", "mountains"]),
        ("Lina the cat is in the snow. She comes home from school.", ["snow", "room"]),
    ],
)
def test_where_it_plays(story, places):
    assert [place for place, *_ in frames(story)] == places


def test_what_is_eaten_or_blown_away_or_taken_is_gone_afterwards():
    told = frames(PAIR + "They eat a cake. They laugh. The wind takes a kite away. They sing.")
    assert [set(shown) - {"Lina", "Bo"} for _, shown, _ in told[3:]] == [{"cake"}, set(), {"kite"}, set()]


def test_who_hides_stays_hidden_until_told_otherwise():
    told = frames(PAIR + "Bo hides behind a tree. Lina looks around. Bo runs.")
    assert [("Bo", "behind", "tree") in relations for *_, relations in told[3:]] == [True, True, False]


def test_attire_that_changes_later_is_left_out_and_said():
    told = cast("Lina is a cat. Bo is a dog with a hat. Bo gives Lina his hat.")
    assert told.roles[0].accessory is None
    assert "gives hat" in told.left_out

"""What plain code reads in a story before the model does."""

from pathlib import Path

import pytest

from raccord.planner.cast import Role, cast_story
from raccord.planner.reading import read_story
from raccord.planner.world import read_world

WORLD = read_world(Path(__file__).resolve().parents[2] / "models" / "planner" / "world.json")


def cast(story):
    return cast_story(read_story(story, WORLD), WORLD)


@pytest.mark.parametrize(
    "story",
    [
        "Lina the red cat with a hat sits.",
        "Lina, a red cat in a top hat, sits.",
        "A red cat wearing a hat named Lina sits.",
        "A red cat called Lina with a hat sits.",
        "There is the red cat Lina in a hat.",
        "Lina is a red kitten with a hat.",
        "Lina the red cat sits. She wears a hat.",
        "Lina the big red cat wears a hat.",
    ],
)
def test_looks_are_bound_to_names_however_they_are_told(story):
    assert cast(story).roles[0] == Role("#1", "cat", "red", "hat")


def test_without_a_hat_is_no_hat():
    assert cast("Lina the red cat without a hat sits.").roles == (Role("#1", "cat", "red"),)


def test_a_thing_wears_nothing_and_an_unnamed_one_is_its_noun():
    roles = cast("A green tree stands in the snow. A red cat finds the tree.").roles
    assert [role.name for role in roles] == ["tree", "cat"]
    assert roles[0].cards(WORLD) == ("a green tree",)
    assert roles[0].actions(WORLD) == WORLD.thing_actions


def test_a_noun_of_a_named_one_is_that_one():
    told = cast("Lina the red cat sits. The cat waits.")
    assert [role.name for role in told.roles] == ["#1"]
    assert told.choices[1].required == ("#1",)


def test_settings_are_kept_until_another_is_told():
    told = cast("Lina the cat sits. She walks to the beach. She waits. At night she sleeps.")
    assert [choice.backgrounds for choice in told.choices] == [("meadow",), ("beach",), ("beach",), ("night",)]


def test_those_not_named_stay_behind_when_the_setting_changes():
    told = cast("Lina the cat and Bo the dog sit by a tree. Lina goes to the beach.")
    assert told.choices[1].possible == ("#1",)
    together = cast("Lina the cat and Bo the dog sit. There is a tree. They go to the beach.")
    assert together.choices[2].possible == ("#1", "#2")
    assert together.choices[2].several


def test_whoever_leaves_is_gone():
    told = cast("Lina the cat and Bo the dog sit. Bo goes home and Lina waits. Bo comes back.")
    assert told.choices[1].required == told.choices[1].possible == ("#1",)
    assert told.choices[2].required == ("#2",)


def test_relations_join_the_names_around_their_words():
    told = cast("Lina the cat sits. Bo the dog sits to the left of Lina. She stands behind a tree.")
    assert told.choices[1].relations == (("#2", "left of", "#1"),)
    assert told.choices[2].relations == (("#2", "behind", "tree"),)


def test_two_unnamed_of_a_kind_cannot_be_told_apart_and_that_is_said():
    told = cast("A red cat sits. A blue cat comes.")
    assert told.left_out == ("blue cat",)


def test_verbs_tell_what_their_subjects_do():
    told = cast("Lina the cat sits and Bo the dog is waiting. They sleep. Lina stays and waits. Bo looks at Lina.")
    actions = [dict(choice.actions) for choice in told.choices]
    assert actions[0] == {"#1": "sitting", "#2": "waiting"}
    assert actions[1] == {"#1": "resting", "#2": "resting"}
    assert actions[2] == {"#1": "waiting"}
    assert actions[3] == {}

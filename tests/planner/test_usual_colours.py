"""What a story leaves open is filled in and said."""

import pytest

from raccord.planner.direct import propose
from raccord.planner.embedded import embedded_model
from raccord.planner.language_model import load_language_model


@pytest.fixture(scope="module")
def plan_of():
    model = load_language_model(embedded_model("planner"))
    return lambda text: propose(text, model=model)


def _cards(proposal):
    return {entity.name: entity.card for entity in proposal.plan.entities}


def _colours_told(proposal):
    return [told for told in proposal.repairs if "what colour" in told]


def test_a_colour_that_is_not_said_is_the_usual_one_and_reported(plan_of):
    proposal = plan_of("Lina is a fox. Lina sits under a tree on the beach.")
    assert _cards(proposal) == {"Lina": "an orange fox", "tree": "a green tree"}
    assert _colours_told(proposal) == [
        'the story does not say what colour "Lina" is; drawn as an orange fox',
        'the story does not say what colour "tree" is; drawn as a green tree',
    ]


def test_a_colour_that_is_said_stays(plan_of):
    proposal = plan_of("Lina is a blue fox with a hat. She sits on the beach.")
    assert _cards(proposal) == {"Lina": "a blue fox with a hat"}
    assert not _colours_told(proposal)


def test_two_things_of_a_kind_are_alike(plan_of):
    cards = _cards(plan_of("Lina is a red cat. Lina sees two stars at night."))
    assert list(cards.values()) == ["a red cat", "a yellow star", "a yellow star"]


def test_two_creatures_of_a_kind_get_different_colours(plan_of):
    cards = _cards(plan_of("Lina is an orange fox. Bo is a fox. Lina meets Bo in the forest."))
    assert cards == {"Lina": "an orange fox", "Bo": "a red fox"}


def test_a_being_of_unknown_kind_is_reported_once(plan_of):
    proposal = plan_of("Zorblat sits in the snow.")
    (told,) = [told for told in proposal.repairs if "Zorblat" in told]
    assert 'what "Zorblat" is' in told
    colours = proposal.plan.entities[0].card.split()
    assert len(colours) == 3

"""What plain code reads in a story before the model does."""

import pytest
from tellings import PAIR, WORLD, cards, cast, frames

from raccord.planner.cast import Role


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
        "Lina the happy red cat wears a hat.",
        "Lina is a cat. She is red with a hat.",
        "Lina the cat has a hat. The cat is red.",
        "A red cat wears a hat. Her name is Lina.",
    ],
)
def test_looks_are_bound_to_names_however_they_are_told(story):
    assert cast(story).roles == (Role("#1", "cat", "red", accessory="hat"),)


@pytest.mark.parametrize(
    "looks",
    [
        "a small striped red and white cat with a bow tie",
        "a little red and white striped cat wearing a bow tie",
        "a tiny red cat with white stripes and a bow tie",
        "a small striped red and white kitten in a bow tie",
    ],
)
def test_patterns_sizes_and_accessories_have_one_wording(looks):
    assert cards(f"Lina is {looks}.") == {"Lina": "a small striped red and white cat with a bow tie"}


def test_names_given_to_several_are_told_apart():
    assert cards("Two dogs, Max and Rex, run. Max is black. Rex is white and has glasses.") == {
        "Max": "a black dog",
        "Rex": "a white dog with glasses",
    }
    assert cards("Ruby and Sam are two foxes. Ruby is orange.") == {"Ruby": "an orange fox", "Sam": "a fox"}


@pytest.mark.parametrize(
    "story",
    [
        "Lina the red cat without a hat sits.",
        "Lina the red cat does not wear a hat.",
        "Lina the red cat has no hat.",
        "Lina the red cat runs without a hat.",
    ],
)
def test_a_denied_hat_is_no_hat(story):
    assert cast(story).roles == (Role("#1", "cat", "red"),)


def test_what_the_world_cannot_show_is_said():
    assert cast("Lina the cat wears a blue hat.").left_out == ("blue hat",)
    assert cast("Lina the cat wears a hat and a scarf.").left_out == ("scarf",)
    assert cast("Lina the cat with a hat sits. She takes off her hat.").left_out == ("takes off hat",)
    assert cast("Lina the red cat sits. The blue cat sleeps.").left_out == ("blue cat",)


def test_counts_make_so_many():
    told = cast("There are two red balls on the grass. Three dogs play with them.")
    assert [role.name for role in told.roles] == ["ball", "second ball", "dog", "second dog", "third dog"]
    assert told.choices[1].shown == ("ball", "second ball", "dog", "second dog", "third dog")
    assert [role.colour for role in told.roles] == ["red", "red", None, None, None]


def test_two_without_names_are_told_apart_by_what_differs():
    told = cast("A red cat sits. A blue cat comes. The red cat leaves.")
    assert [role.name for role in told.roles] == ["cat", "blue cat"]
    assert told.choices[2].shown == ("blue cat",)
    # The same looks said again are the same cat; another one is not.
    assert len(cast("A red cat sits. A red cat sleeps.").roles) == 1
    assert len(cast("A red cat sits. Another cat sleeps.").roles) == 2


def test_a_thing_wears_nothing_and_an_unnamed_one_is_its_noun():
    roles = cast("A green tree stands in the snow. A red cat finds the tree.").roles
    assert [role.name for role in roles] == ["tree", "cat"]
    assert roles[0].cards(WORLD) == ("a green tree",)
    assert roles[0].actions(WORLD) == WORLD.thing_actions


def test_a_noun_of_a_named_one_is_that_one():
    told = cast("Lina the red cat sits. The cat waits.")
    assert [role.name for role in told.roles] == ["#1"]
    assert told.choices[1].shown == ("#1",)


@pytest.mark.parametrize(
    ("sentence", "who"),
    [
        ("Anna the cat and Ben the dog sit. Anna meets Ben. He sleeps.", "#2"),
        ("Anna the cat and Ben the dog sit. Ben meets Anna. He sleeps.", "#2"),
        ("Anna the cat meets Mia the fox. She sleeps.", "#1"),
        ("Bozo the cat meets Zizi the fox. She sits. He sleeps.", "#2"),
        ("Anna the cat finds a ball. She looks at it. She sleeps.", "#1"),
        ("Anna the cat meets an owl. It sleeps.", "owl"),
    ],
)
def test_a_pronoun_is_whoever_it_can_be(sentence, who):
    told = cast(sentence)
    assert dict(told.choices[-1].actions)[who] == "sleeping"
    assert list(dict(told.choices[-1].actions).values()).count("sleeping") == 1


def test_the_object_of_a_sentence_is_not_its_subject():
    told = cast("Anna the cat meets Mia the fox. She sits next to her. Mia stands behind her.")
    assert told.choices[1].relations == (("#1", "next to", "#2"),)
    assert told.choices[2].relations == (("#2", "behind", "#1"),)
    assert cast("A car comes. A cat is driving it.").choices[1].relations == (("cat", "behind", "car"),)
    assert cast("Anna the cat and Ben the dog sit. A boat is next to them.").choices[1].relations == (
        ("boat", "next to", "#1"),
        ("boat", "next to", "#2"),
    )


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("in the forest", "forest"),
        ("in the woods at night", "forest night"),
        ("on a rainy street", "street rain"),
        ("in a snowy forest at dusk", "forest sunset snowfall"),
        ("on a snowy field", "snow"),
        ("in the snow", "snow"),
        ("under the stars while it rains", "meadow night rain"),
        ("from the beach to the mountains in the evening", "mountains sunset"),
        ("in the living room", "room"),
        ("on a hill in the moonlight", "meadow night"),
    ],
)
def test_places_in_words(words, place):
    told = cast(f"Lina the cat runs {words}.")
    assert told.choices[0].background == place
    assert [role.name for role in told.roles] == ["#1"]


def test_a_place_holds_until_another_is_told():
    told = cast(
        "Lina the cat sits. She walks to the beach. It rains. At night she sleeps. She goes into the room. She goes to "
        "the beach. The rain stops. The next morning she runs."
    )
    places = ["meadow", "beach", "beach rain", "beach night rain", "room night", "beach night rain", "beach night"]
    assert [choice.background for choice in told.choices] == [*places, "beach"]
    assert all(choice.background in WORLD.backgrounds for choice in told.choices)


def test_those_not_named_stay_behind_when_the_setting_changes():
    told = cast("Lina the cat and Bo the dog sit by a tree. Lina goes to the beach.")
    assert told.choices[1].shown == ("#1",)
    together = cast("Lina the cat and Bo the dog sit. There is a tree. They go to the beach.")
    assert together.choices[1].shown == ("#1", "#2", "tree")
    assert together.choices[2].shown == ("#1", "#2")
    stays = cast("Lina the cat and Bo the dog sit. Lina goes to the beach, but Bo stays behind.")
    assert stays.choices[1].shown == ("#1",)


def test_whoever_leaves_is_gone():
    told = cast("Lina the cat and Bo the dog sit. Bo goes home and Lina waits. Bo comes back.")
    assert told.choices[1].shown == ("#1",)
    assert told.choices[2].shown == ("#1", "#2")
    assert cast("Lina the cat and Bo the dog sit. Bo left.").choices[1].shown == ("#1",)
    assert cast("Lina the cat and Bo the dog sit. Lina sleeps without Bo.").choices[1].shown == ("#1",)
    assert cast("Lina the cat and Bo the dog find a car. Bo drives away.").choices[1].shown == ("#1",)
    # The last ones are seen leaving; who runs off to a place is seen there.
    assert cast("Lina the cat sits. She leaves.").choices[1].shown == ("#1",)
    assert cast("Lina the cat sits. She runs off into the forest.").choices[1].shown == ("#1",)


def test_relations_join_the_names_around_their_words():
    told = cast("Lina the cat sits. Bo the dog sits to the left of Lina. She stands behind a tree.")
    assert told.choices[1].relations == (("#2", "left of", "#1"),)
    assert told.choices[2].relations == (("#1", "behind", "tree"),)


@pytest.mark.parametrize(
    ("sentence", "relations"),
    [
        ("Behind a tree sits Bo the dog.", {("#1", "behind", "tree")}),
        ("Bo the dog stands between a house and a tree.", {("house", "left of", "#1"), ("#1", "left of", "tree")}),
        ("Bo the dog waits under an umbrella.", {("umbrella", "above", "#1")}),
        ("Bo the dog sits under a tree.", {("#1", "in front of", "tree")}),
        ("Bo the dog flies a kite.", {("kite", "above", "#1")}),
        ("Bo the dog holds a balloon.", {("#1", "next to", "balloon")}),
        ("Bo the dog sits in a boat.", {("#1", "behind", "boat")}),
        ("Bo the dog and a cat sit left of a car.", {("#1", "left of", "car"), ("cat", "left of", "car")}),
        ("Bo the dog runs on the beach by the sea.", set()),
    ],
)
def test_prepositions_and_what_is_done_with_things_are_relations(sentence, relations):
    assert set(cast(sentence).choices[0].relations) == relations


def test_verbs_tell_what_their_subjects_do():
    told = cast(
        "Lina the cat sits and Bo the dog is waiting. They sleep. Lina stays and waits. Bo looks at Lina. Bo yodels."
    )
    actions = [dict(choice.actions) for choice in told.choices]
    assert actions[0] == {"#1": "sitting", "#2": "waiting"}
    assert actions[1] == {"#1": "sleeping", "#2": "sleeping"}
    assert actions[2] == {"#1": "waiting", "#2": "sleeping"}
    assert actions[3] == {"#1": "waiting", "#2": "standing"}
    # What an unknown verb shows is the model's to say.
    assert actions[4] == {"#1": "waiting"}
    assert dict(cast("Lina the cat sits next to Bo the dog and sleeps.").choices[0].actions)["#1"] == "sleeping"


def test_any_story_that_names_somebody_shows_somebody_in_every_frame():
    told = cast("It is night. Nobody is there. Lina the cat comes. She leaves. It rains.")
    assert all(choice.shown for choice in told.choices)


def last(story):
    return frames(story)[-1]


@pytest.mark.parametrize(
    ("sentence", "place", "shown"),
    [
        ("Lina runs into the snow while Bo waits in a house.", "snow", {"Lina"}),
        ("Lina walks to a house and goes inside, but Bo stays in front of it.", "forest", {"Bo", "house"}),
        ("Bo reads a book while Lina walks off to the mountains.", "forest", {"Bo", "book"}),
        ("Lina has left and Bo is here.", "forest", {"Bo"}),
        ("Lina is not with Bo.", "forest", {"Bo"}),
    ],
)
def test_one_frame_shows_one_place_and_who_is_in_it(sentence, place, shown):
    found = last(PAIR + sentence)
    assert (found[0], set(found[1])) == (place, shown)


def test_who_goes_back_meets_those_who_stayed():
    told = frames(PAIR + "Lina walks to the beach. She sees a boat. She comes back and they sleep.")
    assert [set(shown) for _, shown, _ in told[3:]] == [{"Lina"}, {"Lina", "boat"}, {"Lina", "Bo"}]
    assert [place for place, _, _ in told[2:]] == ["forest", "beach", "beach", "forest"]


def test_going_out_of_a_room_is_going_where_they_were():
    assert [
        place for place, _, _ in frames("In the snow Lina the cat sits. She sleeps in her house. She goes outside.")
    ] == [
        "snow",
        "room",
        "snow",
    ]


@pytest.mark.parametrize(
    ("story", "shown"),
    [
        ("Lina the cat waits for Bo.", {"Lina"}),
        ("Lina is a cat who loves books.", {"Lina"}),
        ("Lina the cat has lost her ball.", {"Lina"}),
        ("Lina the cat sits. Bo the dog comes. Lina waits for Bo.", {"Lina", "Bo"}),
    ],
)
def test_who_is_only_waited_for_or_loved_is_not_there(story, shown):
    assert set(last(story)[1]) == shown


def test_what_comes_and_goes_in_one_frame_is_seen_there_and_only_there():
    told = frames("Bo the dog sits. Two rabbits hop by a house and the rabbits run away. Bo sleeps.")
    assert set(told[1][1]) == {"Bo", "rabbit", "second rabbit", "house"}
    assert set(told[2][1]) == {"Bo", "house"}


@pytest.mark.parametrize(
    ("before", "then", "action"),
    [
        ("sleeps", "Bo the dog wakes Lina", "standing"),
        ("sleeps", "she reads a book", "standing"),
        ("sleeps", "she holds a ball", "sleeping"),
        ("sits", "she dances", "standing"),
        ("sits", "she reads a book", "sitting"),
        ("runs", "she throws a ball", "standing"),
        ("runs", "Bo the dog sits", "running"),
        ("walks", "she does not see a ball", "standing"),
        ("sits", "she plays the drum", "standing"),
    ],
)
def test_what_somebody_does_lasts_until_it_cannot(before, then, action):
    assert last(f"Lina the cat {before}. Then {then}.")[1]["Lina"] == action


@pytest.mark.parametrize(
    ("sentence", "relation"),
    [
        ("Bo carries Lina on his back", ("Lina", "above", "Bo")),
        ("Lina climbs onto Bo's back", ("Lina", "above", "Bo")),
        ("Lina climbs onto a car", ("Lina", "above", "car")),
        ("they sit side by side", ("Lina", "next to", "Bo")),
        ("they sit next to each other", ("Lina", "next to", "Bo")),
        ("Lina stands on the left while Bo sleeps", ("Lina", "left of", "Bo")),
        ("beside Lina sits Bo", ("Bo", "next to", "Lina")),
        ("beside Lina is a ball", ("ball", "next to", "Lina")),
        ("Lina reads a book under a tree", ("Lina", "in front of", "tree")),
        ("between two trees Lina sees a house", ("tree", "left of", "house")),
        ("there is a boat and Lina sits in it", ("Lina", "behind", "boat")),
        ("Lina stands under a street lamp", ("lamp", "above", "Lina")),
        ("Lina sits to his right", ("Lina", "right of", "Bo")),
        ("Lina stands on Bo's left side", ("Lina", "left of", "Bo")),
        ("they walk, Lina in front and Bo behind her", ("Bo", "behind", "Lina")),
        ("they sit beneath a tree, and a balloon floats above them", ("balloon", "above", "Lina")),
    ],
)
def test_more_relations(sentence, relation):
    assert relation in last(f"{PAIR}Now {sentence}.")[2]


def test_a_hill_is_a_place_and_nothing_stands_above_it():
    assert last(PAIR + "They eat a cake on top of a hill, Lina to the left of Bo.")[2] == {("Lina", "left of", "Bo")}


def test_relations_last_while_nobody_moves():
    told = frames("Lina the cat waits under an umbrella. Bo the dog runs past her. Lina walks. Bo sits.")
    umbrella = ("umbrella", "above", "Lina")
    assert [umbrella in relations for _, _, relations in told] == [True, True, False, False]


def test_a_car_comes_along_with_its_driver():
    place, shown, relations = last(
        "Lina the cat sits in a car on the street. Bo the dog waits. They drive to the beach."
    )
    assert (place, set(shown)) == ("beach", {"Lina", "Bo", "car"})
    assert ("Lina", "behind", "car") in relations


@pytest.mark.parametrize(
    ("story", "looks"),
    [
        ("Lina is a cat. Lina is pink and very large.", {"Lina": "a large pink cat"}),
        ("Lina the cat has striped fur and a hat.", {"Lina": "a striped cat with a hat"}),
        ("Lina is a cat. She walks through the forest with a backpack.", {"Lina": "a cat with a backpack"}),
        ("Lina, a cat carrying a backpack, sits.", {"Lina": "a cat with a backpack"}),
        ("Mr Fox is a fox with a crown. Mr Fox sits.", {"Mr Fox": "a fox with a crown"}),
        ("A red cat sits. The cat, Lina, sleeps.", {"Lina": "a red cat"}),
        ("A red cat comes. I am Lina, she says.", {"Lina": "a red cat"}),
        ("A red cat comes. My name is Lina, says the cat.", {"Lina": "a red cat"}),
        ("Two cats sit: Lina is red and Mo is blue.", {"Lina": "a red cat", "Mo": "a blue cat"}),
        ("Lina and Mo are two small cats; Lina is red.", {"Lina": "a small red cat", "Mo": "a small cat"}),
        ("A red cat sits by a ball. The cat's name is Lina.", {"Lina": "a red cat", "ball": "a ball"}),
        ("A ball lies here. A red cat, whose name is Lina, sits.", {"ball": "a ball", "Lina": "a red cat"}),
        ("A red cat sits. It is called Lina.", {"Lina": "a red cat"}),
        ("A red cat sits. The cat, now called Lina, sleeps.", {"Lina": "a red cat"}),
        ("A red cat called Sunny sits. The ball hits her.", {"Sunny": "a red cat", "ball": "a ball"}),
        (
            "Two frogs live near a boat: Lina is red, Mo is blue.",
            {"Lina": "a red frog", "Mo": "a blue frog", "boat": "a boat"},
        ),
        ("On Monday Lina the cat sits.", {"Lina": "a cat"}),
        ("At last Lina comes, a red cat in a hat.", {"Lina": "a red cat with a hat"}),
        ("Sunny the cat sits. Then a ball hits Sunny.", {"Sunny": "a cat", "ball": "a ball"}),
        ("Lina the cat has a star-shaped balloon.", {"Lina": "a cat", "balloon": "a balloon"}),
        (
            "Ember is a purple dragon. Her brother Flint is green.",
            {"Ember": "a purple dragon", "Flint": "a green dragon"},
        ),
        ("Lina is a cat. Bo, her cousin, is a dog.", {"Lina": "a cat", "Bo": "a dog"}),
        ("Lina is a cat. Lina's little sister Mia sits.", {"Lina": "a cat", "Mia": "a cat"}),
        ("Lina and Bo are an owl and a cat. The owl is white.", {"Lina": "a white owl", "Bo": "a cat"}),
        ("Nobody has seen a frog as green as Bo.", {"Bo": "a green frog"}),
        (
            "Lina is a cat. Bo the cat is bigger than she is and wears a hat.",
            {"Lina": "a cat", "Bo": "a large cat with a hat"},
        ),
        ("Lina the cat wears neither a hat nor glasses.", {"Lina": "a cat"}),
    ],
)
def test_more_ways_to_tell_looks_and_names(story, looks):
    assert cards(story) == looks


def test_attire_is_told_apart_from_what_it_looks_like():
    told = cast("Lina, a cat in a striped bow tie, waits for Bo.")
    assert told.roles[0] == Role("#1", "cat", accessory="bow tie")
    assert told.left_out == ("striped bowtie",)


def test_what_finds_no_room_is_told_and_creatures_come_first():
    told = cast("Lina the cat chases four balls. Bo the dog sits beside a lamp and the four balls.")
    assert all(len(choice.shown) <= 5 for choice in told.choices)
    assert "#2" in told.choices[1].shown
    assert told.left_out


def test_who_does_something_and_leaves_is_seen_doing_it_and_takes_it_along():
    told = frames(PAIR + "Lina takes a ball and goes away. Bo sits.")
    assert [set(shown) for _, shown, _ in told[3:]] == [{"Lina", "Bo", "ball"}, {"Bo"}]


def test_who_leaves_with_something_takes_it_along():
    told = last(PAIR + "There are two balls. Lina leaves with the balls and Bo sits.")
    assert set(told[1]) == {"Bo"}


def test_who_is_outside_is_in_no_room():
    told = frames("Lina the cat sleeps in her house. Later she is outside.")
    assert [place for place, _, _ in told] == ["room", "meadow"]


def test_things_not_spoken_of_make_room_together():
    told = cast("Lina the cat and Bo the dog plant three flowers. They rest under a tree.")
    assert told.choices[1].shown == ("#1", "#2", "tree")


def test_who_is_given_a_hat_wears_it_and_what_is_found_is_told():
    assert cards("Lina the cat gives Bo the dog a hat.") == {"Lina": "a cat", "Bo": "a dog with a hat"}
    assert cast("Lina the cat finds a crown.").left_out == ("crown",)


def test_no_lamp_is_no_lamp():
    told = frames("Lina the cat sits beside a lamp. Now there is no lamp. A book lies there.")
    assert [set(shown) for _, shown, _ in told] == [{"Lina", "lamp"}, {"Lina"}, {"Lina", "book"}]


@pytest.mark.parametrize(
    ("story", "place"),
    [
        ("At night Lina the cat sits in the rain. She walks to the beach, where the sun is shining.", "beach"),
        ("Lina the cat sits. After that it rains.", "meadow rain"),
        ("Lina the cat sits. After the rain she sleeps.", "meadow"),
        ("Lina the cat sleeps in her house.", "room"),
    ],
)
def test_more_places(story, place):
    assert last(story)[0] == place


def test_who_is_let_in_is_inside_and_who_is_gone_leaves_what_is_left():
    told = frames(
        "Inside a little cottage sits Bo the bear by a lamp. Outside, Lina the cat stands in the snow. Bo lets her in, "
        "and she lies next to him, asleep. In the morning they are both gone, and only the lamp is left."
    )
    assert [place for place, *_ in told] == ["room", "snow", "room", "room"]
    assert [set(shown) for _, shown, _ in told] == [{"Bo", "lamp"}, {"Lina"}, {"Bo", "Lina"}, {"lamp"}]


def test_a_close_up_shows_whom_it_speaks_of_and_the_others_are_there_still():
    told = frames("Lina is a cat and Bo is a dog. Close-up: Lina smiles. They run.")
    assert [set(shown) for _, shown, _ in told] == [{"Lina", "Bo"}, {"Lina"}, {"Lina", "Bo"}]

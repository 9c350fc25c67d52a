"""The planner's world: the stage's vocabulary, and the wider English that its readers understand.

    .venv/bin/python -P benchmarks/planner/worlds.py

writes it into models/planner; the language model is not trained again for words that only plain code reads.
"""

import dataclasses
import itertools
import sys
from pathlib import Path

# Its neighbours, and the stage's modules, which import each other as `stage.world`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import english
import verbs
from stage.stories.character import PLURALS
from stage.stories.places import background_text, place_text
from stage.stories.story import story
from stage.stories.words import NOISE_ADJECTIVES, NOISE_ADVERBS
from stage.world import vocabulary as stage
from stage.world.scene import SIDE, natural_aspect

from raccord.planner.embedded import MANIFEST, check_folder, manifest
from raccord.planner.world import World, write_world


def new_world() -> World:
    """The stage's vocabulary, the words of the stories told about it, and what English has beside them."""
    kinds = {noun: kind for kind, nouns in stage.SYNONYMS.items() for noun in nouns if " " not in noun}
    kinds |= english.KINDS
    patterns = {word: pattern for pattern, told in stage.PATTERN_WORDS.items() for word in told}
    patterns |= {word: pattern for pattern, told in stage.PATTERN_NOUNS.items() for word in told}
    accessories = {word: what for what, told in stage.ACCESSORY_WORDS.items() for word in told if " " not in word}
    sizes = {word: size for size, told in stage.SIZE_WORDS.items() for word in told}
    settings, times, weathers = (_phrases(table) for table in (english.SETTINGS, english.TIMES, english.WEATHERS))
    for table, told in (
        (settings, stage.SETTING_PHRASES),
        (times, stage.TIME_PHRASES),
        (weathers, stage.WEATHER_PHRASES),
    ):
        table |= {words: what for what, named in told.items() for words in named}
    actions = ("standing", "walking", "waiting", "looking around", "sitting", "resting", "running", "sleeping")
    actions_of = {word: action for action, told in english.ACTION_WORDS.items() for word in told.split()}
    tables = (actions_of, english.VERBS, english.FORMS, kinds, patterns, settings, times, weathers)
    known = frozenset((*english.FUNCTION_WORDS, *(word for table in tables for told in table for word in told.split())))
    more = {verb: action for verb, action in verbs.verbs().items() if verb not in known}
    world = World(
        creatures=stage.CREATURES,
        things=stage.THINGS,
        kinds=kinds,
        plurals={plural: noun for noun, plural in PLURALS.items() if noun in kinds} | english.PLURALS,
        colours=tuple(stage.COLOURS),
        patterns=patterns,
        accessories={**accessories, **english.ACCESSORIES, "bowtie": "bow tie"},
        sizes=sizes,
        settings=settings,
        times=times,
        weathers=weathers,
        indoors=stage.INDOORS,
        backgrounds={},
        places={},
        creature_actions=actions,
        thing_actions=stage.THING_ACTIONS[:1],
        poses={action: pose for pose, told in stage.ACTIONS.items() for action in told}
        | {stage.THING_ACTIONS[0]: "standing"},
        action_words=actions_of | {verb: action for verb, action in more.items() if action is not None},
        verbs=(*english.VERBS, *(verb for verb, action in more.items() if action is None)),
        forms={**verbs.forms(known), **english.FORMS},
        floating=("kite", "balloon", "star"),
        scales=english.SCALES,
        usual_colours=english.USUAL_COLOURS,
        aspects=_aspects(),
        words=frozenset(),
        size=(SIDE, SIDE),
        max_sentences=12,
        max_names=6,
    )
    backgrounds: dict[str, str] = {}
    phrases: dict[str, str] = {}
    for setting, time, weather in itertools.product(stage.SETTINGS, stage.TIMES, stage.WEATHERS):
        if setting in stage.INDOORS and weather != stage.WEATHERS[0]:
            continue
        key = world.place_of(setting, time, weather)
        backgrounds[key] = background_text(setting, time, weather)
        phrases[key] = place_text(setting, time, weather)
    return dataclasses.replace(world, backgrounds=backgrounds, places=phrases, words=_words(world))


def _phrases(table: dict[str, str]) -> dict[str, str]:
    return {phrase.strip(): what for what, told in table.items() for phrase in told.split(",")}


def _aspects() -> dict[str, float]:
    """Width over height of every drawing, to three decimals."""
    creatures = itertools.product(stage.CREATURES, stage.POSES, stage.ACCESSORIES)
    things = itertools.product(stage.THINGS, ("standing",), ("none",))
    return {
        f"{kind}, {pose}, {accessory}": round(natural_aspect(kind, pose, accessory), 3)
        for kind, pose, accessory in (*creatures, *things)
    }


def _words(world: World) -> frozenset[str]:
    """Every word that is understood or passed over without loss."""
    tables = (world.kinds, world.plurals, world.colours, world.patterns, world.accessories, world.sizes, world.settings)
    tables += (
        world.times,
        world.weathers,
        world.action_words,
        world.verbs,
        world.forms.values(),
        english.FUNCTION_WORDS,
    )
    words = {word for table in tables for phrase in table for word in phrase.split()}
    for number in range(500):
        told = story(1, number)
        names = {name.lower() for name in told.names}
        words |= {word.lower() for word in told.text.replace(",", " ").replace(".", " ").split()} - names
    return frozenset(words - {*NOISE_ADVERBS, *NOISE_ADJECTIVES})


def main() -> None:
    """Write `world.json` of models/planner and its manifest."""
    folder = Path(__file__).resolve().parents[2] / "models" / "planner"
    (folder / "world.json").write_text(write_world(new_world()), encoding="utf-8")
    (folder / MANIFEST).write_text(manifest(folder), encoding="utf-8")
    check_folder(folder)


if __name__ == "__main__":
    main()

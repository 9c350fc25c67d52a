"""The characters and things of a story: who they are, and words for their looks."""

from dataclasses import dataclass

from raccord.planner.given_names import usual_gender
from stage.draws import Draws
from stage.stories import words
from stage.world.vocabulary import (
    ACCESSORIES,
    ACCESSORY_WORDS,
    COLOURS,
    CREATURES,
    PATTERN_NOUNS,
    PATTERN_WORDS,
    PATTERNS,
    SIZE_WORDS,
    SYNONYMS,
    THINGS,
    article,
    card,
    second_colours,
)

PLURALS = {
    noun: "mice" if noun == "mouse" else f"{noun}s" for nouns in SYNONYMS.values() for noun in nouns
} | dict.fromkeys(("fox",), "foxes")


@dataclass(frozen=True)
class Character:
    """Somebody or something of a story; `name` is a proper name or the noun it is called by. `twin` is the index of
    the second of "two balls", which is told of together with this one."""

    name: str
    named: bool
    kind: str
    noun: str
    colour: str | None
    second: str | None
    pattern: str
    accessory: str
    size: str | None
    pronoun: str
    twin: int | None = None

    @property
    def creature(self) -> bool:
        """Whether it can act."""
        return self.kind in CREATURES

    def card(self, *, dressed: bool = True) -> str:
        """Its looks in the world's own words."""
        return card(
            kind=self.kind,
            colour=self.colour,
            second=self.second,
            pattern=self.pattern,
            accessory=self.accessory if dressed else "none",
            size=self.size,
        )


def looks(character: Character, wording: Draws, *, dressed: bool = True, plural: bool = False) -> str:
    """Words for a character's looks without an article, "little striped red and white cat with a hat"."""
    before = [wording.choose(words.NOISE_ADJECTIVES)] if wording.chance(0.04) else []
    before += [wording.choose(SIZE_WORDS[character.size])] if character.size else []
    attached: list[str] = []
    colours = f"{character.colour} and {character.second}" if character.second else character.colour
    if character.pattern == "plain":
        before += [colours] if colours else []
    else:
        pattern = wording.choose(PATTERN_WORDS[character.pattern])
        form = wording.integer(4) if character.second else 0
        if form == 3:
            before.append(f"{character.colour}")
            attached.append(f"{character.second} {wording.choose(PATTERN_NOUNS[character.pattern])}")
        elif form == 2 and colours:
            before += [colours, pattern]
        else:
            before += [pattern, *([colours] if colours else [])]
    noun = PLURALS[character.noun] if plural else character.noun
    text = " ".join([*before, noun])
    if dressed and character.creature:
        if character.accessory != "none":
            attached.append(article(wording.choose(ACCESSORY_WORDS[character.accessory])))
        elif not attached and wording.chance(0.06):
            return f"{text} without {article(wording.choose(('hat', 'scarf', 'crown')))}"
    if not attached:
        return text
    worn = character.accessory != "none" and dressed and len(attached) == 1
    link = wording.choose(("with", "wearing", "in")) if worn else "with"
    return f"{text} {link} {' and '.join(attached)}"


def draw_cast(draws: Draws, size: int, *, held_out: bool) -> list[Character]:
    """Keyed characters that names and nouns tell apart; the first one can act."""
    cast: list[Character] = []
    while len(cast) < size:
        character = _draw(draws, creature=draws.chance(0.95 if not cast else 0.6), held_out=held_out)
        called = [other.name for other in cast] + [other.noun for other in cast]
        kinds = [other.kind for other in cast if not (character.named and other.named)]
        if character.name in called or character.noun in called or character.kind in kinds:
            continue
        if not character.creature and not character.named and cast and len(cast) + 1 < size and draws.chance(0.3):
            twin = Character(**{**vars(character), "name": f"second {character.noun}"})
            cast += [Character(**{**vars(character), "twin": len(cast) + 1}), twin]
        else:
            cast.append(character)
    return cast


def _draw(draws: Draws, *, creature: bool, held_out: bool) -> Character:
    kind = draws.choose(CREATURES if creature else THINGS)
    named = creature and draws.chance(0.85)
    # Synonyms of several words are read as one.
    noun = kind if draws.chance(0.8) else draws.choose(SYNONYMS[kind]).replace("sail boat", "sailboat")
    name = words.name(draws, held_out=held_out) if named else noun
    colour = None if draws.chance(0.08) else draws.choose(tuple(COLOURS))
    pattern = draws.choose(PATTERNS[1:]) if draws.chance(0.25) else "plain"
    second = draws.choose(second_colours(colour)) if pattern != "plain" and colour and draws.chance(0.85) else None
    accessory = draws.choose(ACCESSORIES[1:]) if creature and draws.chance(0.45) else "none"
    size = draws.choose(("small", "large")) if draws.chance(0.2) else None
    pronoun = (usual_gender(name) if named else None) or draws.choose(("she", "he", "it"))
    pronoun = pronoun if creature else "it"
    return Character(name, named, kind, noun, colour, second, pattern, accessory, size, pronoun)

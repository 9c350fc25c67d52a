"""Tells a story sentence by sentence, and keeps track of who is where and does what."""

from dataclasses import dataclass, field

from stage.draws import Draws
from stage.stories import words
from stage.stories.words import Phrases
from stage.world.vocabulary import ACCESSORY_WORDS, CREATURES, SETTINGS, article, card

_OBJECT_PRONOUNS = {"she": "her", "he": "him", "it": "it"}


@dataclass(frozen=True)
class Character:
    """Somebody or something of a story; `name` is a proper name or the noun it is called by."""

    name: str
    named: bool
    kind: str
    noun: str
    colour: str | None
    accessory: str
    pronoun: str

    @property
    def creature(self) -> bool:
        """Whether it can act."""
        return self.kind in CREATURES

    @property
    def card(self) -> str:
        """Its looks."""
        return card(kind=self.kind, colour=self.colour, accessory=self.accessory)


@dataclass
class Moment:
    """What a sentence shows: indices of the characters present, what each does, and (subject, relation, object)."""

    setting: str
    present: list[int]
    actions: dict[int, str]
    relation: tuple[int, str, int] | None


@dataclass
class Teller:
    """Tells one story sentence by sentence and keeps track of who is where."""

    draws: Draws
    cast: list[Character]
    held_out: bool
    setting: str = "meadow"
    present: list[int] = field(default_factory=list)
    introduced: list[int] = field(default_factory=list)
    actions: dict[int, str] = field(default_factory=dict)
    topic: int | None = None
    # Characters whose accessory a later sentence still has to tell.
    undressed: set[int] = field(default_factory=set)

    def say(self, phrases: Phrases) -> str:
        """One wording."""
        return words.phrase(phrases, self.draws, held_out=self.held_out)

    def looks(self, who: int, *, dressed: bool = True) -> str:
        """Colour and noun, with what a creature wears if `dressed`."""
        character = self.cast[who]
        adjectives = [self.draws.choose(words.NOISE_ADJECTIVES)] if self.draws.chance(0.06) else []
        adjectives += [character.colour] if character.colour else []
        text = " ".join([*adjectives, character.noun])
        if not dressed or not character.creature:
            return text
        if character.accessory == "none":
            return f"{text} without {article(self.draws.choose(('hat', 'scarf')))}" if self.draws.chance(0.04) else text
        link = self.draws.choose(("with", "wearing", "in"))
        return f"{text} {link} {article(self.draws.choose(ACCESSORY_WORDS[character.accessory]))}"

    def introduce(self, who: int) -> str:
        """The first mention of a character, with its looks."""
        self.introduced.append(who)
        character = self.cast[who]
        dressed = not (character.accessory != "none" and self.draws.chance(0.2))
        if not dressed:
            self.undressed.add(who)
        looks = self.looks(who, dressed=dressed)
        if not character.named:
            return article(looks)
        name = character.name
        forms = [
            f"{name} the {looks}",
            f"{name}, {article(looks)},",
            f"{article(looks)} named {name}",
            f"{article(looks)} called {name}",
            f"{name}, the {looks},",
        ]
        return self.draws.choose([*forms, f"the {looks} {name}"] if self.held_out else forms)

    def mention(self, who: int, *, subject: bool) -> str:
        """A character by name, pronoun or noun."""
        if who not in self.introduced:
            return self.introduce(who)
        character = self.cast[who]
        if who == self.topic and self.draws.chance(0.6 if subject else 0.25):
            return character.pronoun if subject else _OBJECT_PRONOUNS[character.pronoun]
        unique = sum(other.noun == character.noun or other.kind == character.kind for other in self.cast) == 1
        if not character.named or (unique and self.draws.chance(0.15)):
            return f"the {character.noun}"
        return character.name

    def place(self, chance: float) -> tuple[str, str]:
        """A setting phrase for the end of the sentence, or "" (probability 1 - chance), and the setting it leads to."""
        if not self.draws.chance(chance):
            return "", self.setting
        setting = self.draws.choose(SETTINGS)
        return f" {self.say(words.PLACES[setting])}", setting

    def located(self, text: str, place: str) -> str:
        """The sentence with its setting phrase, at the end or sometimes at the beginning."""
        return f"{place.strip()}, {text}" if place and self.draws.chance(0.2) else f"{text}{place}"

    def act(self, who: list[int], setting: str, action: str | None, *, alone: bool = False) -> None:
        """Bring `who` on, leave the others behind when the setting changes, and let `who` do `action` (None: what
        they did, or stand)."""
        if alone or (setting != self.setting and self.present):
            self.present, self.actions = [], {i: a for i, a in self.actions.items() if i in who}
        self.setting = setting
        self.present = sorted({*self.present, *who}, key=self.introduced.index)
        for i in who:
            if action is not None or i not in self.actions:
                self.actions[i] = (action or "standing") if self.cast[i].creature else "standing there"
        self.actions = {i: self.actions[i] for i in self.present}

    def together(self) -> str:
        """ " together" now and then."""
        return " together" if self.draws.chance(0.15) else ""

    def adverb(self) -> str:
        """A word outside the world now and then."""
        return f"{self.draws.choose(words.NOISE_ADVERBS)} " if self.draws.chance(0.05) else ""

    def sentence(self, arrivals: list[int]) -> tuple[str, Moment]:
        """The next sentence, in which `arrivals` appear for the first time, and the frame it shows."""
        relation: tuple[int, str, int] | None = None
        here = [i for i in self.present if self.cast[i].creature]
        if len(arrivals) >= 2:
            text = self._together(arrivals)
        elif arrivals and not here:
            text, relation = self._appear(arrivals[0])
        elif arrivals:
            text, relation = self._join(arrivals[0], self.draws.choose(here))
        else:
            text, relation = self._go_on(here)
        if self.draws.chance(0.2):
            text = f"{self.say(words.OPENERS)}{self.draws.choose((',', ''))} {text}"
        text = f"{text[0].upper()}{text[1:]}.".replace(",.", ".")
        return text, Moment(self.setting, list(self.present), dict(self.actions), relation)

    def _together(self, who: list[int]) -> str:
        subjects = " and ".join(self.mention(i, subject=True).rstrip(",") for i in who)
        action = self.draws.choose(tuple(words.VERBS))
        place, setting = self.place(0.6)
        self.act(who, setting, action)
        self.topic = None
        return self.located(f"{subjects} {self.adverb()}{self.say(words.VERBS[action][1])}{self.together()}", place)

    def _appear(self, who: int) -> tuple[str, tuple[int, str, int] | None]:
        """The first sentence about a character that nobody awaits."""
        character = self.cast[who]
        place, setting = self.place(0.7)
        style = self.draws.integer(4)
        self.topic = who
        if character.creature and character.named and style == 0:
            self.introduced.append(who)
            text = f"{character.name} is {article(self.looks(who))}{place}"
            self.act([who], setting, None)
        elif not character.creature or style == 1:
            name = f" {self.draws.choose(('named', 'called'))} {character.name}" if character.named else ""
            self.introduced.append(who)
            text = f"there is {article(self.looks(who))}{name}{place}"
            self.act([who], setting, None)
        else:
            text = self.located(f"{self.introduce(who)} {{}}", place)
            if who in self.undressed and self.draws.chance(0.7):
                return self._dress(who, text, setting), None
            text = text.format(self.adverb() + self._do([who], setting))
        return text, None

    def _do(self, who: list[int], setting: str, *, alone: bool = False) -> str:
        action = self.draws.choose(tuple(words.VERBS))
        self.act(who, setting, action, alone=alone)
        return self.say(words.VERBS[action][len(who) > 1])

    def _dress(self, who: int, text: str, setting: str) -> str:
        self.undressed.discard(who)
        worn = article(self.draws.choose(ACCESSORY_WORDS[self.cast[who].accessory]))
        self.act([who], setting, None)
        return text.format(f"{self.say(words.WEARS)} {worn}")

    def _join(self, who: int, host: int) -> tuple[str, tuple[int, str, int] | None]:
        """A character comes to those already present."""
        creature, style = self.cast[who].creature, self.draws.integer(4)
        if style == 0:
            return self._relate(who, host)
        if style == 1 and creature:
            place, setting = self.place(0.15)
            text = f"{self.mention(who, subject=True)} {self.adverb()}{self.say(words.COMES)}{place}"
            self.act([who], setting, None)
            self.topic = who
            return text, None
        place, setting = self.place(0.3)
        subject = self.mention(host, subject=True)
        verb = self.say(words.MEETS if creature else words.FINDS)
        text = self.located(f"{subject} {self.adverb()}{verb} {self.mention(who, subject=False).rstrip(',')}", place)
        self.act([host], setting, "standing")
        self.act([who], setting, "standing")
        self.topic = host
        return text, None

    def _relate(self, who: int, other: int) -> tuple[str, tuple[int, str, int]]:
        relation = self.draws.choose(tuple(words.RELATIONS))
        subject = self.mention(who, subject=True)
        if self.cast[who].creature:
            action = self.draws.choose(("sitting", "standing", "waiting", "resting"))
            verb = self.say(words.VERBS[action][0])
        else:
            action, verb = "standing", self.say(words.LIES)
        if not self.cast[who].creature and who not in self.present and self.draws.chance(0.4):
            subject, verb = f"there is {subject.rstrip(',')}", ""
        where = self.say(words.RELATIONS[relation])
        text = f"{subject} {verb} {where} {self.mention(other, subject=False).rstrip(',')}".replace("  ", " ")
        self.act([other], self.setting, None)
        self.act([who], self.setting, action)
        self.topic = who
        return text, (who, relation, other)

    def _go_on(self, here: list[int]) -> tuple[str, tuple[int, str, int] | None]:
        """A sentence about characters the story knows."""
        away = [i for i in self.introduced if i not in self.present and self.cast[i].creature]
        options = ["do", "do", "go"]
        options += ["relate", "relate"] if len(self.present) >= 2 and here else []
        options += ["they do", "they go", "leave", "alone", "each"] if len(here) >= 2 else []
        options += ["return", "return"] if away else []
        options += ["dress"] if any(i in self.undressed for i in here) else []
        style = self.draws.choose(options)
        # Somebody must act: a story of things alone repeats what is there.
        who = self.draws.choose(here or self.present)
        if self.topic in here and self.draws.chance(0.5):
            who = self.topic
        if style == "relate":
            other = self.draws.choose([i for i in self.present if i != who])
            return self._relate(who, other)
        if style in ("they do", "they go"):
            subject = (
                "they"
                if len(here) == len(self.present) and self.draws.chance(0.7)
                else " and ".join(self.mention(i, subject=False) for i in here)
            )
            return self._they(here, subject, moving=style == "they go"), None
        if style == "leave":
            text = f"{self.mention(who, subject=True)} {self.adverb()}{self.say(words.LEAVES)}"
            self.present.remove(who)
            self.actions.pop(who)
            self.topic = None
            if self.draws.chance(0.3):
                other = self.draws.choose([i for i in here if i != who])
                text = f"{text} and {self.mention(other, subject=False)} {self._do([other], self.setting)}"
            return text, None
        if style == "each":
            first, second = here[:2] if self.draws.chance(0.5) else here[1::-1]
            place, setting = self.place(0.2)
            texts = [f"{self.mention(i, subject=False)} {self._do([i], self.setting)}" for i in (first, second)]
            self.act([first, second], setting, None)
            self.topic = None
            return self.located(f"{texts[0]}{self.draws.choose((' and', ', and', ','))} {texts[1]}", place), None
        if style == "return":
            who = self.draws.choose(away)
            text = f"{self.mention(who, subject=True)} {self.say(words.RETURNS)}"
            self.act([who], self.setting, "standing")
        elif style == "dress":
            who = next(i for i in here if i in self.undressed)
            text = self._dress(who, f"{self.mention(who, subject=True)} {{}}", self.setting)
        elif not self.cast[who].creature:
            text = f"{self.mention(who, subject=True)} {self.say(words.LIES)} there"
            self.act([who], self.setting, None)
        elif style == "go":
            text = f"{self.mention(who, subject=True)} {self.adverb()}{self.say(words.GOES)}"
            setting = self.draws.choose([s for s in SETTINGS if s != self.setting])
            text = f"{text} {self.say(words.DESTINATIONS[setting])}"
            moved = [who]
            if len(self.present) > 1 and self.draws.chance(0.3):
                moved.append(self.draws.choose([i for i in self.present if i != who]))
                text = f"{text} with {self.mention(moved[1], subject=False)}"
            self.act(moved, setting, "walking")
        else:
            alone = style == "alone"
            subject = self.mention(who, subject=True)
            place, setting = self.place(0.35)
            verb = self._do([who], setting, alone=alone)
            text = self.located(f"{subject} {self.adverb()}{verb}{' ' + self.say(words.ALONE) if alone else ''}", place)
        self.topic = who
        return text, None

    def _they(self, who: list[int], subject: str, *, moving: bool) -> str:
        self.topic = None
        if moving:
            setting = self.draws.choose([s for s in SETTINGS if s != self.setting])
            self.act(who, setting, "walking")
            return f"{subject} {self.say(words.GO)} {self.say(words.DESTINATIONS[setting])}"
        place, setting = self.place(0.35)
        return self.located(f"{subject} {self._do(who, setting)}{self.together()}", place)

"""Tells a story sentence by sentence, and keeps track of who is where and does what.

What happens and how it is worded are drawn from two streams, so that one story can be told in several wordings.
"""

from dataclasses import dataclass, field

from raccord.planner.given_names import usual_gender
from stage.draws import Draws
from stage.stories import words
from stage.stories.character import Character, looks
from stage.stories.words import Phrases
from stage.world.vocabulary import ACCESSORY_WORDS, INDOORS, SETTINGS, TIMES, WEATHERS, article

_OBJECT_PRONOUNS = {"she": "her", "he": "him", "it": "it"}
_STILL = ("sitting", "standing", "waiting", "sleeping")


@dataclass
class Moment:
    """What a sentence shows: indices of the characters present, what each does, and (subject, relation, object)."""

    place: str
    present: list[int]
    actions: dict[int, str]
    relation: tuple[int, str, int] | None


@dataclass
class Teller:
    """Tells one story; `draws` key what happens, `wording` how it is said."""

    draws: Draws
    wording: Draws
    cast: list[Character]
    held_out: bool
    setting: str = SETTINGS[0]
    time: str = TIMES[0]
    weather: str = WEATHERS[0]
    present: list[int] = field(default_factory=list)
    introduced: list[int] = field(default_factory=list)
    actions: dict[int, str] = field(default_factory=dict)
    topic: int | None = None
    # Whose gender a reader knows.
    gendered: set[int] = field(default_factory=set)
    # Characters whose accessory a later sentence still has to tell.
    undressed: set[int] = field(default_factory=set)

    def sentence(self, arrivals: list[int]) -> tuple[str, Moment]:
        """The next sentence, in which `arrivals` appear for the first time, and the frame it shows."""
        relation: tuple[int, str, int] | None = None
        here = [i for i in self.present if self.cast[i].creature]
        if len(arrivals) >= 2:
            text = self._together(arrivals)
        elif arrivals and not here:
            text = self._appear(arrivals[0])
        elif arrivals:
            text, relation = self._join(arrivals[0], self.draws.choose(here))
        else:
            text, relation = self._go_on(here)
        if self.wording.chance(0.2):
            text = f"{self._say(words.OPENERS)}{self.wording.choose((',', ''))} {text}"
        text = f"{text[0].upper()}{text[1:]}.".replace(",.", ".").replace(",,", ",")
        return text, Moment(self.place(), list(self.present), dict(self.actions), relation)

    def place(self) -> str:
        """The key of the present place in the planner's world: "forest", "forest night rain"."""
        weather = WEATHERS[0] if self.setting in INDOORS else self.weather
        parts = [self.setting, self.time if self.time != TIMES[0] else "", weather if weather != WEATHERS[0] else ""]
        return " ".join(part for part in parts if part)

    def _say(self, phrases: Phrases) -> str:
        return words.phrase(phrases, self.wording, held_out=self.held_out)

    def _introduce(self, who: int) -> str:
        """The first mention of a character, with its looks."""
        character = self.cast[who]
        self.introduced.append(who)
        if character.named and usual_gender(character.name):
            self.gendered.add(who)
        if character.twin is not None:
            self.introduced.append(character.twin)
            return f"two {looks(character, self.wording, plural=True)}"
        dressed = not (character.accessory != "none" and self.draws.chance(0.2))
        if not dressed:
            self.undressed.add(who)
        text = looks(character, self.wording, dressed=dressed)
        if not character.named:
            return article(text)
        name = character.name
        forms = [
            f"{name} the {text}",
            f"{name}, {article(text)},",
            f"{article(text)} named {name}",
            f"{article(text)} called {name}",
            f"{name}, the {text},",
        ]
        return self.wording.choose([*forms, f"the {text} {name}"] if self.held_out else forms)

    def _mention(self, who: int, *, subject: bool) -> str:
        """A character by name, pronoun or noun."""
        if who not in self.introduced:
            return self._introduce(who)
        character = self.cast[who]
        if character.twin is not None:
            noun_phrase, _, _ = looks(character, self.wording, plural=True).partition(" with ")
            return f"the {noun_phrase.split()[-1]}"
        if self._pronoun_is_clear(who, subject) and self.wording.chance(0.6 if subject else 0.4):
            self.gendered.add(who)
            return character.pronoun if subject else _OBJECT_PRONOUNS[character.pronoun]
        if not character.named or self.wording.chance(0.15):
            return f"the {character.noun}"
        return character.name

    def _pronoun_is_clear(self, who: int, subject: bool) -> bool:
        """Whether a reader takes the pronoun of `who` for `who`: the last subject, of whose gender nobody else is."""
        character = self.cast[who]
        if not character.named:
            return False
        others = [i for i in self.introduced if i != who]
        unclear = any(
            (i in self.gendered and self.cast[i].pronoun == character.pronoun)
            # "It" is rather something without a name.
            or (character.pronoun == "it" and not self.cast[i].named)
            for i in others
        )
        known = who in self.gendered
        return not unclear and (who == self.topic if subject else known)

    def _move(self, chance: float, *, setting: bool = True) -> tuple[str, tuple[str, str, str]]:
        """Words for where, when and in what weather, or "", and the place they lead to."""
        place = [self.setting, self.time, self.weather]
        if not self.draws.chance(chance):
            return "", (self.setting, self.time, self.weather)
        told: list[str] = []
        new = self.draws.choose(SETTINGS) if setting and self.draws.chance(0.75) else None
        weather = (
            self.draws.choose(WEATHERS) if self.draws.chance(0.2) and (new or self.setting) not in INDOORS else None
        )
        time = self.draws.choose(TIMES) if self.draws.chance(0.3) or (new is None and weather is None) else None
        if new is not None:
            place[0] = new
            phrase = self._say(words.PLACES[new]).split()
            adjective = words.WEATHER_ADJECTIVES.get(weather or "")
            if (
                adjective
                and new != "snow"
                and phrase[0] != "among"
                and phrase[1] in ("a", "the")
                and self.wording.chance(0.4)
            ):
                phrase.insert(2, adjective)
                place[2], weather = weather or place[2], None
            told.append(" ".join(phrase))
        if time is not None:
            place[1] = time
            told.append(self._say(words.TIMES[time]))
        if weather is not None:
            place[2] = weather
            told.append(self._say(words.WEATHERS[weather]))
        return f" {' '.join(told)}", (place[0], place[1], place[2])

    def _located(self, text: str, place: str) -> str:
        """The sentence with its place, at the end or sometimes at the beginning."""
        return f"{place.strip()}, {text}" if place and self.wording.chance(0.2) else f"{text}{place}"

    def _act(
        self,
        who: list[int],
        place: tuple[str, str, str],
        action: str | None,
        *,
        alone: bool = False,
        keep: bool = False,
    ) -> None:
        """Bring `who` on, leave the others behind when the setting changes (unless `keep`), and let `who` do `action`
        (None: what they did, or stand)."""
        who = [*who, *(twin for i in who if (twin := self.cast[i].twin) is not None)]
        moved = place[0] != self.setting
        if alone or (moved and not keep):
            self.present = []
        elif moved:
            self.present = [i for i in self.present if self.cast[i].creature]
        if moved:
            self.actions = {}
        self.setting, self.time, self.weather = place
        self.present = sorted({*self.present, *who}, key=self.introduced.index)
        for i in who:
            if action is not None or i not in self.actions:
                self.actions[i] = (action or "standing") if self.cast[i].creature else "standing there"
        self.actions = {i: self.actions.get(i, "standing") for i in self.present}

    def _here(self) -> tuple[str, str, str]:
        return self.setting, self.time, self.weather

    def _adverb(self) -> str:
        return f"{self.wording.choose(words.NOISE_ADVERBS)} " if self.wording.chance(0.04) else ""

    def _together_word(self) -> str:
        return " together" if self.wording.chance(0.15) else ""

    def _verb(self, action: str, count: int) -> str:
        return self._say(words.VERBS[action][count > 1])

    def _together(self, who: list[int]) -> str:
        """Several appear at once: those that can act do something, things are seen."""
        place, target = self._move(0.6)
        action = self.draws.choose(tuple(words.VERBS))
        creatures = [i for i in who if self.cast[i].creature]
        things = [i for i in who if not self.cast[i].creature]
        subjects = " and ".join(self._mention(i, subject=True).rstrip(",") for i in creatures)
        if not creatures:
            text = f"there are {' and '.join(self._mention(i, subject=True) for i in things)}"
        elif things:
            verb = self._say(words.FINDS).replace("finds", "find" if len(creatures) > 1 else "finds")
            verb = verb if len(creatures) == 1 else "find"
            action = "standing"
            text = f"{subjects} {verb} {' and '.join(self._mention(i, subject=False) for i in things)}"
        else:
            verb = self._verb(action, len(creatures))
            text = f"{subjects} {self._adverb()}{verb}{self._together_word() if len(creatures) > 1 else ''}"
        self._act(who, target, None)
        if creatures:
            self._act(creatures, target, action)
        self.topic = creatures[0] if len(creatures) == 1 else None
        return self._located(text, place)

    def _appear(self, who: int) -> str:
        """The first sentence about a character that nobody awaits."""
        character = self.cast[who]
        place, target = self._move(0.7)
        acting = character.creature and self.draws.chance(0.55)
        action = self.draws.choose(tuple(words.VERBS))
        self.topic = who
        if not acting:
            text = self._introduce(who)
            dressed = who not in self.undressed
            self._act([who], target, None)
            if character.twin is not None:
                self.topic = None
                return f"there are {text}{place}"
            if character.named and self.wording.chance(0.6):
                return f"{character.name} is {article(looks(character, self.wording, dressed=dressed))}{place}"
            name = f" {self.wording.choose(('named', 'called'))} {character.name}" if character.named else ""
            return f"there is {article(looks(character, self.wording, dressed=dressed))}{name}{place}"
        text = self._introduce(who)
        if who in self.undressed and self.draws.chance(0.7):
            return self._dress(who, text, target)
        self._act([who], target, action)
        return self._located(f"{text} {self._adverb()}{self._verb(action, 1)}", place)

    def _dress(self, who: int, subject: str, target: tuple[str, str, str]) -> str:
        self.undressed.discard(who)
        worn = article(self.wording.choose(ACCESSORY_WORDS[self.cast[who].accessory]))
        self._act([who], (self.setting, self.time, self.weather), None)
        return f"{subject} {self._say(words.WEARS)} {worn}"

    def _join(self, who: int, host: int) -> tuple[str, tuple[int, str, int] | None]:
        """A character comes to those already present."""
        character, style = self.cast[who], self.draws.integer(4)
        if style == 0 and character.twin is None:
            return self._relate(who, host)
        if style == 1 and character.creature:
            place, target = self._move(0.15)
            text = f"{self._mention(who, subject=True)} {self._adverb()}{self._say(words.COMES)}{place}"
            self._act([who], target, "standing")
            self.topic = who
            return text, None
        if style == 2 and not character.creature and character.twin is None:
            return self._hold(host, who)
        place, target = self._move(0.3)
        subject = self._mention(host, subject=True)
        verb = self._say(words.MEETS if character.creature else words.FINDS)
        text = f"{subject} {self._adverb()}{verb} {self._mention(who, subject=False).rstrip(',')}"
        self._act([host], target, "standing")
        self._act([who], target, "standing")
        self.topic = host
        return self._located(text, place), None

    def _hold(self, host: int, who: int) -> tuple[str, tuple[int, str, int]]:
        text = f"{self._mention(host, subject=True)} {self._say(words.HOLDS)} {self._mention(who, subject=False)}"
        self._act([host, who], self._here(), None)
        self.topic = host
        return text, (host, "next to", who)

    def _relate(self, who: int, other: int) -> tuple[str, tuple[int, str, int]]:
        relation = self.draws.choose(tuple(words.RELATIONS))
        creature = self.cast[who].creature
        action = self.draws.choose(_STILL) if creature else "standing there"
        seen = not creature and who not in self.present and self.draws.chance(0.4)
        subject = self._mention(who, subject=True)
        verb = self._verb(action, 1) if creature else self._say(words.LIES)
        subject, verb = (f"there is {subject}", "") if seen else (subject, f" {verb}")
        where = self._say(words.RELATIONS[relation])
        text = f"{subject.rstrip(',') if not verb else subject}{verb} {where} "
        # An object pronoun is nobody's own subject.
        text += self._mention(other, subject=False).rstrip(",")
        self._act([other], self._here(), None)
        self._act([who], self._here(), action if creature else None)
        self.topic = who
        return text, (who, relation, other)

    def _go_on(self, here: list[int]) -> tuple[str, tuple[int, str, int] | None]:
        """A sentence about characters the story knows."""
        away = [i for i in self.introduced if i not in self.present and self.cast[i].creature]
        alone = [i for i in self.present if self.cast[i].twin is None and not self._is_twin(i)]
        options = ["do", "do", "go", "ambient"]
        options += ["relate", "relate"] if len(alone) >= 2 and here else []
        options += ["they do", "they go", "leave", "alone", "each"] if len(here) >= 2 else []
        options += ["return", "return"] if away else []
        options += ["dress"] if any(i in self.undressed for i in here) else []
        style = self.draws.choose(options)
        if not here and style != "return":
            style = "ambient"
        if style == "ambient":
            return self._ambient(), None
        who = self.draws.choose(here or self.present)
        if self.topic in here and self.draws.chance(0.5):
            who = self.topic
        if style == "relate":
            other = self.draws.choose([i for i in alone if i != who])
            return self._relate(who, other)
        if style in ("they do", "they go"):
            return self._they(here, moving=style == "they go"), None
        if style == "leave":
            return self._leave(who, here), None
        if style == "each":
            return self._each(*(here[:2] if self.draws.chance(0.5) else here[1::-1])), None
        if style == "return":
            who = self.draws.choose(away)
            text = f"{self._mention(who, subject=True)} {self._say(words.RETURNS)}"
            self._act([who], self._here(), "standing")
        elif style == "dress":
            who = next(i for i in here if i in self.undressed)
            text = self._dress(who, self._mention(who, subject=True), self._here())
        elif style == "go":
            text = self._go(who)
        else:
            text = self._do(who, alone=style == "alone")
        self.topic = who
        return text, None

    def _is_twin(self, who: int) -> bool:
        return any(character.twin == who for character in self.cast)

    def _ambient(self) -> str:
        """Time or weather alone changes; everybody goes on with what they do."""
        if self.setting not in INDOORS and self.draws.chance(0.5):
            self.weather = self.draws.choose([weather for weather in WEATHERS if weather != self.weather])
            return self._say(words.WEATHER_COMES[self.weather])
        self.time = self.draws.choose([time for time in TIMES if time != self.time])
        return self._say(words.TIME_COMES[self.time])

    def _go(self, who: int) -> str:
        text = f"{self._mention(who, subject=True)} {self._adverb()}{self._say(words.GOES)}"
        setting = self.draws.choose([setting for setting in SETTINGS if setting != self.setting])
        text = f"{text} {self._say(words.DESTINATIONS[setting])}"
        moved = [who]
        others = [i for i in self.present if i != who and not self._is_twin(i)]
        if others and self.draws.chance(0.3):
            moved.append(self.draws.choose(others))
            text = f"{text} with {self._mention(moved[1], subject=False)}"
        self._act(moved, (setting, self.time, self.weather), None)
        self._act([who], (setting, self.time, self.weather), "walking")
        return text

    def _do(self, who: int, *, alone: bool) -> str:
        subject = self._mention(who, subject=True)
        place, target = self._move(0.35)
        action = self.draws.choose(tuple(words.VERBS))
        self._act([who], target, action, alone=alone)
        ending = f" {self._say(words.ALONE)}" if alone else ""
        return self._located(f"{subject} {self._adverb()}{self._verb(action, 1)}{ending}", place)

    def _leave(self, who: int, here: list[int]) -> str:
        text = f"{self._mention(who, subject=True)} {self._adverb()}{self._say(words.LEAVES)}"
        self.present.remove(who)
        self.actions.pop(who)
        self.topic = None
        if self.draws.chance(0.3):
            other = self.draws.choose([i for i in here if i != who])
            action = self.draws.choose(tuple(words.VERBS))
            text = f"{text} and {self._mention(other, subject=False)} {self._verb(action, 1)}"
            self._act([other], self._here(), action)
        return text

    def _each(self, first: int, second: int) -> str:
        place, target = self._move(0.2)
        actions = [self.draws.choose(tuple(words.VERBS)) for _ in range(2)]
        self.topic = None
        told = [
            f"{self.cast[who].name if self.cast[who].named else 'the ' + self.cast[who].noun} {self._verb(action, 1)}"
            for who, action in zip((first, second), actions, strict=True)
        ]
        self._act([first, second], target, None)
        for who, action in zip((first, second), actions, strict=True):
            self._act([who], target, action)
        return self._located(f"{told[0]}{self.wording.choose((' and', ', and', ' while'))} {told[1]}", place)

    def _they(self, who: list[int], *, moving: bool) -> str:
        self.topic = None
        names = " and ".join(self._mention(i, subject=False) for i in who)
        subject = self.wording.choose(("they", "they", "they both" if len(who) == 2 else "they", names))
        if moving:
            setting = self.draws.choose([setting for setting in SETTINGS if setting != self.setting])
            self._act(who, (setting, self.time, self.weather), "walking")
            return f"{subject} {self._say(words.GO)} {self._say(words.DESTINATIONS[setting])}"
        action = self.draws.choose(tuple(words.VERBS))
        place, target = self._move(0.35)
        self._act(who, target, action)
        return self._located(f"{subject} {self._verb(action, len(who))}{self._together_word()}", place)

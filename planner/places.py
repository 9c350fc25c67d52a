"""Where, when and in what weather a sentence plays."""

from collections.abc import Sequence
from typing import NamedTuple

from raccord.planner.reading import UNKNOWN
from raccord.planner.world import World

_LONGEST = 4
_ENDING = ("stops", "ends", "no", "not", "over", "after")
_THROUGH = ("in", "through", "under", "falling")
_THINKING = ("dreams", "dream", "dreaming", "thinks", "think", "talks", "talk", "hears", "tells", "sings", "reads")
_WISHING = ("wants", "want", "hopes", "plans", "wishes", "asks", "decides")
# Indoors for certain.
_SOFT = frozenset("armchair sofa couch carpet rug fireplace stove bed".split())
_LEAVING = ("leaves", "leave", "left", "forgets", "loses")
_OWN = ("his", "her", "its", "their", "the", "a")
# Indoors, unless the story says where it plays.
_FURNITURE = frozenset("table desk floor window oven shelf windowsill".split())
# "Has snow on her hat", "loves the sea".
_OWNING = frozenset("has have likes like loves love hates hate hears hear smells paints draws".split())
_BUILDINGS = frozenset("barn tent castle palace school museum shop bakery cafe restaurant cabin hut library".split())
_WITHIN = ("in", "into", "inside", "at", "to", "through", "enters", "enter")
_INTO = ("in", "into", "inside")


class Place(NamedTuple):
    """Setting, time and weather, as the world calls them."""

    setting: str
    time: str
    weather: str


class PlaceTold(NamedTuple):
    """Where a sentence plays.

    Attributes:
        place: it, as far as told, else what held before.
        moved: whether its setting is another one than before.
        taken: positions of the tokens that say so; ambient: those of them that tell of time or weather.
        settings: positions of the tokens that name a setting, with the setting.
        furnished: whether only its furniture tells that it is a room.
    """

    place: Place
    moved: bool
    taken: frozenset[int]
    ambient: frozenset[int]
    settings: tuple[tuple[int, str], ...]
    furnished: bool = False

    def at(self, setting: str, before: Place) -> "PlaceTold":
        """The same, but playing in `setting`."""
        return self._replace(place=self.place._replace(setting=setting), moved=setting != before.setting)


class _Found(NamedTuple):
    start: int
    end: int
    sort: str
    what: str


def read_place(words: Sequence[str], before: Place, world: World, *, settled: bool = True) -> PlaceTold:
    """Where a sentence plays that follows one at `before`; of several settings the last one counts ("from the forest
    to the beach"). Unless the place is `settled` already, furniture tells that it is a room."""
    found = _found(words, world, before.setting)
    snow = [told for told in found if _is_weather(words, told, found)]
    settings = [told for told in found if told.sort == "setting" and told not in snow]
    # What is only dreamt of, or wanted, is no place yet.
    settings = [told for told in settings if not _wished(words, told.start) and not _left_there(words, told.start)]
    if settled or any(words[told.end - 1] not in _FURNITURE for told in settings):
        # A table may stand anywhere.
        settings = [told for told in settings if words[told.end - 1] not in _FURNITURE]
    if settled and before.setting not in world.indoors:
        # There is grass in the mountains, too.
        settings = [told for told in settings if list(words[told.start - 2 : told.end]) != ["in", "the", "grass"]]
    times = [told for told in found if told.sort == "time" and not _wished(words, told.start)]
    weathers = [told for told in found if told.sort == "weather" and not _wished(words, told.start)] + [
        told._replace(sort="weather", what="snowfall") for told in snow
    ]
    setting, time, weather = before
    setting = settings[-1].what if settings else setting
    time = times[-1].what if times else time
    if weathers:
        start, end, _, weather = weathers[-1]
        near = [*words[max(0, start - 2) : start], *words[end : end + 2]]
        # "After that it rains": it does.
        near = near[2:] if near[:2] == ["after", "that"] else near
        weather = world.usual[2] if any(word in _ENDING for word in near) else weather
    ambient = [told for told in found if told.sort != "setting"]
    return PlaceTold(
        Place(setting, time, weather),
        setting != before.setting,
        _positions(found),
        _positions(ambient),
        tuple((told.start, told.what) for told in settings),
        any(told.sort == "setting" and words[told.end - 1] in _FURNITURE | _SOFT for told in found)
        and not any(words[told.end - 1] not in _FURNITURE | _SOFT for told in settings),
    )


def _left_there(words: Sequence[str], at: int) -> bool:
    """Whether only something is left in the setting at `at`: "leaves his glasses at home"."""
    owned = [n for n in range(max(0, at - 6), at - 1) if words[n] in _LEAVING and words[n + 1] in _OWN]
    return bool(owned) and not {"and", ","} & {*words[owned[-1] : at]}


def _is_only_seen(words: Sequence[str], at: int) -> bool:
    """Whether the building at `at` is not said to be where anybody is: "he sees a red tent"."""
    near = words[max(0, at - 4) : at]
    return words[at] in _BUILDINGS and not any(word in _WITHIN for word in near)


def _come_from(words: Sequence[str], at: int) -> bool:
    """Whether the setting at `at` is where somebody comes from: "comes home from school"."""
    near = [word for word in words[max(0, at - 6) : at] if word not in ("a", "an", "the", "his", "her", "their")]
    return near[-1:] == ["from"] and bool({"comes", "come", "returns", "return", "back", "home"} & {*near})


def _wished(words: Sequence[str], at: int) -> bool:
    """Whether the setting at `at` is only thought of ("dreams of the sea", "wants to go to the beach")."""
    before = [word for word in words[max(0, at - 6) : at] if word not in ("a", "an", "the")]
    if _come_from(words, at) or _is_only_seen(words, at) or list(words[at : at + 2]) == ["windowsill", "of"]:
        return True
    if before[-1:] and (before[-1] in _OWNING or before[-2:] == ["afraid", "of"]):
        return True
    if before[-1:] and before[-1] in ("of", "about") and before[-2:-1] and before[-2] in _THINKING:
        return True
    wish = [n for n, word in enumerate(before) if word in _WISHING]
    return bool(wish) and "to" in before[wish[-1] + 1 :] and not {"and", ",", "so"} & {*before[wish[-1] + 1 :]}


def _positions(found: Sequence[_Found]) -> frozenset[int]:
    return frozenset(at for told in found for at in range(told.start, told.end))


def _found(words: Sequence[str], world: World, before: str) -> list[_Found]:
    """The longest phrases that tell of a place, in order; `before` is the setting so far."""
    found, at = [], 0
    while at < len(words):
        inside = _indoors(words, at, world)
        if inside is not None:
            found.append(_Found(at, inside, "setting", world.indoors[0]))
            at = inside
            continue
        if words[at] == "inside" and ("roof" in words or _thing_at(words, at + 1, world)):
            # "Inside a drum."
            at += 1
            continue
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            told = world.place_words.get(" ".join(words[at : at + length]))
            if told is not None and not (length == 1 and _describes(words, at, told[0][0], world)):
                # There is sand in a desert, too.
                sandy = before == "desert" and words[at : at + length] == ["sand"]
                found += [_Found(at, at + length, *((one[0], before) if sandy else one)) for one in told]
                at += length - 1
                break
        at += 1
    return found


def _describes(words: Sequence[str], at: int, sort: str, world: World) -> bool:
    """Whether a setting's word says what sort of thing follows ("a street lamp"), or "dark" which colour."""
    following = words[at + 1] if at + 1 < len(words) else ""
    thing = following in world.kinds or following in world.plurals
    dark = words[at] == "dark" and following == UNKNOWN
    return (sort == "setting" and thing) or (sort == "time" and (following in world.colours or thing or dark))


def _thing_at(words: Sequence[str], at: int, world: World) -> bool:
    """Whether a thing that is no house is spoken of at `at`."""
    noun = next((word for word in words[at : at + 4] if word in world.kinds), "")
    return words[at : at + 1] != [] and words[at] in _OWN and world.kinds.get(noun, "house") != "house"


def _indoors(words: Sequence[str], at: int, world: World) -> int | None:
    """Where "inside a little cottage" or, at the beginning, "back home" at `at` ends: there is room in it. None for
    what is no such place; where somebody only lives is one only if the sentence says no more."""
    if list(words[at : at + 2]) == ["back", "home"] and (at == 0 or words[at - 1] in (",", "and", "are", "is")):
        return at + 2
    if words[at] not in _INTO or "lives" in words or "live" in words:
        return None
    end = at + 1
    if words[end : end + 1] and words[end] in ("the", "a", "an", "his", "her", "their", "its", "that"):
        end += 1
    described = end
    while end < len(words) and (words[end] in world.colours or words[end] in world.sizes or words[end] == UNKNOWN):
        end += 1
    house = world.kinds.get(words[end]) == "house" if end < len(words) else False
    return end + 1 if house and end > described else None


def _is_weather(words: Sequence[str], told: _Found, found: Sequence[_Found]) -> bool:
    """Whether "in the snow" tells of the weather, since another setting is named too."""
    others = [other for other in found if other.sort == "setting" and other.what != told.what]
    through = any(word in _THROUGH for word in words[max(0, told.start - 2) : told.end])
    return told[2:] == ("setting", "snow") and bool(others) and through

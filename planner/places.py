"""Where, when and in what weather a sentence plays."""

from collections.abc import Sequence
from typing import NamedTuple

from raccord.planner.world import World

_LONGEST = 4
_ENDING = ("stops", "ends", "no", "not", "over", "after")
_THROUGH = ("in", "through", "under", "falling")


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
    """

    place: Place
    moved: bool
    taken: frozenset[int]
    ambient: frozenset[int]
    settings: tuple[tuple[int, str], ...]

    def at(self, setting: str, before: Place) -> "PlaceTold":
        """The same, but playing in `setting`."""
        return self._replace(place=self.place._replace(setting=setting), moved=setting != before.setting)


class _Found(NamedTuple):
    start: int
    end: int
    sort: str
    what: str


def read_place(words: Sequence[str], before: Place, world: World) -> PlaceTold:
    """Where a sentence plays that follows one at `before`; of several settings the last one counts ("from the forest
    to the beach")."""
    found = _found(words, world)
    snow = [told for told in found if _is_weather(words, told, found)]
    settings = [told for told in found if told.sort == "setting" and told not in snow]
    times = [told for told in found if told.sort == "time"]
    weathers = [told for told in found if told.sort == "weather"] + [
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
    )


def _positions(found: Sequence[_Found]) -> frozenset[int]:
    return frozenset(at for told in found for at in range(told.start, told.end))


def _found(words: Sequence[str], world: World) -> list[_Found]:
    """The longest phrases that tell of a place, in order."""
    found, at = [], 0
    while at < len(words):
        for length in range(min(_LONGEST, len(words) - at), 0, -1):
            told = world.place_words.get(" ".join(words[at : at + length]))
            if told is not None and not (length == 1 and _describes(words, at, told[0][0], world)):
                found += [_Found(at, at + length, *one) for one in told]
                at += length - 1
                break
        at += 1
    return found


def _describes(words: Sequence[str], at: int, sort: str, world: World) -> bool:
    """Whether a setting's word says what sort of thing follows ("a street lamp")."""
    following = words[at + 1] if at + 1 < len(words) else ""
    return sort == "setting" and (following in world.kinds or following in world.plurals)


def _is_weather(words: Sequence[str], told: _Found, found: Sequence[_Found]) -> bool:
    """Whether "in the snow" tells of the weather, since another setting is named too."""
    others = [other for other in found if other.sort == "setting" and other.what != told.what]
    through = any(word in _THROUGH for word in words[max(0, told.start - 2) : told.end])
    return told[2:] == ("setting", "snow") and bool(others) and through

"""Texts for where, when and in what weather a frame plays, in the wording of the world's captions."""

from stage.world.vocabulary import BACKGROUNDS, INDOORS, SETTING_PHRASES, TIME_PHRASES, WEATHER_PHRASES, WEATHERS


def background_text(setting: str, time: str, weather: str) -> str:
    """The background prompt, "an empty meadow by day under a clear sky": everything is said, since what a text leaves
    open differs from frame to frame."""
    told = [BACKGROUNDS[setting][1], TIME_PHRASES[time][0]]
    told += [] if setting in INDOORS else [WEATHER_PHRASES[weather][0]]
    return " ".join(told)


def place_text(setting: str, time: str, weather: str) -> str:
    """How a frame prompt ends, "in a forest at night in the rain"; clear weather goes without saying."""
    told = [SETTING_PHRASES[setting][0], TIME_PHRASES[time][0]]
    told += [] if setting in INDOORS or weather == WEATHERS[0] else [WEATHER_PHRASES[weather][0]]
    return " ".join(told)

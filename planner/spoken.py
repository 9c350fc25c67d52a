"""What a story's text holds beside what it tells: words somebody says, headings, and how close a frame is shown.

Whatever is said in quotation marks is not told: "Let us go to the beach!" shows no beach. Names in it stay, since
people speak to those who are there, and so do introductions ("I am Tilly") and what is pointed at ("Look, a boat!").
"""

import re
from collections.abc import Collection

CLOSE, WIDE = "close", "wide"
# "One" to "Ten" and numbers: "Scene two:", "Page 3 -".
_HEADING = re.compile(
    r"^\W*(?:(?:the )?(?:first|second|third|fourth|last|next|final) )?"
    r"(?:scene|part|chapter|page|picture|panel|frame)(?: (?:\d+|one|two|three|four|five|six|seven|eight|nine|ten))?"
    r"\s*(?:[:.]|[-\u2013\u2014](?=\s))\s*",
    re.IGNORECASE,
)
_SIZES = (
    (CLOSE, re.compile(r"\b(?:(?:in|an?|the)\s+)*(?:extreme\s+)?close[- ]?ups?(?:\s+(?:on|of))?\b\s*:?", re.I)),
    (CLOSE, re.compile(r"\b(?:we\s+)?(?:zoom(?:s|ed|ing)?\s+in|close)\s+on\b\s*:?", re.I)),
    (WIDE, re.compile(r"\b(?:(?:in|an?|the)\s+)*(?:wide|long|establishing)\s+(?:shot|view)s?(?:\s+of)?\b\s*:?", re.I)),
)
_QUOTED = re.compile(r"[\"\u201c\u201e\u00ab]([^\"\u201c\u201d\u201e\u00ab\u00bb]*)[\"\u201c\u201d\u00bb]")
_POINTING = re.compile(r"\b(?:look|here is|here's|there is|there's|here are|this is|see)\b", re.IGNORECASE)
_INTRODUCING = re.compile(r"\b(?:I am|I'm|I\u2019m|my name is)\s+[A-Z]\w*(?:\s[A-Z]\w*)*")
# The first word of what is said has a capital letter anyway; "Bo, come here!" begins with a name.
_NAME = re.compile(r"(?<!^)(?<![.!?] )\b[A-Z][^\W\d_]+\b|\b[A-Z][^\W\d_]+(?=,)")
# Who is asked after in these need not be there.
_ABSENT = re.compile(r"\b(?:where|about|without|seen|miss|find)\b", re.IGNORECASE)


def without_heading(sentence: str) -> str:
    """The sentence without "Scene two:" before it; the whole where nothing is left."""
    return _HEADING.sub("", sentence, count=1).strip() or sentence


def shot_size(sentence: str) -> tuple[str, str | None]:
    """The sentence without words of the camera ("Close-up: Bella"), and how close they say it is."""
    for size, words in _SIZES:
        without = words.sub(" ", sentence, count=1)
        if without != sentence and any(character.isalnum() for character in without):
            return " ".join(without.split()), size
    return sentence, None


def unquoted(text: str) -> str:
    """The text without its quotations."""
    return _QUOTED.sub(" ", text)


def without_speech(sentence: str, narrated: Collection[str]) -> str:
    """The sentence with its quotations cut down to what they show; the whole where nothing would be left.

    Only a name that the story says outside quotations too (`narrated`) is one of somebody spoken to.
    """
    told = _QUOTED.sub(lambda quoted: _shown(quoted.group(1), narrated), sentence)
    return told if any(character.isalnum() for character in _QUOTED.sub("", sentence)) else sentence


def _shown(quote: str, narrated: Collection[str]) -> str:
    introduced = _INTRODUCING.search(quote)
    if introduced:
        return f" {introduced.group()} , "
    if _POINTING.search(quote) and not _ABSENT.search(quote):
        return f" {quote.rstrip('.,!?')} , "
    names = [] if _ABSENT.search(quote) else [name for name in _NAME.findall(quote) if name in narrated]
    return f" {' and '.join(names)} , " if names else " "

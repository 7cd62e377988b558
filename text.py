"""Text from elsewhere (names of classes and files, records of strangers) as it may be shown, and times in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but for the tab and the end of a line, marks that turn the direction of writing, half characters."""


def printable(text: str) -> str:
    """The text without what would steer a terminal or turn the direction of writing: each such character is �."""
    return _UNPRINTABLE.sub("�", text)


def one_line(text: str) -> str:
    """A name or a title as it may be shown: printable, with blanks where it has tabs and ends of lines."""
    return printable(re.sub(r"[\t\r\n]+", " ", text))


def duration(seconds: float) -> str:
    """Seconds as people say them: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def clock(seconds: float) -> str:
    """Seconds as a clock shows them: `0:03:20`."""
    return str(timedelta(seconds=round(seconds)))


def printable_values(value: Any) -> Any:
    """Plain values, as JSON has them, with every text and every key in one printable line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Mapping):
        return {one_line(str(key)): printable_values(each) for key, each in value.items()}
    if isinstance(value, list) and not (value and isinstance(value[0], int | float)):
        return [printable_values(each) for each in value]
    return value

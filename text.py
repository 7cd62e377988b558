"""Text from elsewhere (names of classes and files, records of strangers) as it may be shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but for the tab and the end of a line, marks that turn the direction of writing, half characters."""


def printable(text: str) -> str:
    """The text without what would steer a terminal or turn the direction of writing: each such character is �."""
    return _UNPRINTABLE.sub("�", text)


def one_line(text: str) -> str:
    """A name or a title as it may be shown: printable, with blanks where it has tabs and ends of lines."""
    return printable(re.sub(r"[\t\r\n]+", " ", text))


def printable_values(value: Any) -> Any:
    """Plain values, as JSON has them, with every text and every key in one printable line."""
    if isinstance(value, str):
        return one_line(value)
    if isinstance(value, Mapping):
        return {one_line(str(key)): printable_values(each) for key, each in value.items()}
    if isinstance(value, list) and not (value and isinstance(value[0], int | float)):
        return [printable_values(each) for each in value]
    return value

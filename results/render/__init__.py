"""How tables look: one file for each format."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Literal, get_args

from issbench.results.table import Table

Format = Literal["terminal", "latex", "markdown", "csv", "html"]
Style = Literal["colour", "plain"]
"""How the best and the second of a column are marked: red and blue, or bold and underlined."""
FORMATS: tuple[str, ...] = get_args(Format)
SUFFIXES = {".tex": "latex", ".md": "markdown", ".csv": "csv", ".html": "html", ".txt": "terminal"}


def render(tables: Sequence[Table], format: Format, style: Style = "colour") -> str:
    """Tables as text in a format, one after the other. `terminal` is without colours here."""
    one = import_module(f"issbench.results.render.{format}").render
    return "\n\n".join(one(table, style).rstrip("\n") for table in tables) + "\n"

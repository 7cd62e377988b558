"""How tables look: one file for each format."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Literal

from issbench.results.table import Table

Format = Literal["terminal", "latex", "markdown", "csv", "html", "parquet"]
"""`parquet` is a format of the tidy frame alone (`bench table long`)."""
Style = Literal["colour", "plain"]
"""How the best and the second of a column are marked: red and blue, or bold and underlined."""
SUFFIXES: dict[str, Format] = {
    ".tex": "latex", ".md": "markdown", ".csv": "csv", ".html": "html", ".txt": "terminal", ".parquet": "parquet",
}  # fmt: skip


def render(tables: Sequence[Table], format: Format, style: Style = "colour") -> str:
    """Tables as text in a format, one after the other. `terminal` is without colours here."""
    if format == "csv":
        from issbench.results.render.csv import render as lines

        return lines(tables)
    one = import_module(f"issbench.results.render.{format}").render
    return "\n\n".join(one(table, style).rstrip("\n") for table in tables) + "\n"

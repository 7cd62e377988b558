"""Comma-separated values with a column for the title; notes and marks are left out."""

from __future__ import annotations

import csv
import io
import re

from issbench.results.table import Table


def render(table: Table, style: str = "plain") -> str:
    """A line of heads, then one for each row. The heads of a column are joined by ` / `."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(harmless, ["table", *table.header]))
    writer.writerows(map(harmless, [table.title, *row]) for row in table.rows)
    return text.getvalue()


def harmless(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula: before `=`, `@`, or a `+` or `-` that begins no number
    stands an apostrophe."""
    return f"'{text}" if re.match(r"[=@\t\r]|[+-](?![\d.])", text) else text

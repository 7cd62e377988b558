"""Comma-separated values with a column for the title; notes and marks are left out."""

from __future__ import annotations

import csv
import io

from issbench.results.table import Table


def render(table: Table, style: str = "plain") -> str:
    """A line of heads, then one for each row. The heads of a column are joined by ` / `."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", *table.header])
    writer.writerows([table.title, *row] for row in table.rows)
    return text.getvalue()

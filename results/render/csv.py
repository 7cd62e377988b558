"""Comma-separated values: a line for each number, with what it rests on. Tables of words are as they are read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from issbench.results.table import Cell, Table

_NUMBER = ("column", "value", "sd", "sd_kind", "n", "rank", "misprint", "note")
"""What follows the table's title and the names of the row."""


def render(tables: Sequence[Table]) -> str:
    """Tables after each other; a line of heads stands above those that share it.

    Numbers are unrounded, with a point; `sd_kind` says over what the standard deviation is and which kind, `n` over
    how many, `rank` is 1 for the best (marked), `note` has the footnotes of the row and of the cell. What is
    missing has a line without a value. A column of texts beside the numbers (how many seeds) is left out: `n` says
    it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    before: list[str] = []
    for table in tables:
        head, lines = _long(table) if _has_numbers(table) else (table.header, iter(table.rows))
        if head != before:
            text.write("\n" * bool(before))
            writer.writerow(map(harmless, ["table", *head]))
        before = head
        writer.writerows(map(harmless, [table.title, *line]) for line in lines)
    return text.getvalue()


def _has_numbers(table: Table) -> bool:
    return any(cell.text is None for row in table.cells for cell in row)


def _long(table: Table) -> tuple[list[str], Iterator[list[str]]]:
    """The heads, and the lines below them."""
    stubs, names = table.header[: table.stubs], table.header[table.stubs :]
    lines = (
        [*map(str, row[: table.stubs]), name, *_number(cell, row)]
        for row in table.cells
        for name, cell in zip(names, row[table.stubs :], strict=True)
        if cell.text is None
    )
    return [*stubs, *_NUMBER], lines


def _number(cell: Cell, row: Sequence[Cell]) -> list[str]:
    # A zero is never below zero.
    value, deviation = ("" if number is None else repr(number + 0.0) for number in (cell.value, cell.std))
    kind, count = (cell.spread, str(cell.count)) if cell.count else ("", "")
    notes = dict.fromkeys(filter(None, [row[0].footnote, cell.footnote]))
    return [value, deviation, kind, count, str(cell.rank or ""), "yes" * cell.misprint, "; ".join(notes)]


def harmless(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula: before `=`, `@`, or a `+` or `-` that begins no number
    stands an apostrophe."""
    return f"'{text}" if re.match(r"[=@\t\r]|[+-](?![\d.])", text) else text

"""Plain text for a terminal: heads over what they span, numbers to the right, rules as in a book."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from unicodedata import combining

from issbench.results.render.marks import superscript
from issbench.results.table import Cell, Head, Table

_GAP = "  "
_CODES = {"colour": ("1;31", "34"), "plain": ("1", "4")}
"""Escape codes of the best and the second: red and blue, or bold and underlined."""


def render(table: Table, style: str = "plain", width: int | None = None, codes: bool = False) -> str:
    """The title, the table and its notes. A table wider than `width` characters is told in parts, one below the
    other, each with the names of the rows. `codes`: mark best and second with a terminal's codes."""
    marks = _CODES[style] if codes else None
    texts = [[_text(cell, table) for cell in row] for row in table.cells]
    widths = [
        max([len(table.heads[i][-1]), *(_length(row[i]) for row in texts)], default=1)
        for i in range(len(table.heads))
    ]
    blocks = [_block(table, part, texts, widths, marks) for part in _parts(table, widths, width)]
    notes = [*table.notes, *(f"{superscript(mark)} {text}" for text, mark in table.footnotes.items())]
    told = [textwrap.fill(note, width) if width else note for note in notes]
    title = textwrap.fill(table.title, width) if width else table.title
    return "\n".join([title, "\n\n".join(blocks), *told]) + "\n"


def _text(cell: Cell, table: Table) -> str:
    return str(cell) + superscript(table.footnotes.get(cell.footnote, ""))


def _length(text: str) -> int:
    return sum(not combining(letter) for letter in text)


def _parts(table: Table, widths: Sequence[int], width: int | None) -> list[list[int]]:
    """Columns in parts that fit: cut between outermost heads where there are several levels, else anywhere."""
    stubs = list(range(table.stubs))
    columns = range(table.stubs, len(table.heads))
    room = (width or 10**6) - sum(widths[i] + len(_GAP) for i in stubs)
    units: list[list[int]] = []
    for i in columns:
        together = units and len(table.heads[i]) > 1 and table.heads[i][:-1] == table.heads[units[-1][-1]][:-1]
        units[-1].append(i) if together else units.append([i])
    parts: list[list[int]] = [[]]
    for unit in units:
        taken = sum(widths[i] + len(_GAP) for i in [*parts[-1], *unit])
        if parts[-1] and taken > room:
            parts.append([])
        parts[-1] += unit
    return [stubs + part for part in parts]


def _block(
    table: Table, columns: Sequence[int], texts: list[list[str]], widths: Sequence[int], marks: Sequence[str] | None
) -> str:
    part = Table("", [table.heads[i] for i in columns], [], stubs=table.stubs)
    wide = _widened(part.heads, part.levels(), [widths[i] for i in columns])
    lines = _heads(part, wide)
    rule = "─" * (sum(wide) + len(_GAP) * (len(wide) - 1))
    lines = [rule, *lines, rule]
    for cells, row in zip(table.cells, texts, strict=True):
        fields = []
        for place, i in enumerate(columns):
            pad = " " * (wide[place] - _length(row[i]))
            rank = cells[i].rank
            text = f"\x1b[{marks[rank - 1]}m{row[i]}\x1b[0m" if marks and rank else row[i]
            fields.append(text + pad if place < table.stubs else pad + text)
        lines.append(_GAP.join(fields).rstrip())
    return "\n".join([*lines, rule])


def _widened(heads: Sequence[Head], levels: list[list[tuple[str, int]]], widths: list[int]) -> list[int]:
    """Widths such that each head fits over the columns that it spans."""
    wide = list(widths)
    for level in levels[::-1]:
        start = 0
        for text, span in level:
            lack = len(text) - (sum(wide[start : start + span]) + len(_GAP) * (span - 1))
            for extra in range(max(lack, 0)):
                wide[start + extra % span] += 1
            start += span
    return wide


def _heads(table: Table, wide: Sequence[int]) -> list[str]:
    """Each level of heads, centred over a line where it spans several columns."""
    lines, levels = [], table.levels()
    for depth, level in enumerate(levels):
        fields, rules, start = [], [], 0
        for text, span in level:
            room = sum(wide[start : start + span]) + len(_GAP) * (span - 1)
            inner = depth + 1 < len(levels)
            fields.append(
                text.center(room) if inner else text.ljust(room) if start < table.stubs else text.rjust(room)
            )
            rules.append(("─" if text else " ") * room)
            start += span
        lines.append(_GAP.join(fields).rstrip())
        if depth + 1 < len(levels):
            lines.append(_GAP.join(rules).rstrip())
    return lines

"""Plain text for a terminal: heads over what they span, numbers to the right, rules as in a book."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from tabulate import DataRow, TableFormat, tabulate

from issbench.results.render.marks import superscript
from issbench.results.table import Cell, Head, Table, spans

_GAP = "  "
_LINE = DataRow("", _GAP, "")
_BARE = TableFormat(None, None, None, None, headerrow=_LINE, datarow=_LINE, padding=0, with_header_hide=None)
_CODES = {"colour": ("1;31", "34"), "plain": ("1", "4")}
"""Escape codes of the best and the second: red and blue, or bold and underlined."""
_CODE = re.compile(r"\x1b\[[0-9;]*m")


def render(table: Table, style: str = "plain", width: int | None = None, codes: bool = False) -> str:
    """The title, the table and its notes. A table wider than `width` characters is cut into parts, one below the
    other, each with the names of the rows. `codes`: mark best and second with a terminal's codes."""
    marks = _CODES[style] if codes else None
    texts = [[_text(cell, table, marks) for cell in row] for row in table.cells]
    blocks = [_block(table, part, texts) for part in _parts(table, texts, width)]
    notes = [*table.notes, *(f"{superscript(mark)} {text}" for text, mark in table.footnotes.items())]
    title, *notes = [textwrap.fill(text, width) if width else text for text in (table.title, *notes)]
    return "\n".join([title, "\n\n".join(blocks), *notes]) + "\n"


def _text(cell: Cell, table: Table, marks: Sequence[str] | None) -> str:
    text = str(cell) + superscript(table.footnotes.get(cell.footnote, ""))
    return f"\x1b[{marks[cell.rank - 1]}m{text}\x1b[0m" if marks and cell.rank else text


def _length(text: str) -> int:
    return len(_CODE.sub("", text))


def _parts(table: Table, texts: list[list[str]], width: int | None) -> list[list[int]]:
    """Columns in parts that fit: cut between outermost heads where there are several levels, else anywhere."""
    columns = zip(*([head[-1] for head in table.heads], *texts), strict=True)
    taken = [len(_GAP) + max(map(_length, column)) for column in columns]
    stubs = list(range(table.stubs))
    room = (width or 10**6) - sum(taken[i] for i in stubs)
    units: list[list[int]] = []
    for i in range(table.stubs, len(table.heads)):
        together = units and len(table.heads[i]) > 1 and table.heads[i][:-1] == table.heads[units[-1][-1]][:-1]
        units[-1].append(i) if together else units.append([i])
    parts: list[list[int]] = [[]]
    for unit in units:
        if parts[-1] and sum(taken[i] for i in [*parts[-1], *unit]) > room:
            parts.append([])
        parts[-1] += unit
    return [stubs + part for part in parts]


def _block(table: Table, columns: list[int], texts: list[list[str]]) -> str:
    """Some columns of the table between rules, their heads included."""
    heads = table.padded_heads()
    lines = _under([heads[i] for i in columns], [[row[i] for row in texts] for i in columns], table.stubs)
    rule = "─" * max(map(_length, lines))
    body = len(lines) - len(texts)
    return "\n".join(line.rstrip() for line in [rule, *lines[:body], rule, *lines[body:], rule])


def _under(heads: list[Head], columns: list[list[str]], stubs: int) -> list[str]:
    """The lines of columns (each its cells from top to bottom) under their heads, all of one length. A head stands
    in the middle above a rule over all that it spans; the first `stubs` columns stand left."""
    if len(heads[0]) == 1:
        rows = zip(*([head[0], *cells] for head, cells in zip(heads, columns, strict=True)), strict=True)
        align = ["left" if i < stubs else "right" for i in range(len(heads))]
        text = tabulate(list(rows), tablefmt=_BARE, colalign=align, disable_numparse=True)
        return _padded(text.split("\n"), 0)
    blocks = []
    for name, members in spans([head[0] for head in heads]):
        inner = [heads[i][1:] for i in members]
        lines = _padded(_under(inner, [columns[i] for i in members], stubs if members[0] < stubs else 0), len(name))
        room = _length(lines[0])
        blocks.append([name.center(room), ("─" if name else " ") * room, *lines])
    return [_GAP.join(line) for line in zip(*blocks, strict=True)]


def _padded(lines: list[str], least: int) -> list[str]:
    """Lines of one length, which is at least `least`. tabulate cuts off spaces at the end."""
    width = max(map(_length, lines))
    return [" " * (least - width) + line + " " * (width - _length(line)) for line in lines]

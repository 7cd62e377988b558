"""A table of HTML that needs nothing else: heads with their spans, notes below, best and second marked in place."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from issbench.results.table import Cell, Table

_STYLES = {
    "colour": ("color:#c00;font-weight:600", "color:#00c"),
    "plain": ("font-weight:600", "text-decoration:underline"),
}


def render(table: Table, style: str = "colour") -> str:
    """One `<table>`; numbers carry their value unrounded in `data-value`, for sorting."""
    found = notes(table)
    below = [f'<tr><td colspan="{len(table.heads)}">{"<br>".join(found)}</td></tr>'] if found else []
    return "\n".join(['<table class="bench">', *body(table, style, below), "</table>"])


def body(table: Table, style: str, below: Sequence[str] = ()) -> list[str]:
    """What a `<table>` holds; its foot has the rows that add up the others, and those of `below`."""
    rows = [
        f"<tr>{''.join(_cell(cell, table, style, i < table.stubs) for i, cell in enumerate(row))}</tr>"
        for row in table.cells
    ]
    end = len(rows) - table.sums
    foot = [*rows[end:], *below]
    lines = [f"<caption>{escape(table.title)}</caption>", "<thead>", *_heads(table), "</thead>"]
    return [*lines, "<tbody>", *rows[:end], "</tbody>", *(["<tfoot>", *foot, "</tfoot>"] if foot else [])]


def notes(table: Table) -> list[str]:
    """Notes and footnotes, as markup."""
    marked = [f"<sup>{mark}</sup> {escape(text)}" for text, mark in table.footnotes.items()]
    return [escape(note) for note in table.notes] + marked


def _heads(table: Table) -> list[str]:
    """The lines of heads; what names the rows spans all of them."""
    levels = table.levels()
    lines = []
    for depth, level in enumerate(levels):
        fields, start = [], 0
        for text, span in level:
            if start < table.stubs:
                if not depth:
                    name = escape(table.heads[start][-1])
                    fields.append(f'<th scope="col" rowspan="{len(levels)}">{name}</th>')
            else:
                scope = "colgroup" if span > 1 else "col"
                fields.append(f'<th scope="{scope}" colspan="{span}">{escape(text)}</th>')
            start += span
        lines.append(f"<tr>{''.join(fields)}</tr>")
    return lines


def _cell(cell: Cell, table: Table, style: str, stub: bool) -> str:
    mark = table.footnotes.get(cell.footnote, "")
    text = escape(str(cell)) + (f"<sup>{mark}</sup>" if mark else "")
    if stub:
        return f'<th scope="row">{text}</th>'
    look = f' style="{_STYLES[style][cell.rank - 1]}"' if cell.rank else ""
    value = "" if cell.value is None else f' data-value="{cell.value + 0.0!r}"'  # no −0.0
    return f"<td{value}{look}>{text}</td>"

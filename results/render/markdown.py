"""GitHub's Markdown: heads of several levels stand in one cell, the best is bold, the second underlined."""

from __future__ import annotations

from tabulate import tabulate

from issbench.results.render.marks import superscript
from issbench.results.table import Cell, Table

_FREE = "\\*`[]"
"""What is markup outside of cells; there `|` is none, nor is `_` within a word."""


def render(table: Table, style: str = "plain") -> str:
    """The title, the table, and its notes, as paragraphs. Markdown has no colours: `style` makes no difference."""
    heads = [_escape("\n".join(head)) for head in table.heads]
    rows = [[_cell(cell, table) for cell in row] for row in table.cells]
    align = ["left" if i < table.stubs else "right" for i in range(len(heads))]
    lines = tabulate(rows, headers=heads, tablefmt="pipe", colalign=align, disable_numparse=True)
    notes = [f"{superscript(mark)} {_escape(text, _FREE)}" for text, mark in table.footnotes.items()]
    title, *free = (_escape(text, _FREE) for text in (table.title, *table.notes))
    return "\n\n".join([f"**{title}**", lines, *free, *notes])


def _cell(cell: Cell, table: Table) -> str:
    text = _escape(str(cell))
    if cell.rank:
        text = f"**{text}**" if cell.rank == 1 else f"<u>{text}</u>"
    return text + superscript(table.footnotes.get(cell.footnote, ""))


def _escape(text: str, signs: str = "\\|*_`[]") -> str:
    """Text without markup of its own."""
    for sign in signs:
        text = text.replace(sign, "\\" + sign)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", "<br>")

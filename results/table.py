"""What a table is: heads of several levels, and typed cells. How it looks is the business of `results/render/`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from issbench.errors import UsageError

MISSING = "–"
CHECK = "✓"
_MARKS = "abcdefghijklmnopqrstuvwxyz"


class TableError(UsageError):
    """A table that cannot be made of the runs or numbers that there are."""


def number_text(value: float, digits: int = 1, signed: bool = False) -> str:
    """A number as all tables and figures print it: with the sign of print, and never a zero below zero."""
    return f"{value:{'+' * signed}z.{digits}f}".replace("-", "−")


@dataclass(frozen=True)
class Cell:
    """A number (mIoU in %, or points) with its deviation, or a text; with neither it is missing (–).

    `footnote`: what the reader must know of this cell. `rank`: 1 for the best of its column, 2 for the second, else
    0. `signed`: printed with its sign. `cite`: a key in references.bib, besides those of the methods it names.
    `digits`: after the point. `count`: how many seeds (or orders) the number is the mean of, 0 where that is not
    known; `spread`: over what and of which kind the deviation is. `misprint`: the paper prints a number that cannot
    be right.
    """

    value: float | None = None
    std: float | None = None
    text: str | None = None
    footnote: str = ""
    rank: int = 0
    signed: bool = False
    cite: str = ""
    digits: int = 1
    count: int = 0
    spread: str = ""
    misprint: bool = False

    @property
    def number(self) -> str:
        """The number as printed, without its deviation; – where there is none."""
        return MISSING if self.value is None else number_text(self.value, self.digits, self.signed)

    @property
    def deviation(self) -> str:
        """The deviation as printed, or nothing."""
        return "" if self.std is None else number_text(self.std, self.digits)

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        return f"{self.number} ± {self.deviation}" if self.deviation else self.number


Head = tuple[str, ...]
"""The heads above a column from the outermost to its own: ("15-1 (6 steps)", "Disjoint", "0-15")."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under `heads`, one for each column; the first `stubs` columns say what a row is, the last
    `sums` rows add up the others."""

    title: str
    heads: list[Head]
    cells: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    stubs: int = 1
    sums: int = 0

    @property
    def header(self) -> list[str]:
        """The heads of each column in one text."""
        return [" / ".join(head) for head in self.heads]

    @property
    def rows(self) -> list[list[str]]:
        """The cells as plain text, without marks."""
        return [[str(cell) for cell in row] for row in self.cells]

    def padded_heads(self) -> list[Head]:
        """The heads of each column, all of one depth: one with fewer heads has empty ones above its own."""
        depth = max(len(head) for head in self.heads)
        return [("",) * (depth - len(head)) + head for head in self.heads]

    def levels(self) -> list[list[tuple[str, int]]]:
        """The heads line by line from the outermost, as (text, columns that it spans)."""
        heads = self.padded_heads()
        keys = [
            [" / ".join(head[: level + 1]) * bool(head[level]) for head in heads] for level in range(len(heads[0]))
        ]
        return [
            [(heads[members[0]][level], len(members)) for _, members in spans(names)]
            for level, names in enumerate(keys)
        ]

    @property
    def footnotes(self) -> dict[str, str]:
        """The mark of each footnote, in the order in which a reader meets them."""
        texts = dict.fromkeys(cell.footnote for row in self.cells for cell in row if cell.footnote)
        return {text: mark(position) for position, text in enumerate(texts)}


def mark(position: int) -> str:
    """A name for the place in a list: a … z, aa, ab …"""
    before, letter = divmod(position, len(_MARKS))
    return (mark(before - 1) if before else "") + _MARKS[letter]


def spans(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Neighbours of one name as (name, their places); an empty name stands alone."""
    keys = [name or place for place, name in enumerate(names)]
    groups = (list(members) for _, members in groupby(range(len(names)), key=lambda i: keys[i]))
    return [(names[members[0]], members) for members in groups]


def text_table(
    title: str, header: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()
) -> Table:
    """A table of plain texts with one line of heads."""
    return Table(title, [(name,) for name in header], [[Cell(text=t) for t in row] for row in rows], list(notes))


def without_common_heads(heads: Sequence[Head], whole: Sequence[Head]) -> list[Head]:
    """Heads of equal depth without the levels on which all columns of the whole table agree; the innermost is kept
    if nothing else is."""
    depth = len(whole[0]) if whole else 0
    differing = [level for level in range(depth) if len({head[level] for head in whole}) > 1] or [depth - 1]
    return [tuple(head[level] for level in differing) for head in heads]

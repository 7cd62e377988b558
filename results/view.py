"""Which part of a table is shown, in which order, and with how many digits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import combinations
from typing import TYPE_CHECKING

from issbench.errors import did_you_mean
from issbench.results.table import Head, Table, TableError

if TYPE_CHECKING:
    from issbench.results.pivot import Pivot


@dataclass(frozen=True)
class View:
    """`columns`, `rows`: the heads and the names of rows that stay, as patterns (`*` for anything, no matter the
    case); empty for all. `sort`: the column by which rows are sorted, the highest number first, and what lacks one
    last. `digits`: after the point.

    A column fits by its own head, by one above it, or by several: `all`, `15-1*`, `Overlapped / all`.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    sort: str = ""
    digits: int = 1

    def of(self, pivot: Pivot) -> Pivot:
        """What is shown of a table; nothing where none of its rows or columns fits."""
        heads = [head for head in pivot.heads if not self.columns or _fits(_names(head), self.columns)]
        rows = {row: facts for row, facts in pivot.rows.items() if not self.rows or _fits(row[:1], self.rows)}
        shown = [
            head in heads and row in rows for row, head in zip(pivot.cells["row"], pivot.cells["head"], strict=True)
        ]
        by = next((head for head in heads if self.sort and _fits(_names(head), (self.sort,))), None)
        if by is not None:
            here = pivot.cells[pivot.cells["head"].map(lambda head: head == by)].dropna(subset=["value"])
            values = dict(zip(here["row"], here["value"], strict=True))
            rows = {row: rows[row] for row in sorted(rows, key=lambda row: -values.get(row, float("-inf")))}
        return replace(
            pivot, cells=pivot.cells[shown], rows=rows, heads=heads if rows else [], whole=pivot.heads,
            digits=self.digits,
        )  # fmt: skip

    def check(self, tables: Sequence[Table]) -> None:
        """TableError for a pattern that fits nothing in the tables as they are without it."""
        columns = [name for table in tables for head in table.heads[table.stubs :] for name in _names(head)]
        rows = [str(row[0]) for table in tables for row in table.cells]
        asked = [("--columns", each, columns) for each in self.columns]
        asked += [("--rows", each, rows) for each in self.rows]
        asked += [("--sort", self.sort, columns)] if self.sort else []
        for option, pattern, names in asked:
            if not _fits(names, (pattern,)):
                known = dict.fromkeys(names)
                near = [name.casefold() for name in known]
                hint = did_you_mean(pattern.casefold(), near, f"there are {', '.join(known)}")
                raise TableError(f"{option} {pattern}: nothing in the table is called so; {hint}")


def _names(head: Head) -> list[str]:
    """What a column may be called: some of its heads, from the outermost to its own."""
    return [" / ".join(part) for count in range(1, len(head) + 1) for part in combinations(head, count)]


def _fits(names: Iterable[str], patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for name in names for pattern in patterns)

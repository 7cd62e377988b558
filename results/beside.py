"""The paper's numbers and ours in one table, with the difference."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from issbench.results.definitions import RowName
from issbench.results.pivot import CELL, COLUMNS, DIFFERENCE, Pivot, RowFacts, as_printed
from issbench.results.runs import IMPORTED

PAPER, OURS = "paper", "ours"


def joined(paper: Pivot, ours: Pivot) -> Pivot:
    """Each column of the paper three times: as printed, ours, and ours minus the paper's (of the rounded
    numbers)."""
    kept = {head[:2] for head in ours.heads} & {head[:2] for head in paper.heads}
    paper, ours = paper.of_scenarios(kept), ours.of_scenarios(kept)
    names = {row: _printed_name(row, paper.rows) for row in ours.rows}
    again = {row: name for row, name in names.items() if row != name and name in ours.rows}
    names |= {row: row for row in again}  # an imported run beside our own of the same method: the paper's, again
    printed = pd.concat([paper.cells, *(_with_row(paper.cells, name, row) for row, name in again.items())])
    own = ours.cells.assign(row=ours.cells["row"].map(names.__getitem__))
    both = printed.merge(own, on=CELL, suffixes=("", "_ours")).dropna(subset=["value", "value_ours"])
    both["value"] = both["value_ours"].map(as_printed) - both["value"]
    both = both.assign(std=float("nan"), count=0, of="")[COLUMNS]  # a misprint is one in the difference, too
    parts = {PAPER: printed, OURS: own, DIFFERENCE: both}
    cells = [part.assign(head=part["head"].map(lambda head, of=name: (*head, of))) for name, part in parts.items()]
    heads = [(*head, name) for head in dict.fromkeys([*paper.heads, *ours.heads]) for name in parts]
    rows = paper.rows | {names[row]: _beside(paper.rows.get(names[row]), facts) for row, facts in ours.rows.items()}
    return Pivot(pd.concat(cells, ignore_index=True), rows, heads, ours.numbers)


def _with_row(cells: pd.DataFrame, row: RowName, other: RowName) -> pd.DataFrame:
    """The cells of a row, as those of another one."""
    found = cells[cells["row"].map(lambda name: name == row)]
    return found.assign(row=found["row"].map(lambda _: other))


def _beside(paper: RowFacts | None, ours: RowFacts) -> RowFacts:
    """The facts of a row that has numbers of the paper and ours."""
    if paper is None:
        return ours
    return replace(paper, remark="; ".join(filter(None, [paper.remark, ours.remark and f"ours: {ours.remark}"])))


def _printed_name(row: RowName, printed: Iterable[RowName]) -> RowName:
    """The paper's row for a method of ours: ILT is `ILT*` where the paper has only its re-implementation, and what
    was imported is the method itself."""
    known = {(name[0].casefold(), *name[1:]): name for name in printed}
    for title in (row[0], f"{row[0]}*", row[0].removesuffix(IMPORTED), row[0].removesuffix(IMPORTED) + "*"):
        if found := known.get((title.casefold(), *row[1:])):
            return found
    return row

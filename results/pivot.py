"""Numbers by row and column, from the paper, from runs, or both; and the table that they make.

The numbers are a data frame with a line per cell: `row` and `head` (tuples of text), `value`, `std`, `count` (how
many seeds or orders went into it, 0 where that is not known), `of` (SEEDS or ORDERS, or empty), `misprint` and
`footnote`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd

from issbench.results.definitions import (
    AVERAGE,
    FORMULAS,
    SCENARIOS,
    Definition,
    RowName,
    Values,
    scenario_head,
    setting_rank,
)
from issbench.results.published import Number
from issbench.results.runs import Run
from issbench.results.table import MISSING, Cell, Head, Table, without_common_heads

DIFFERENCE = "difference"
"""The head of ours − paper."""
SEEDS, ORDERS = "sample, over seeds", "population, over orders"
"""The kinds of standard deviations."""
CELL = ["row", "head"]
COLUMNS = [*CELL, "value", "std", "count", "of", "misprint", "footnote"]
as_printed = partial(round, ndigits=1)
"""As it is printed; numpy's rounding differs from it in places."""
_MARKS = "Marked: best and second by the printed number, whether or not seeds tell them apart (--within-noise)."


@dataclass(frozen=True)
class RowFacts:
    """What is known of a row besides its numbers: a footnote, whether it is an upper bound, what to cite."""

    remark: str = ""
    bound: bool = False
    cite: str = ""


@dataclass(frozen=True)
class Pivot:
    """The cells; the rows and heads in the order of the table. A head is scenario, setting and what is below.

    `numbers`: what each seed of the finished runs gives, for each row and head. `marked`: the rows of each head
    that are marked; without it best and second are. `whole`: the heads of the table of which this shows a part.
    `digits`: after the point.
    """

    cells: pd.DataFrame
    rows: dict[RowName, RowFacts]
    heads: list[Head]
    numbers: Mapping[tuple[RowName, Head], Mapping[int, float | None]] = field(default_factory=dict)
    marked: Mapping[Head, Collection[RowName]] | None = None
    whole: Sequence[Head] = ()
    digits: int = 1

    def of_scenarios(self, kept: set[Head]) -> Pivot:
        """The columns of these (scenario, setting), and the rows that have a number there."""
        cells = self.cells[self.cells["head"].map(lambda head: head[:2] in kept)]
        there = set(cells["row"])
        rows = {row: facts for row, facts in self.rows.items() if row in there}
        return Pivot(cells, rows, [head for head in self.heads if head[:2] in kept])

    def table(self, definition: Definition, title: str, notes: Sequence[str], missing: str) -> Table:
        """The table: common heads left out, best and second marked; `missing` is what – stands for."""
        ranked = self._ranked(definition)
        found: dict[Any, Cell] = {(c.row, c.head): _cell(c, self.digits) for c in ranked.itertuples()}
        body = []
        for row, facts in self.rows.items():
            names = [Cell(text=text) for text in row]
            names[0] = replace(names[0], footnote=facts.remark, cite=facts.cite)
            body.append(names + [found.get((row, head), Cell()) for head in self.heads])
        heads = [(name,) for name in definition.stubs] + without_common_heads(self.heads, self.whole or self.heads)
        columns = {name for head in self.heads for name in head}
        notes = [*notes, *(formula for name, formula in FORMULAS.items() if name in columns)]
        if self.numbers and ranked["rank"].any() and self.marked is None:
            notes.append(_MARKS)
        shown = sum(cell.value is not None or bool(cell.footnote) for cell in found.values())
        notes += [f"{MISSING}: {missing}."] * (shown < len(self.rows) * len(self.heads))
        return Table(title, heads, body, notes, stubs=len(definition.stubs))

    def _ranked(self, definition: Definition) -> pd.DataFrame:
        """With the column `rank`: 1 and up for the best of each column, as the reader compares them: by the printed
        number, so that equal ones share a rank. Upper bounds do not compete, nor does one number alone."""
        if self.marked is not None:
            pairs = zip(self.cells["row"], self.cells["head"], strict=True)
            return self.cells.assign(rank=[int(row in self.marked.get(head, ())) for row, head in pairs])
        bounds = {row for row, facts in self.rows.items() if facts.bound}
        differences = self.cells["head"].map(lambda head: head[-1] == DIFFERENCE)
        competing = self.cells[self.cells["value"].notna() & ~differences & ~self.cells["row"].isin(bounds)]
        columns = competing["value"].map(partial(round, ndigits=self.digits)).groupby(competing["head"])
        ranks = columns.rank(method="dense", ascending=definition.lower)
        ranks = ranks[(ranks <= definition.ranks) & (columns.transform("size") > 1)]
        return self.cells.assign(rank=ranks.reindex(self.cells.index).fillna(0).astype(int))


def _cell(cell: Any, digits: int) -> Cell:
    value, std = (None if pd.isna(number) else float(number) for number in (cell.value, cell.std))
    return Cell(
        value, std, footnote=cell.footnote, rank=cell.rank, signed=cell.head[-1] == DIFFERENCE,
        digits=digits, count=cell.count, spread=cell.of, misprint=cell.misprint,
    )  # fmt: skip


def printed_pivot(definition: Definition, numbers: Sequence[Number]) -> Pivot:
    """The cells of a printed table, with footnotes on what is wrong or unsure in it."""
    cells, rows = [], {}
    for number in numbers:
        head = (scenario_head(number.dataset, number.scenario), number.setting.capitalize())
        row = definition.printed_row(number)
        rows[row] = RowFacts(_doubt(number), number.upper_bound)
        column = definition.printed_column(number)
        over = sum(n.order != "average" and _same_but_order(n, number) for n in numbers) if number.std else 0
        of = ORDERS * bool(over)
        cells.append(
            (row, (*head, column), number.value, number.std, over, of, bool(number.misprint), number.misprint)
        )
    frame = pd.DataFrame(cells, columns=COLUMNS)
    heads = list(dict.fromkeys(frame["head"]))
    if any(number.source for number in numbers):  # several sources have an order each
        heads.sort(key=lambda head: _place(definition, head))
    return Pivot(frame, rows, heads)


def _same_but_order(one: Number, other: Number) -> bool:
    return replace(one, order="", value=0.0, std=None) == replace(other, order="", value=0.0, std=None)


def _doubt(number: Number) -> str:
    """Where a number of another paper stands; what Table V's transcription says of a row whose check marks are not
    sure."""
    if number.source:
        return number.source
    marks = number.facts.get("marks_in_text", number.method)
    if number.status in ("", "certain") and marks == number.method:
        return ""
    return f"marks in the text of the paper: {marks}; read as {number.method} ({number.status})"


def measured_pivot(definition: Definition, runs: Sequence[Run], extra: bool = False) -> Pivot:
    """The cells of comparable runs: the mean over seeds with its sample standard deviation. Unfinished runs give
    empty ones. `extra`: with the further columns of a table of one scenario.

    A cell stays missing, with the reason as its footnote, where runs contradict each other or some lack the number.
    """
    numbers, rows, by_seed = [], {}, dict[tuple[RowName, Head], dict[int, float | None]]()
    for run in runs:
        row, scenario = definition.row(run), run_head(run)
        assert row is not None  # `chosen` leaves the others out
        rows[row] = RowFacts(_IMPORTED if run.imported else "", run.method["upper_bound"], run.method["cite"])
        values: Values = definition.values(run)
        if extra and definition.extra_values:
            values = values | definition.extra_values(run)
        for name, value in values.items():
            head = (*scenario, name)
            numbers.append((row, head, run.seed, run.name, run.complete, value))
            if run.complete:
                by_seed.setdefault((row, head), {})[run.seed] = value
    frame = pd.DataFrame(numbers, columns=[*CELL, "seed", "run", "complete", "value"])
    if frame.empty:
        return Pivot(pd.DataFrame(columns=COLUMNS), rows, [])
    heads = sorted(dict.fromkeys(frame["head"]), key=lambda head: _place(definition, head))
    cells = over_seeds(frame)
    if definition.average:
        cells, heads = _with_averages(cells, heads)
    if definition.row_order:
        rows = {row: rows[row] for row in sorted(rows, key=definition.row_order)}
    return Pivot(cells, rows, heads, by_seed)


_IMPORTED = "imported: trained and tested by other code, whose recipe is not known"


def run_head(run: Run) -> Head:
    """The heads of a run's columns: its scenario and its setting."""
    dataset = run.experiment["dataset"]
    return scenario_head(dataset, run.scenario, run.record["num_steps"]), run.setting.capitalize()


def _place(definition: Definition, head: Head) -> tuple[Any, ...]:
    """Scenarios and settings in the paper's order, others after them."""
    split, setting = head[0].partition(" ")[0], head[1].lower()
    rank = SCENARIOS.index(split) if split in SCENARIOS else len(SCENARIOS)
    numbers = [int(digits) for digits in re.findall(r"\d+", head[0])]
    return rank, numbers, setting_rank(setting), definition.column_order(head[2])


def over_seeds(numbers: pd.DataFrame) -> pd.DataFrame:
    """The cells of numbers (`row`, `head`, `seed`, `run`, `complete`, `value`): the mean over seeds with the sample
    standard deviation where there are several. Missing where a seed has no number or two different ones: a mean
    over the rest would mislead."""
    numbers = numbers.astype({"value": float})
    done = numbers[numbers["complete"]].drop_duplicates([*CELL, "seed", "value"])
    groups = done.groupby(CELL, sort=False)
    cells = groups.agg(
        value=("value", "mean"),
        std=("value", "std"),
        count=("value", "count"),
        runs=("value", "size"),
        seeds=("seed", "nunique"),
    ).reset_index()
    cells[["of", "misprint", "footnote"]] = SEEDS, False, ""
    lacking = cells["count"] < cells["runs"]
    some = lacking & (cells["count"] > 0)
    cells.loc[some, "footnote"] = [
        f"{runs - count} of {runs} runs without this number"
        for runs, count in cells.loc[some, ["runs", "count"]].to_numpy()
    ]
    contradicting = cells["seeds"] < cells["runs"]
    for place, row, head in cells.loc[contradicting, CELL].itertuples():
        cells.loc[place, "footnote"] = _contradiction(groups.get_group((row, head)))
    cells.loc[lacking | contradicting, ["value", "std"]] = float("nan")
    cells.loc[lacking | contradicting, "count"] = 0
    return _with_begun(cells[COLUMNS], numbers.loc[~numbers["complete"], CELL])


def _with_begun(cells: pd.DataFrame, begun: pd.DataFrame) -> pd.DataFrame:
    """With empty cells of unfinished runs where no other run has a number."""
    known = set(zip(cells["row"], cells["head"], strict=True))
    missing = [cell for cell in dict.fromkeys(begun.itertuples(index=False, name=None)) if cell not in known]
    empty = [(*cell, float("nan"), float("nan"), 0, "", False, "") for cell in missing]
    return pd.concat([cells, pd.DataFrame(empty, columns=COLUMNS)], ignore_index=True) if empty else cells


def _contradiction(cell: pd.DataFrame) -> str:
    """Which runs of one seed have different numbers."""
    seed = cell.loc[cell["seed"].duplicated(), "seed"].iloc[0]
    return f"runs of one seed ({seed}) differ: {', '.join(cell.loc[cell['seed'] == seed, 'run'])}"


def _with_averages(cells: pd.DataFrame, heads: list[Head]) -> tuple[pd.DataFrame, list[Head]]:
    """A column with mean and population standard deviation over the orders, after those of each scenario."""
    wide = cells.pivot(index="row", columns="head", values="value")
    found, every = [], []
    for scenario in dict.fromkeys(head[:2] for head in heads):
        orders = [head for head in heads if head[:2] == scenario]
        values = wide.reindex(columns=pd.Index(orders, tupleize_cols=False))
        deviation = values.std(axis=1, ddof=0, skipna=False) if len(orders) > 1 else None
        average = pd.DataFrame({"value": values.mean(axis=1, skipna=False), "std": deviation})
        average["count"] = average["value"].notna() * len(orders)
        average[["of", "misprint"]] = ORDERS, False
        average["footnote"] = [_lacking(orders, missing) for missing in values.isna().to_numpy().tolist()]
        average["head"] = [(*scenario, AVERAGE)] * len(average)
        found.append(average.rename_axis("row").reset_index())
        every += [*orders, (*scenario, AVERAGE)]
    return pd.concat([cells, *found], ignore_index=True), every


def _lacking(orders: Sequence[Head], missing: Iterable[bool]) -> str:
    names = [order[2] for order, lacks in zip(orders, missing, strict=True) if lacks]
    return f"no average: order {', '.join(names)} missing" if 0 < len(names) < len(orders) else ""

"""Numbers by row and column, from the paper, from runs, or both; and the table that they make."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import mean, pstdev, stdev

from issbench.results.definitions import AVERAGE, BOUNDS, SCENARIOS, SETTINGS, Definition, Row, Spec, scenario_head
from issbench.results.published import Number
from issbench.results.runs import Run
from issbench.results.table import MISSING, Cell, Head, Table, ranked, without_common_heads

PAPER, OURS, DIFFERENCE = "paper", "ours", "difference"


@dataclass
class Grid:
    """Cells by row and head; `remarks` are footnotes of rows. A head is scenario, setting and what is below."""

    rows: list[Row] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    cells: dict[tuple[Row, Head], Cell] = field(default_factory=dict)
    remarks: dict[Row, str] = field(default_factory=dict)

    def put(self, row: Row, head: Head, cell: Cell) -> None:
        """Set a cell; new rows and columns come last."""
        if row not in self.remarks:
            self.rows.append(row)
            self.remarks[row] = ""
        if head not in self.heads:
            self.heads.append(head)
        self.cells[row, head] = cell

    def of_scenarios(self, kept: set[Head]) -> Grid:
        """The columns of these (scenario, setting), and the rows that have a number there."""
        heads = [head for head in self.heads if head[:2] in kept]
        rows = [row for row in self.rows if any((row, head) in self.cells for head in heads)]
        return replace(self, rows=rows, heads=heads)

    def table(self, definition: Definition, title: str, notes: Sequence[str], missing: str) -> Table:
        """The table: common heads left out, best and second marked; `missing` is what – stands for."""
        bounds = [row[0] in BOUNDS for row in self.rows]
        columns = []
        for head in self.heads:
            column = [self.cells.get((row, head), Cell()) for row in self.rows]
            competes = definition.ranks if head[-1] != DIFFERENCE else 0
            columns.append(ranked(column, competes, definition.lower, bounds))
        labels = [
            [Cell(text=text, footnote=self.remarks[row] if not i else "") for i, text in enumerate(row)]
            for row in self.rows
        ]
        body = [label + list(cells) for label, cells in zip(labels, zip(*columns, strict=True), strict=True)]
        absent = any((row, head) not in self.cells for row in self.rows for head in self.heads)
        heads = [(name,) for name in definition.stubs] + without_common_heads(self.heads)
        told = [*notes, *([f"{MISSING}: {missing}."] if absent else [])]
        return Table(title, heads, body, told, stubs=len(definition.stubs))


def printed_grid(definition: Definition, numbers: Sequence[Number]) -> Grid:
    """The cells of a printed table, with footnotes on what is wrong or unsure in it."""
    grid = Grid()
    for number in numbers:
        head = (scenario_head(number.dataset, number.scenario), number.setting.capitalize())
        row = definition.printed_row(number)
        cell = Cell(number.value, number.std, footnote=number.misprint)
        grid.put(row, head + definition.printed_tail(number), cell)
        grid.remarks[row] = _doubt(number)
    return grid


def _doubt(number: Number) -> str:
    """What Table V's transcription says of a row whose check marks are not sure."""
    marks = number.facts.get("marks_in_text", number.method)
    if number.status in ("", "certain") and marks == number.method:
        return ""
    return f"marks in the text of the paper: {marks}; read as {number.method} ({number.status})"


def measured_grid(definition: Definition, runs: Sequence[Run]) -> Grid:
    """The cells of comparable runs: the mean over seeds with its sample standard deviation. Unfinished runs give
    none.

    A cell stays missing, with the reason as its footnote, where runs contradict each other or some lack the number.
    """
    found: dict[tuple[Row, Head], list[tuple[Run, float | None]]] = {}
    rows: dict[Row, str] = {}
    for run in runs:
        row, scenario = definition.row(Spec.of(run)), run_head(run)
        rows[row] = "imported: trained and tested by other code, whose recipe is not known" if run.imported else ""
        for tail, value in definition.values(run).items():
            found.setdefault((row, scenario + tail), []).extend([(run, value)] if run.complete else [])
    heads = sorted(dict.fromkeys(head for _, head in found), key=lambda head: _place(definition, head))
    grid = Grid(list(rows), heads, remarks=rows)
    for place, values in found.items():
        grid.cells[place] = pooled(values)
    if definition.average:
        _add_averages(grid)
    if definition.row_order:
        grid.rows.sort(key=definition.row_order)
    return grid


def run_head(run: Run) -> Head:
    """The heads of a run's columns: its scenario and its setting."""
    experiment = run.experiment
    steps = run.record.get("num_steps") or len(run.record["classes_per_step"])
    return scenario_head(experiment["dataset"], experiment["scenario"], steps), experiment["setting"].capitalize()


def _place(definition: Definition, head: Head) -> tuple:
    """Scenarios and settings in the paper's order, others after them."""
    split, setting = head[0].partition(" ")[0], head[1].lower()
    rank = SCENARIOS.index(split) if split in SCENARIOS else len(SCENARIOS)
    numbers = [int(digits) for digits in re.findall(r"\d+", head[0])]
    return rank, numbers, SETTINGS.index(setting), definition.tail_order(head[2:])


def pooled(values: Sequence[tuple[Run, float | None]]) -> Cell:
    """The mean over seeds with the sample standard deviation where there are several. Missing where a seed has no
    number or two different ones: a mean over the rest would mislead."""
    if not values:
        return Cell()
    seeds: dict[int, dict[float | None, str]] = {}
    for run, value in values:
        seeds.setdefault(run.experiment["seed"], {})[value] = run.name
    for seed, numbers in seeds.items():
        if len(numbers) > 1:
            return Cell(footnote=f"runs of one seed ({seed}) differ: {', '.join(numbers.values())}")
    known = [value for numbers in seeds.values() for value in numbers if value is not None]
    if len(known) < len(seeds):
        return Cell(footnote=f"{len(seeds) - len(known)} of {len(seeds)} runs without this number" if known else "")
    return Cell(mean(known), stdev(known) if len(known) > 1 else None, count=len(known))


def _add_averages(grid: Grid) -> None:
    """A column with mean and population standard deviation over the orders, after those of each scenario."""
    for scenario in dict.fromkeys(head[:2] for head in grid.heads):
        heads = [head for head in grid.heads if head[:2] == scenario]
        average = (*scenario, AVERAGE)
        grid.heads.insert(grid.heads.index(heads[-1]) + 1, average)
        for row in grid.rows:
            cells = {head[2]: grid.cells.get((row, head), Cell()) for head in heads}
            lacking = [order for order, cell in cells.items() if cell.value is None]
            known = [cell.value for cell in cells.values() if cell.value is not None]
            if lacking:
                note = f"no average: order {', '.join(lacking)} missing" if known else ""
                grid.cells[row, average] = Cell(footnote=note)
            else:
                grid.cells[row, average] = Cell(mean(known), pstdev(known) if len(known) > 1 else None)


def mark_counts(grid: Grid) -> str:
    """Give cells with an unusual number of seeds a footnote; returns what holds for the others, in words."""
    counts = Counter(cell.count for cell in grid.cells.values() if cell.count)
    if not counts:
        return ""
    usual = max(counts, key=lambda count: (counts[count], count))
    for place, cell in grid.cells.items():
        if cell.count not in (0, usual):
            grid.cells[place] = replace(cell, footnote=cell.footnote or _seeds(cell.count))
    return _seeds(usual) + (" where not marked" if len(counts) > 1 else "")


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"


def joined(paper: Grid, ours: Grid) -> Grid:
    """Each column of the paper three times: as printed, ours, and ours minus the paper's (of the rounded
    numbers)."""
    kept = {head[:2] for head in ours.heads} & {head[:2] for head in paper.heads}
    paper, ours = paper.of_scenarios(kept), ours.of_scenarios(kept)
    names = {_printed_name(row, paper.rows): row for row in ours.rows}
    rows = [*paper.rows, *(row for name, row in names.items() if name not in paper.rows)]
    grid = Grid(rows, remarks=dict.fromkeys(ours.rows, "") | paper.remarks)
    for head in dict.fromkeys([*paper.heads, *ours.heads]):
        grid.heads += [(*head, PAPER), (*head, OURS), (*head, DIFFERENCE)]
        for row in rows:
            printed, measured = paper.cells.get((row, head)), ours.cells.get((names.get(row, row), head))
            both = [cell.value for cell in (printed, measured) if cell and cell.value is not None]
            change = Cell(round(both[1], 1) - both[0], signed=True) if len(both) == 2 else Cell()
            found = {PAPER: printed, OURS: measured, DIFFERENCE: change}
            grid.cells |= {(row, (*head, name)): cell for name, cell in found.items() if cell}
    return grid


def _printed_name(row: Row, printed: Sequence[Row]) -> Row:
    """The paper's row for a method of ours: ILT is `ILT*` where the paper has only its re-implementation."""
    starred = (f"{row[0]}*", *row[1:])
    return starred if row not in printed and starred in printed else row

"""How far rounding moves a number: the spread over runs that differ in nothing but a nudge of their weights by one
unit in the last place (`--set nudge=1`, 2, …), beside the spread over seeds."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from math import sqrt
from statistics import fmean, variance

from issbench.results.comparable import question
from issbench.results.runs import Run
from issbench.results.table import Cell, Head, Table

_NOTE = (
    "rounding: standard deviation over runs of one seed whose weights were moved by one unit in the last place at "
    "the start of each step (--set nudge=N), pooled over the seeds; seeds: over seeds, pooled over the nudges. A "
    "difference between two runs that is not well above √2 times the first of these says nothing."
)
Values = dict[int, dict[int, float]]
"""A number by nudge and seed."""


def noise_tables(runs: Iterable[Run]) -> list[Table]:
    """A table for each scenario, setting, recipe and data, with a row for each method that has nudged runs."""
    places: dict[Hashable, dict[str, list[Run]]] = {}
    for run in runs:
        if run.complete and not run.imported:
            places.setdefault(_place(run), {}).setdefault(run.label, []).append(run)
    made = [_table(methods) for methods in places.values()]
    return [table for table in made if table.cells]


def _place(run: Run) -> Hashable:
    """Equal for runs that may differ in method, seed and nudge alone."""
    recipe = {name: value for name, value in run.experiment["differs"]["recipe"].items() if name != "nudge"}
    return question(run), tuple(sorted(recipe.items())), run.record["data"]


def _nudge(run: Run) -> int:
    nudge = run.experiment["differs"]["recipe"].get("nudge", 0)
    return nudge if isinstance(nudge, int) else 0


def _table(methods: dict[str, list[Run]]) -> Table:
    first = next(iter(methods.values()))[0]
    groups = [name for name, value in first.last["metrics"]["groups"].items() if value is not None]
    columns = ((group, what) for group in groups for what in ("rounding", "seeds"))
    heads: list[Head] = [("", "method"), *columns, ("", "runs")]
    rows = []
    for label, runs in methods.items():
        if any(_nudge(run) for run in runs):
            cells = [cell for group in groups for cell in _spreads(runs, group)]
            rows.append([Cell(text=label), *cells, Cell(text=str(len(runs)))])
    title = f"{first.place}, order {first.order}: standard deviations of mIoU (%) after the last step, in points"
    return Table(title, heads, rows, [_NOTE])


def _spreads(runs: Sequence[Run], group: str) -> tuple[Cell, Cell]:
    """Of a number of a method's runs: over nudges, and over seeds; missing where there are no two."""
    values: Values = {}
    for run in runs:
        value = run.last["metrics"]["groups"].get(group)
        if value is not None:
            values.setdefault(_nudge(run), {})[run.seed] = value
    by_seed: Values = {}
    for nudge, found in values.items():
        for seed, value in found.items():
            by_seed.setdefault(seed, {})[nudge] = value
    return _pooled(by_seed), _pooled(values)


def _pooled(values: Values) -> Cell:
    """The root of the mean of the variances of several sets of numbers."""
    found = [variance(numbers.values()) for numbers in values.values() if len(numbers) > 1]
    return Cell(sqrt(fmean(found)), digits=2) if found else Cell()

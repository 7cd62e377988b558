"""Tables made by name: from the paper, from runs, or the two beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from issbench.results.comparable import comparable_sets, leaking, not_made_alike, told_apart
from issbench.results.definitions import Definition, chosen, definition
from issbench.results.published import TABLES, Number, published
from issbench.results.runs import Run
from issbench.results.table import Cell, Table, TableError
from issbench.results.view import View

if TYPE_CHECKING:
    from issbench.results.pivot import Pivot

ALL = View()
"""The whole table, with one digit."""
_STAR = "*: re-implemented by the paper's authors."
_ORDERS = "Average: mean ± population standard deviation over the orders."


def published_tables(
    name: str, scenario: str | None = None, setting: str | None = None, view: View = ALL
) -> list[Table]:
    """The paper's tables of this name, or their part on a scenario (`voc_15-1`) or a setting. Raises TableError
    where the paper prints no such number."""
    from issbench.results.pivot import printed_pivot

    table, found = definition(name), []
    for number, numbers in _printed(table, scenario, setting).items():
        title = f"{_heading(number)}: {table.measures} ({_where(numbers)})"
        notes = _printed_notes(table, numbers)
        pivot = view.of(printed_pivot(table, numbers))
        found += [pivot.table(table, title, notes, "not printed")] if pivot.heads else []
    return found


def measured_tables(name: str, runs: Iterable[Run], noise: bool = False, view: View = ALL) -> list[Table]:
    """Tables of measured runs, one for each set of runs that may be compared; none where no run belongs in one.

    `noise`: all are marked that their seeds do not tell from the best of a column, instead of best and second.
    """
    from issbench.results.pivot import measured_pivot
    from issbench.results.seeds import with_seeds_told, within_noise

    table, found = definition(name), []
    sets = comparable_sets(chosen(table, list(runs)), *table.varies)
    titles = [_title(members, table) for members in sets]
    for members, title, difference in zip(sets, titles, told_apart(titles, sets), strict=True):
        single = table.extra_values is not None and len(_places(members)) == 1
        pivot, seeds = with_seeds_told(view.of(measured_pivot(table, members, extra=single)))
        if pivot.heads:
            title += f", {difference}" * bool(difference)
            notes = _notes(table, members, seeds)
            if noise:
                pivot, marked = within_noise(pivot, table)
                notes.append(marked)
            made = pivot.table(table, title, notes, "no run, or none with this number")
            found.append(_with_seeds(made, table, members, pivot) if single else made)
    return found


def main_tables(runs: Iterable[Run]) -> list[Table]:
    """mIoU (%) after the last step, methods × scenarios × settings × groups."""
    return measured_tables("main", runs)


def joined_tables(
    name: str, runs: Iterable[Run], scenario: str | None = None, setting: str | None = None, view: View = ALL
) -> list[Table]:
    """Measured runs beside the paper's numbers, with the difference: the scenarios and settings that both have.

    Runs with a choice of classes or an order that the paper's table does not have stay out. Raises TableError where
    nothing is left.
    """
    from issbench.results.beside import joined
    from issbench.results.pivot import measured_pivot, printed_pivot
    from issbench.results.seeds import with_seeds_told

    table, found = definition(name), []
    printed = _printed(table, scenario, setting)
    usable = [run for run in runs if _as_printed(run, table)]
    for number, numbers in printed.items():
        places = {(f"{n.dataset}_{n.scenario}", n.setting) for n in numbers}
        there = chosen(table, [run for run in usable if (run.scenario, run.setting) in places])
        sets = comparable_sets(there, *table.varies)
        where = [_where([n for n in numbers if _place_of(n) in _places(members)]) for members in sets]
        for members, what, difference in zip(sets, where, told_apart(where, sets), strict=True):
            ours, seeds = with_seeds_told(measured_pivot(table, members))
            if not ours.heads:
                continue
            shared = [n for n in numbers if _place_of(n) in _places(members)]
            notes = [*_notes(table, members, seeds), *_printed_notes(table, shared)]
            what += f", {difference}" * bool(difference)
            title = f"{_heading(number)} and ours: {table.measures} ({what})"
            pivot = view.of(joined(printed_pivot(table, numbers), ours))
            found += [pivot.table(table, title, notes, "no number, or no run")] if pivot.heads else []
    if not found and view == ALL:
        raise TableError(
            f"table {name} --both: no run has a scenario and setting of {_headings(printed)} with all classes; "
            "leave --both out to see the runs alone"
        )
    return found


def paper_order(run: Run) -> tuple[float, str, str, int]:
    """Sorts runs as the paper lists methods, others after them by name."""
    rank = run.method["order"]
    return float("inf") if rank is None else rank, run.method["title"], run.spec, run.seed


def _printed(table: Definition, scenario: str | None, setting: str | None) -> dict[str, list[Number]]:
    """The printed numbers by table."""
    if not table.printed:
        raise TableError(
            f"the paper only draws what table {table.name} has, without numbers; leave --published and --both out"
        )
    found: dict[str, list[Number]] = {}
    for number in published(*table.printed):
        names = (None, f"{number.dataset}_{number.scenario}")
        if scenario in names and setting in (None, number.setting):
            found.setdefault(number.table, []).append(number)
    if not found:
        asked = " ".join(part for part in (scenario, setting) if part)
        raise TableError(f"{_headings(table.printed)}: nothing on {asked}; ask for another table")
    return found


def _heading(table: str) -> str:
    return f"The paper's Table {table}" if table in TABLES else "Other papers"


def _headings(tables: Iterable[str]) -> str:
    """Several of them, inside a sentence."""
    paper = [table for table in tables if table in TABLES]
    return f"the paper's Table {', '.join(paper)}" if paper else "the numbers of other papers"


def _where(numbers: Sequence[Number]) -> str:
    """What all numbers have in common, as `voc_15-1, disjoint`."""
    scenarios = list(dict.fromkeys(f"{n.dataset}_{n.scenario}" for n in numbers))
    return ", ".join(_common(scenarios, [n.setting for n in numbers], numbers[0].dataset))


def _common(scenarios: Sequence[str], settings: Sequence[str], dataset: str) -> list[str]:
    what = [scenarios[0] if len({*scenarios}) == 1 else dataset]
    return what + ([settings[0]] if len({*settings}) == 1 else [])


def _printed_notes(table: Definition, numbers: Sequence[Number]) -> list[str]:
    others = "Numbers of other papers, as their authors print them; recipe and protocol are theirs."
    notes = [others if numbers and numbers[0].source else "Numbers of the paper as printed."]
    notes += [_ORDERS] * table.average
    return notes + [_STAR] * any(number.method.endswith("*") for number in numbers)


def _as_printed(run: Run, table: Definition) -> bool:
    usual_order = "order" in table.varies or run.experiment["order"] in ("natural", "A")
    return usual_order and not run.experiment["classes"] and run.images == "1"


def _places(runs: Sequence[Run]) -> set[tuple[str, str]]:
    return {(run.scenario, run.setting) for run in runs}


def _place_of(number: Number) -> tuple[str, str]:
    return f"{number.dataset}_{number.scenario}", number.setting


def _title(runs: Sequence[Run], table: Definition) -> str:
    first = runs[0].experiment
    what = _common([run.scenario for run in runs], [run.setting for run in runs], first["dataset"])
    what += [] if "order" in table.varies else [f"order {first['order']}"]
    what += [f"classes {', '.join(first['classes'])}"] if first["classes"] else []
    what += [f"images {runs[0].images}"] if runs[0].images != "1" else []
    return ("" if table.name == "main" else f"{table.name}: ") + ", ".join(what)


def _with_seeds(made: Table, table: Definition, runs: Sequence[Run], pivot: Pivot) -> Table:
    """With a last column for how many seeds are finished."""
    seeds = {row: {run.seed for run in runs if run.complete and table.row(run) == row} for row in pivot.rows}
    cells = [[*cells, Cell(text=str(len(seeds[row])))] for cells, row in zip(made.cells, pivot.rows, strict=True)]
    return replace(made, heads=[*made.heads, ("seeds",)], cells=cells)


def _notes(table: Definition, runs: Sequence[Run], seeds: str) -> list[str]:
    more = filter(None, (leaking(runs), not_made_alike(runs)))
    return [_explanation(table, runs, seeds), *_unfinished(runs), *more]


def _unfinished(runs: Sequence[Run]) -> list[str]:
    """Each run that is left out, since it has no numbers of the last step yet."""
    several, orders = len(_places(runs)) > 1, len({run.order for run in runs}) > 1
    return [
        f"{run.spec},{f' {run.scenario}, {run.setting},' * several}{f' order {run.order},' * orders} "
        f"seed {run.seed}: {run.unfinished}; left out."
        for run in runs
        if not run.complete
    ]


def _explanation(table: Definition, runs: Sequence[Run], seeds: str) -> str:
    """What the numbers are, over which seeds, and under which recipe and protocol they came about."""
    recipe = next((run.experiment["recipe"] for run in runs if not run.imported), None)
    # In one sentence: of a long note the report shows the first one.
    text = "; ".join(filter(None, [table.measures, seeds, _ORDERS.rstrip(".") * table.average])) + ". "
    evaluation = f"Evaluation {runs[0].record['protocol']}."
    if not recipe:
        return f"{text}Imported; the recipe is not known. {evaluation}"
    return (
        f"{text}{recipe['backbone']} ({recipe['weights']} weights), crop {recipe['crop']}, "
        f"batch {recipe['batch']}, "
        f"epochs {recipe['first_epochs'] or recipe['epochs']} + {recipe['epochs']} per later step, "
        f"learning rate {recipe['first_lr']:g}, then {recipe['lr']:g}"
        f"{', AdamW' if recipe.get('optimizer') == 'adamw' else ''}. {evaluation}"
    )

"""The tables by name: from the paper, from runs, or the two beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from issbench.results.definitions import METHODS, Definition, Spec, chosen, definition
from issbench.results.grid import Grid, joined, mark_counts, measured_grid, printed_grid, run_head
from issbench.results.published import Number, published
from issbench.results.runs import Run
from issbench.results.table import Cell, Table, TableError

_SEEDS = "mean ± sample standard deviation over seeds"
_STAR = "*: re-implemented by the paper's authors."
_ORDERS = "Average: mean ± population standard deviation over the orders."


def published_tables(name: str, scenario: str | None = None, setting: str | None = None) -> list[Table]:
    """The paper's tables of this name, or their part on a scenario (`voc_15-1`) or a setting. Raises TableError
    where the paper prints no such number."""
    table = definition(name)
    found = []
    for number, numbers in _printed(table, scenario, setting).items():
        title = f"The paper's Table {number}: {table.measures} ({_where(numbers)})"
        found.append(
            printed_grid(table, numbers).table(table, title, _printed_notes(table, numbers), "not printed")
        )
    return found


def measured_tables(name: str, runs: Iterable[Run]) -> list[Table]:
    """Tables of measured runs, one for each set of runs that may be compared; none where no run belongs in one."""
    table = definition(name)
    found = []
    for members in _sets(table, runs):
        grid = measured_grid(table, members)
        notes = _extras(grid, members) if table.extras and len(_places(members)) == 1 else []
        counts = "" if notes else mark_counts(grid)
        notes = [_explanation(table, members, counts), *_unfinished(members)]
        if grid.heads:
            found.append(grid.table(table, _title(members, table), notes, "no run, or none with this number"))
    return found


def main_tables(runs: Iterable[Run]) -> list[Table]:
    """mIoU (%) after the last step, methods × scenarios × settings × groups."""
    return measured_tables("main", runs)


def joined_tables(
    name: str, runs: Iterable[Run], scenario: str | None = None, setting: str | None = None
) -> list[Table]:
    """Measured runs beside the paper's numbers, with the difference: the scenarios and settings that both have.

    Runs with a choice of classes or an order that the paper's table does not have stay out. Raises TableError where
    nothing is left.
    """
    table, found = definition(name), []
    printed = _printed(table, scenario, setting)
    sets = _sets(table, (run for run in runs if _as_printed(run, table)))
    for number, numbers in printed.items():
        paper = printed_grid(table, numbers)
        for members in sets:
            dataset = members[0].experiment["dataset"]
            ours = measured_grid(table, members)
            if dataset != numbers[0].dataset or not {h[:2] for h in ours.heads} & {h[:2] for h in paper.heads}:
                continue
            counts = mark_counts(ours)
            shared = [n for n in numbers if (n.scenario, n.setting) in _places(members)]
            notes = [_explanation(table, members, counts), *_unfinished(members), *_printed_notes(table, shared)]
            title = f"The paper's Table {number} and ours: {table.measures} ({_where(shared)})"
            found.append(joined(paper, ours).table(table, title, notes, "no number, or no run"))
    if not found:
        raise TableError(
            f"table {name} --both: no run has a scenario and setting of the paper's Table {', '.join(printed)} "
            "with all classes; leave --both out to see the runs alone"
        )
    return found


def paper_order(run: Run) -> tuple:
    """Sorts runs as the paper lists methods, others after them by name."""
    spec = Spec.of(run)
    base = spec.title.partition("+")[0]
    rank = METHODS.index(base) if base in METHODS else len(METHODS)
    return rank, spec.title, run.experiment["method"], run.experiment["seed"]


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
        raise TableError(
            f"the paper's Table {', '.join(table.printed)} has nothing on {asked}; ask for another table"
        )
    return found


def _where(numbers: Sequence[Number]) -> str:
    """What all numbers have in common, as `voc_15-1, disjoint`."""
    scenarios = list(dict.fromkeys(f"{n.dataset}_{n.scenario}" for n in numbers))
    return ", ".join(_common(scenarios, [n.setting for n in numbers], numbers[0].dataset))


def _common(scenarios: Sequence[str], settings: Sequence[str], dataset: str) -> list[str]:
    what = [scenarios[0] if len({*scenarios}) == 1 else dataset]
    return what + ([settings[0]] if len({*settings}) == 1 else [])


def _printed_notes(table: Definition, numbers: Sequence[Number]) -> list[str]:
    notes = ["Numbers of the paper as printed."]
    notes += [_ORDERS] * table.average
    return notes + [_STAR] * any(number.method.endswith("*") for number in numbers)


def _sets(table: Definition, runs: Iterable[Run]) -> list[list[Run]]:
    """The runs that belong in the table, in sets that may share one. An imported run's recipe is unknown, so it
    stands beside those of every recipe, and says so; alone where there are none."""
    wanted = chosen(table, list(runs))
    sets: dict[str, list[Run]] = {}
    for run in wanted:
        if not run.imported:
            sets.setdefault(run.comparable_but(*table.varies), []).append(run)
    measured = list(sets.values())
    for run in wanted:
        if run.imported:
            beside = [members for members in measured if run.agrees(members[0], *table.varies)]
            for members in beside or [sets.setdefault(run.comparable_but(*table.varies), [])]:
                members.append(run)
    place = {id(run): number for number, run in enumerate(wanted)}
    return [sorted(members, key=lambda run: place[id(run)]) for members in sets.values()]


def _as_printed(run: Run, table: Definition) -> bool:
    experiment = run.experiment
    return not experiment["classes"] and ("order" in table.varies or experiment["order"] in ("natural", "A"))


def _places(runs: Sequence[Run]) -> set[tuple[str, str]]:
    """(scenario without its dataset, setting) of runs."""
    return {(run.experiment["scenario"].partition("_")[2], run.experiment["setting"]) for run in runs}


def _title(runs: Sequence[Run], table: Definition) -> str:
    experiments = [run.experiment for run in runs]
    first = experiments[0]
    what = _common([e["scenario"] for e in experiments], [e["setting"] for e in experiments], first["dataset"])
    what += [] if "order" in table.varies else [f"order {first['order']}"]
    what += [f"classes {', '.join(first['classes'])}"] if first["classes"] else []
    return ("" if table.name == "main" else f"{table.name}: ") + ", ".join(what)


def _extras(grid: Grid, runs: Sequence[Run]) -> list[str]:
    """Two more columns for a single scenario: the mean over steps, and how many seeds; returns their names."""
    over_steps, seeds = ((*run_head(runs[0]), name) for name in ("mean over steps", "seeds"))
    means = measured_grid(replace(definition("main"), values=_mean_over_steps), runs)
    for row in grid.rows:
        finished = {r.experiment["seed"] for r in runs if r.complete and definition("main").row(Spec.of(r)) == row}
        grid.cells[row, over_steps] = means.cells.get((row, over_steps), Cell())
        grid.cells[row, seeds] = Cell(text=str(len(finished)))
    grid.heads += [over_steps, seeds]
    return [over_steps[-1], seeds[-1]]


def _mean_over_steps(run: Run) -> dict[tuple[str, ...], float | None]:
    return {("mean over steps",): run.record.get("mean_over_steps")}


def _unfinished(runs: Sequence[Run]) -> list[str]:
    """Each run that is left out, since it has no numbers of the last step yet."""
    several, orders = len(_places(runs)) > 1, len({run.order for run in runs}) > 1
    notes = []
    for run in runs:
        if not run.complete:
            e, done = run.experiment, len(run.record["steps"])
            where = f" {e['scenario']}, {e['setting']}," * several + f" order {run.order}," * orders
            notes.append(f"{e['method']},{where} seed {e['seed']}: unfinished, {done} steps done; left out.")
    return notes


def _explanation(table: Definition, runs: Sequence[Run], counts: str) -> str:
    """What the numbers are, and under which recipe and protocol they came about."""
    recipe = next((run.experiment["recipe"] for run in runs if not run.imported), {})
    text = f"{table.measures}, {_SEEDS}{f' ({counts})' if counts else ''}. " + f"{_ORDERS} " * table.average
    evaluation = f"Evaluation {runs[0].record['protocol']}."
    if not recipe:
        return f"{text}Imported; the recipe is not known. {evaluation}"
    return (
        f"{text}{recipe['backbone']} ({recipe['weights']} weights), crop {recipe['crop']}, "
        f"batch {recipe['batch']}, "
        f"epochs {recipe['first_epochs'] or recipe['epochs']} + {recipe['epochs']} per later step, "
        f"learning rate {recipe['first_lr']:g}, then {recipe['lr']:g}. {evaluation}"
    )

"""What was run: facts in short, and a table of methods by scenario with the seeds that are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from issbench.results.comparable import data_names
from issbench.results.pivot import run_head
from issbench.results.report.boxes import table_box
from issbench.results.report.markup import Html, facts, joined, listing, tag
from issbench.results.runs import Run
from issbench.results.table import MISSING, Cell, Table


def overview(runs: Sequence[Run]) -> Html:
    """The facts, which runs there are, and which are not finished."""
    return joined(facts(_facts(runs)), table_box(seed_table(runs), texts=True), _unfinished(runs))


def _facts(runs: Sequence[Run]) -> list[tuple[str, str]]:
    experiments = [run.experiment for run in runs]
    open_runs = sum(not run.complete for run in runs)
    imported = sum(run.imported for run in runs)
    counts = (
        [f"{len(runs)}"] + [f"{open_runs} unfinished"] * bool(open_runs) + [f"{imported} imported"] * bool(imported)
    )
    return [
        ("runs", ", ".join(counts)),
        ("methods", _all(run.label for run in runs)),
        ("scenarios", _all(e["scenario"] for e in experiments)),
        ("settings", _all(e["setting"] for e in experiments)),
        ("class orders", _all(e["order"] for e in experiments)),
        ("seeds", _all(sorted({e["seed"] for e in experiments}))),
        ("evaluation", "; ".join(dict.fromkeys(run.record["protocol"] for run in runs))),
    ]


def _all(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(map(str, values)))


def seed_table(runs: Sequence[Run]) -> Table:
    """Methods × scenarios: the seeds that are finished; one that is not has its steps behind it."""
    heads: dict[tuple[str, ...], None] = {}
    rows: dict[str, None] = {}
    found: dict[tuple[str, tuple[str, ...]], set[str]] = {}
    data = data_names(runs)
    for run in runs:
        head = (f"{run.experiment['dataset']} {run_head(run)[0]}", f"{run.condition}, order {run.order}")
        row = run.label
        heads[head], rows[row] = None, None
        found.setdefault((row, head), set()).add(_seed(run, data.get(run.name, "")))
    cells = [
        [Cell(text=row), *(Cell(text=", ".join(sorted(found.get((row, head), ()))) or MISSING) for head in heads)]
        for row in rows
    ]
    notes = [f"{MISSING}: no run. “2 (3 of 5 steps)”: seed 2 is not finished."]
    return Table("Seeds that were run", [("method",), *heads], cells, notes)


def _seed(run: Run, data: str) -> str:
    done = "" if run.complete else f"{len(run.steps)} of {run.record['num_steps']} steps"
    about = ", ".join(filter(None, [done, data]))
    return f"{run.seed} ({about})" if about else str(run.seed)


def _unfinished(runs: Sequence[Run]) -> Html:
    """The runs that are not finished, by name."""
    found = [run for run in runs if not run.complete]
    if not found:
        return Html("")
    names = [f"{run.name}: {run.unfinished}" for run in found]
    return joined(tag("p", "Left out of the tables of the last step:"), listing(names))

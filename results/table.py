"""Tables of methods × groups of classes, one for each set of comparable runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import mean, stdev

from results.records import Run

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A rendered table: `rows` are texts, the first of each row names the method."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """GitHub's Markdown."""
        from tabulate import tabulate

        align = ["left", *["right"] * (len(self.header) - 1)]
        body = tabulate(self.rows, self.header, tablefmt="github", disable_numparse=True, colalign=align)
        return "\n\n".join([f"**{self.title}**", body, *self.notes])

    def csv(self) -> str:
        """Comma-separated values with a column for the title; notes are left out."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["table", *self.header])
        writer.writerows([self.title, *row] for row in self.rows)
        return text.getvalue()


def main_tables(runs: Iterable[Run]) -> list[Table]:
    """mIoU (%) after the last step, methods × groups. Runs that differ in more than method and seed, such as in
    protocol or recipe, never share a table."""
    sets: dict[str, list[Run]] = {}
    for run in runs:
        sets.setdefault(run.comparable, []).append(run)
    return [_table(members) for members in sets.values()]


def _table(runs: list[Run]) -> Table:
    experiment = runs[0].experiment
    methods: dict[str, list[Run]] = {}
    for run in runs:
        methods.setdefault(run.experiment["method"], []).append(run)
    groups = list(runs[0].last["groups"])
    rows, notes = [], []
    for method, members in methods.items():
        finished = [run for run in members if run.complete]
        for run in members:
            if not run.complete:
                done = len(run.record["steps"])
                notes.append(f"{method}, seed {run.experiment['seed']}: unfinished, {done} steps done; left out.")
        values = [_cell([run.last["groups"].get(group) for run in finished]) for group in groups]
        over_steps = _cell([run.record["mean_over_steps"] for run in finished])
        rows.append([_title(members[0], method), *values, over_steps, str(len(finished))])
    order, classes = experiment["order"], experiment["classes"]
    title = f"{experiment['scenario']}, {experiment['setting']}, order {order}"
    if classes:
        title += f", classes {', '.join(classes)}"
    return Table(title, ["method", *groups, "mean over steps", "seeds"], rows, [_explanation(runs), *notes])


def _title(run: Run, method: str) -> str:
    """A method's title in tables, with the options that the user gave."""
    _, colon, options = method.partition(":")
    return run.record["title"] + (f" ({options})" if colon else "")


def _cell(values: list[float | None]) -> str:
    """Mean over seeds, with the sample standard deviation where there are several."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return MISSING
    return f"{mean(known):.1f}" + (f" ± {stdev(known):.1f}" if len(known) > 1 else "")


def _explanation(runs: list[Run]) -> str:
    recipe = runs[0].experiment["recipe"]
    first = recipe["first_epochs"] or recipe["epochs"]
    return (
        "mIoU (%) after the last step, mean ± sample standard deviation over seeds. "
        f"{recipe['backbone']} ({recipe['weights']} weights), crop {recipe['crop']}, batch {recipe['batch']}, "
        f"epochs {first} + {recipe['epochs']} per later step, learning rate {recipe['first_lr']:g}, then "
        f"{recipe['lr']:g}. Evaluation {runs[0].record['protocol']}."
    )

"""`bench compare`: methods against each other, with intervals and tests, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support.options import as_recorded
from issbench.bench.commands.support.printing import print_table
from issbench.results.render import Format


def compare(
    methods: Annotated[
        list[str],
        typer.Argument(help="Two methods, with options as in their runs (gsc:sg=off), or more."),
    ],
    scenario: Annotated[str | None, typer.Option(help="Only runs of this scenario.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only runs of this setting.")] = None,
    equivalence: Annotated[
        float,
        typer.Option(min=0, max=100, help="Points up to which a difference is none in practice."),
    ] = 0.5,
    group: Annotated[str, typer.Option(help="Classes: all, base, new, or as printed (0-15).")] = "all",
    format: Annotated[Format, typer.Option(help="How to print.")] = "terminal",
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Compare methods by their mIoU after the last step, over the runs that differ in nothing but the method.

    One seed speaks of two networks. From two seeds, orders or scenarios: the mean difference with its interval, a
    test, what it could have found, and on what else it holds. Three methods or more: all pairs, Holm's correction.
    """
    from issbench.results.compare import compare as compare_runs
    from issbench.results.runs import load_runs

    runs = [run for run in load_runs(out) if scenario in (None, run.scenario) and setting in (None, run.setting)]
    print_table(compare_runs(runs, as_recorded(methods, runs), group, equivalence), format)

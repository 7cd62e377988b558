"""`bench show`: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support.printing import print_table
from issbench.bench.commands.support.repeating import told


def show(
    run: Annotated[
        str, typer.Argument(help="Name of a run, its beginning, the hash at its end, or the path of its folder.")
    ],
    against: Annotated[
        str | None, typer.Option(help="Another run, in the same words: print what differs between the two.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Print one run: the experiment, its environment, mIoU after each step, IoU and forgetting of each class."""
    from issbench.results.differences import differences
    from issbench.results.runs import find_run
    from issbench.results.show import class_table, run_summary, step_table

    found = find_run(out, run)
    if against is not None:
        other = find_run(out, against)
        typer.echo(f"{found.path} against {other.path}")
        for line in told(differences(found, other)):
            typer.echo(line)
        return
    for name, value in run_summary(found):
        typer.echo(f"{name + ':':<15} {value}")
    for part in (step_table(found), class_table(found)):
        print_table(part)

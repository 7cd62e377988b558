"""`bench show`: one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support.printing import print_table


def show(
    run: Annotated[str, typer.Argument(help="Name of a run, its beginning, or the hash at its end.")],
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Print one run: the experiment, its environment, mIoU after each step, IoU and forgetting of each class."""
    from issbench.results.runs import load_run
    from issbench.results.show import class_table, run_summary, step_table

    found = load_run(out, run)
    for name, value in run_summary(found):
        typer.echo(f"{name + ':':<15} {value}")
    for part in (step_table(found), class_table(found)):
        print_table(part)

"""`bench table` and `bench show`: what the run store holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from results.records import Run
    from results.table import Table

Format = Literal["terminal", "markdown", "csv"]
_OUT = typer.Option(help="The run store.")


def table(
    scenario: Annotated[str | None, typer.Option(help="Only runs of this scenario.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only runs of this setting.")] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = "terminal",
    out: Annotated[Path, _OUT] = Path("runs"),
) -> None:
    """Print mIoU after the last step, methods × groups of classes."""
    from results.records import RecordError, load_runs

    wanted = {"scenario": scenario, "setting": setting}
    runs = [
        run
        for run in load_runs(out)
        if all(value is None or run.experiment[key] == value for key, value in wanted.items())
    ]
    if not runs:
        asked = " ".join(f"{key} {value}" for key, value in wanted.items() if value)
        raise RecordError(f"{out} holds no run{' of ' + asked if asked else ''}; `bench run` makes some")
    print_tables(sorted(runs, key=lambda run: run.last["groups"].get("all") or 0), format)


def show(
    run: Annotated[str, typer.Argument(help="Name of a run, its beginning, or the hash at its end.")],
    out: Annotated[Path, _OUT] = Path("runs"),
) -> None:
    """Print one run: the experiment, mIoU after each step, IoU and forgetting of each class."""
    from results.records import load_run
    from results.show import class_table, run_summary, step_table

    found = load_run(out, run)
    for name, value in run_summary(found):
        typer.echo(f"{name + ':':<15} {value}")
    for part in (step_table(found), class_table(found)):
        print_table(part)


def print_tables(runs: list[Run], format: Format) -> None:
    """Print the main tables of runs."""
    from results.table import main_tables

    for part in main_tables(runs):
        print_table(part, format)


def print_table(table: Table, format: Format = "terminal") -> None:
    """Print a table."""
    if format == "terminal":
        _print_terminal(table)
    else:
        typer.echo(table.markdown() if format == "markdown" else table.csv().rstrip())


def _print_terminal(table: Table) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    rich = RichTable(title=table.title, title_justify="left", title_style="bold")
    for number, name in enumerate(table.header):
        rich.add_column(name, justify="right" if number else "left")
    for row in table.rows:
        rich.add_row(*row)
    console = Console()
    console.print(rich)
    for note in table.notes:
        console.print(note, style="dim", highlight=False, markup=False, soft_wrap=not console.is_terminal)

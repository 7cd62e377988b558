"""`bench table` and `bench show`: what the run store holds, and what the paper prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from results.records import Run
    from results.table import Table

Format = Literal["terminal", "latex", "markdown", "csv", "html"]
Style = Literal["colour", "plain"]
_OUT = typer.Option(help="The run store.")


def table(
    name: Annotated[
        str,
        typer.Argument(
            help="main, domain, ablation, class-order, hyperparameters, combination, steps or forgetting."
        ),
    ] = "main",
    published: Annotated[bool, typer.Option("--published", help="The paper's numbers alone.")] = False,
    both: Annotated[
        bool, typer.Option("--both", help="Runs beside the paper's numbers, with the difference.")
    ] = False,
    scenario: Annotated[str | None, typer.Option(help="Only this scenario.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only this setting.")] = None,
    format: Annotated[
        Format | None, typer.Option(help="How to print.  [default: terminal, or as --output ends]")
    ] = None,
    style: Annotated[
        Style, typer.Option(help="Best and second in red and blue, or bold and underlined (latex, html, terminal).")
    ] = "colour",
    output: Annotated[
        Path | None, typer.Option(help="Write to this file (.tex, .md, .csv, .html); a .bib beside LaTeX.")
    ] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="A whole LaTeX document to compile.")] = False,
    out: Annotated[Path, _OUT] = Path("runs"),
) -> None:
    """Print a table: methods × scenarios × settings × groups of classes, or another one by its NAME.

    Runs are averaged over seeds. Those that differ in recipe, protocol or classes never share a table.
    """
    from results.table import TableError
    from results.tables import joined_tables, measured_tables, published_tables

    if published and both:
        raise TableError("--published is the paper alone, --both is runs beside it; give one of them")
    if published:
        tables = published_tables(name, scenario, setting)
    else:
        runs = runs_asked_for(out, scenario, setting)
        tables = joined_tables(name, runs, scenario, setting) if both else measured_tables(name, runs)
    if not tables:
        raise TableError(f"none of the {len(runs)} runs in {out} belongs in table {name}; see docs/results.md")
    _deliver(tables, format, style, output, standalone)


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
    from results.tables import main_tables

    _deliver(main_tables(runs), format)


def print_table(table: Table, format: Format = "terminal") -> None:
    """Print a table."""
    _deliver([table], format)


def runs_asked_for(out: Path, scenario: str | None, setting: str | None, brief: bool = True) -> list[Run]:
    """The runs of a store that are asked for, as the paper lists methods."""
    from results.records import RecordError, load_runs
    from results.tables import paper_order

    wanted = {"scenario": scenario, "setting": setting}
    runs = [
        run
        for run in load_runs(out, brief=brief)
        if all(value is None or run.experiment[key] == value for key, value in wanted.items())
    ]
    if not runs:
        asked = " ".join(f"{key} {value}" for key, value in wanted.items() if value)
        raise RecordError(f"{out} holds no run{' of ' + asked if asked else ''}; `bench run` makes some")
    return sorted(runs, key=paper_order)


def _deliver(
    tables: list[Table],
    format: Format | None,
    style: Style = "colour",
    output: Path | None = None,
    standalone: bool = False,
) -> None:
    """Print tables, or write them to a file."""
    from results.render import SUFFIXES, render
    from results.table import TableError

    format = format or (SUFFIXES.get(output.suffix, "terminal") if output else "terminal")
    if standalone and format != "latex":
        raise TableError(f"--standalone is a LaTeX document, not {format}; add --format latex")
    if output is None and format == "terminal":
        _print_terminal(tables, style)
        return
    text = render(tables, format, style)
    if standalone:
        from results.render.latex import document

        text = document(text, output.stem if output else "references")
    if output is None:
        typer.echo(text.rstrip("\n"))
    else:
        _write(output, text, tables, format)


def _write(output: Path, text: str, tables: list[Table], format: Format) -> None:
    from results.citations import bibliography
    from results.table import TableError

    try:
        output.write_text(text, encoding="utf-8")
        if format == "latex":
            output.with_suffix(".bib").write_text(bibliography(tables), encoding="utf-8")
    except OSError as error:
        raise TableError(f"--output {output} cannot be written ({error.strerror}); choose another place") from None
    typer.echo(f"wrote {output}" + (f" and {output.with_suffix('.bib').name}" if format == "latex" else ""))


def _print_terminal(tables: list[Table], style: Style) -> None:
    """With colours and folded to the width of the terminal if it is one."""
    import shutil
    import sys

    from results.render.terminal import render

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    typer.echo("\n".join(render(table, style, width, terminal) for table in tables).rstrip("\n"))

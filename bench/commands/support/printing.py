"""How commands choose runs, and print tables or write them to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from issbench.results.render import Format, Style

if TYPE_CHECKING:
    from issbench.results.runs import Run
    from issbench.results.table import Table


def print_tables(runs: list[Run], format: Format) -> None:
    """Print the main tables of runs."""
    from issbench.results.make_tables import measured_tables

    deliver(measured_tables("main", runs), format)


def print_table(table: Table, format: Format = "terminal") -> None:
    """Print a table."""
    deliver([table], format)


def runs_asked_for(out: Path, scenario: str | None, setting: str | None, brief: bool = True) -> list[Run]:
    """The runs of a store that are asked for, as the paper lists methods."""
    from issbench.results.make_tables import paper_order
    from issbench.results.runs import RecordError, load_runs

    runs = [
        run
        for run in load_runs(out, brief=brief)
        if scenario in (None, run.scenario) and setting in (None, run.setting)
    ]
    if not runs:
        asked = " ".join(f"{key} {value}" for key, value in (("scenario", scenario), ("setting", setting)) if value)
        raise RecordError(f"{out} holds no run{' of ' + asked if asked else ''}; `bench run` makes some")
    return sorted(runs, key=paper_order)


def deliver(
    tables: list[Table],
    format: Format | None,
    style: Style = "colour",
    output: Path | None = None,
    standalone: bool = False,
    force: bool = False,
) -> None:
    """Print tables, or write them to a file."""
    from issbench.results.render import SUFFIXES, render
    from issbench.results.table import TableError

    format = format or (SUFFIXES.get(output.suffix, "terminal") if output else "terminal")
    if format == "parquet":
        raise TableError("parquet holds one tidy table: `bench table long --format parquet`")
    if standalone and format != "latex":
        raise TableError(f"--standalone is a LaTeX document, not {format}; add --format latex")
    if standalone and output and set(output.stem) & set("%#{}\\~^$&,"):
        raise TableError(f"--output {output}: LaTeX cannot name its .bib file; write letters, digits, - and _")
    if output is None and format == "terminal":
        _print_terminal(tables, style)
        return
    text = render(tables, format, style)
    if standalone:
        from issbench.results.render.latex import document

        text = document(text, output.stem if output else "references")
    if output is None:
        typer.echo(text.rstrip("\n"))
        return
    from issbench.outputs import refuse_foreign, write_output

    texts = {output: text}
    if format == "latex":
        from issbench.results.citations import bibliography

        texts[output.with_suffix(".bib")] = bibliography(tables)
    refuse_foreign(texts, force)
    for path, content in texts.items():
        write_output(path, content.encode(), force)
    typer.echo(f"wrote {' and '.join([str(output), *(path.name for path in [*texts][1:])])}")


def _print_terminal(tables: list[Table], style: Style) -> None:
    """With colours and folded to the width of the terminal if it is one."""
    import shutil
    import sys

    from issbench.results.render.terminal import render

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    typer.echo("\n".join(render(table, style, width, terminal) for table in tables).rstrip("\n"))

"""`bench table`: what the run store holds, and what the paper prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from issbench.bench.commands.support.options import Force
from issbench.bench.commands.support.printing import deliver, runs_asked_for
from issbench.results.definitions import DEFINITIONS
from issbench.results.render import Format, Style

if TYPE_CHECKING:
    import pandas as pd

    from issbench.results.runs import Run

LONG = "long"
"""The name of the tidy table: a row per run, step and group of classes."""


def table(
    name: Annotated[
        str, typer.Argument(help=f"{', '.join(DEFINITIONS)}, or {LONG}: all numbers as one tidy table.")
    ] = "main",
    published: Annotated[bool, typer.Option("--published", help="The paper's numbers alone.")] = False,
    both: Annotated[
        bool, typer.Option("--both", help="Runs beside the paper's numbers, with the difference.")
    ] = False,
    within_noise: Annotated[
        bool,
        typer.Option(
            "--within-noise",
            help="Mark all that the seeds do not tell from the best, not best and second.",
        ),
    ] = False,
    scenario: Annotated[str | None, typer.Option(help="Only this scenario.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only this setting.")] = None,
    format: Annotated[
        Format | None,
        typer.Option(help=f"How to print; {LONG} is csv or parquet.", show_default="terminal, or as --output ends"),
    ] = None,
    style: Annotated[
        Style, typer.Option(help="Best and second in red and blue, or bold and underlined (latex, html, terminal).")
    ] = "colour",
    output: Annotated[
        Path | None,
        typer.Option(help="Write to this file (.tex, .md, .csv, .html, .parquet); a .bib beside LaTeX."),
    ] = None,
    standalone: Annotated[bool, typer.Option("--standalone", help="A whole LaTeX document to compile.")] = False,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
    force: Force = False,
) -> None:
    """Print a table: methods × scenarios × settings × groups of classes, or another one by its NAME.

    Runs are averaged over seeds. Those that differ in recipe, data, protocol or classes never share a table.
    """
    from issbench.results.make_tables import joined_tables, measured_tables, published_tables
    from issbench.results.table import TableError

    if published and both:
        raise TableError("--published is the paper alone, --both is runs beside it; give one of them")
    if within_noise and (published or both or name == LONG):
        raise TableError("--within-noise needs the seeds of runs, and marks the best of a table of runs alone")
    if name == LONG:
        if published or both or standalone:
            raise TableError(f"table {LONG} holds runs alone; leave --published, --both and --standalone out")
        _long(runs_asked_for(out, scenario, setting), format, output, force)
        return
    if published:
        tables = published_tables(name, scenario, setting)
    else:
        runs = runs_asked_for(out, scenario, setting)
        tables = joined_tables(name, runs, scenario, setting) if both else measured_tables(name, runs, within_noise)
    if not tables:
        raise TableError(f"no run in {out} belongs in table {name}; see docs/results.md")
    deliver(tables, format, style, output, standalone, force)


def _long(runs: list[Run], format: Format | None, output: Path | None, force: bool) -> None:
    """Print or write the tidy table."""
    from issbench.outputs import write_output
    from issbench.results.frame import tidy
    from issbench.results.render import SUFFIXES
    from issbench.results.render.csv import harmless
    from issbench.results.table import TableError

    format = format or (SUFFIXES.get(output.suffix) if output else None) or "csv"
    if format == "parquet":
        if output is None:
            raise TableError("parquet is not text; add --output FILE.parquet")
        write_output(output, _parquet(tidy(runs)), force)
    elif format == "csv":
        text = tidy(runs).map(lambda cell: harmless(cell) if isinstance(cell, str) else cell).to_csv(index=False)
        if output is None:
            typer.echo(text.rstrip("\n"))
            return
        write_output(output, text.encode(), force)
    else:
        raise TableError(f"table {LONG} is written as csv or parquet, not as {format}")
    typer.echo(f"wrote {output}")


def _parquet(frame: pd.DataFrame) -> bytes:
    import io

    from issbench.results.table import TableError

    content = io.BytesIO()
    try:
        frame.to_parquet(content, index=False)
    except ImportError:
        raise TableError("--format parquet needs pyarrow: pip install pyarrow") from None
    return content.getvalue()

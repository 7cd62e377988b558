"""`bench table`: what the run store holds, and what the paper prints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from issbench.bench.commands.support.options import Force, names
from issbench.bench.commands.support.printing import deliver, runs_asked_for
from issbench.results.definitions import DEFINITIONS
from issbench.results.render import Format, Style

if TYPE_CHECKING:
    import pandas as pd

    from issbench.results.runs import Run
    from issbench.results.table import Table
    from issbench.results.view import View

LONG = "long"
"""The name of the tidy table: a row per run, step and group of classes."""
NOISE = "noise"
"""The name of the table of what rounding and seeds do to a number."""


def table(
    name: Annotated[
        str,
        typer.Argument(
            help=f"{', '.join(DEFINITIONS)}; {NOISE}: the spread over nudges and seeds; {LONG}: all numbers as one "
            "tidy table."
        ),
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
    columns: Annotated[
        str | None, typer.Option(help="Only these columns, by a head: all,hIoU or '15-1*' (* for anything).")
    ] = None,
    rows: Annotated[str | None, typer.Option(help="Only these rows, by name: 'PLOP,GSC*'.")] = None,
    sort: Annotated[str | None, typer.Option(help="Sort the rows by this column, the highest first.")] = None,
    digits: Annotated[int, typer.Option(min=0, max=4, help="Digits after the point.")] = 1,
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
    from issbench.results.table import TableError
    from issbench.results.view import View

    view = View(names(columns), names(rows), sort or "", digits)
    if published and both:
        raise TableError("--published is the paper alone, --both is runs beside it; give one of them")
    if within_noise and (published or both or name == LONG):
        raise TableError("--within-noise needs the seeds of runs, and marks the best of a table of runs alone")
    if name == NOISE and (published or both or within_noise or view != View()):
        raise TableError(f"table {NOISE} is of runs alone, and shows all of them; leave out the options beside it")
    if digits > 1 and (published or both):
        raise TableError(f"--digits {digits}: the paper's numbers have one digit; leave it out beside them")
    if name == LONG:
        if published or both or standalone or view != View():
            raise TableError(
                f"table {LONG} holds runs alone, all their numbers; leave --published, --both, --standalone, and "
                "what chooses, sorts or rounds out"
            )
        _long(runs_asked_for(out, scenario, setting), format, output, force)
        return
    runs = None if published else runs_asked_for(out, scenario, setting)
    made = _maker(name, runs, (scenario, setting), both, within_noise)
    tables = made(View())
    if not tables:
        raise TableError(f"no run in {out} belongs in table {name}; see docs/results.md")
    if view != View():
        view.check(tables)
        tables = made(view)
    if not tables:
        raise TableError("the rows and the columns that are asked for stand in different tables; ask for either")
    deliver(tables, format, style, output, standalone, force)


def _maker(
    name: str, runs: list[Run] | None, where: tuple[str | None, str | None], both: bool, noise: bool
) -> Callable[[View], list[Table]]:
    """What makes the tables of runs, of the paper (None), or of both, as far as a view shows them."""
    from issbench.results.make_tables import joined_tables, measured_tables, published_tables
    from issbench.results.noise import noise_tables

    if runs is None:
        return lambda view: published_tables(name, *where, view)
    if name == NOISE:
        return lambda view: noise_tables(runs)
    if both:
        return lambda view: joined_tables(name, runs, *where, view)
    return lambda view: measured_tables(name, runs, noise, view)


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

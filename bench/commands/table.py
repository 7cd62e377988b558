"""`bench table`: what the run store holds, and what the paper prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support.printing import Format, Style, deliver, runs_asked_for


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
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Print a table: methods × scenarios × settings × groups of classes, or another one by its NAME.

    Runs are averaged over seeds. Those that differ in recipe, protocol or classes never share a table.
    """
    from issbench.results.table import TableError
    from issbench.results.tables import joined_tables, measured_tables, published_tables

    if published and both:
        raise TableError("--published is the paper alone, --both is runs beside it; give one of them")
    if published:
        tables = published_tables(name, scenario, setting)
    else:
        runs = runs_asked_for(out, scenario, setting)
        tables = joined_tables(name, runs, scenario, setting) if both else measured_tables(name, runs)
    if not tables:
        raise TableError(f"none of the {len(runs)} runs in {out} belongs in table {name}; see docs/results.md")
    deliver(tables, format, style, output, standalone)

"""`bench report`: all that a run store holds as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support.options import Force


def report(
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    scenario: Annotated[str | None, typer.Option(help="Only runs of this scenario.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only runs of this setting.")] = None,
    both: Annotated[bool, typer.Option("--both", help="Tables beside the paper's numbers, too.")] = False,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
    force: Force = False,
) -> None:
    """Write a report: tables that sort, figures, statistics in words, settings, time and memory, every run.

    One file that needs no network. Its links lead to the folders of the runs, so keep it where it was written
    if you want to follow them.
    """
    from issbench.bench.commands.support.printing import runs_asked_for
    from issbench.outputs import refuse_foreign, write_output
    from issbench.results.report import report as page

    refuse_foreign([output], force)
    runs = runs_asked_for(out, scenario, setting, brief=False)
    text = page(runs, output.parent, both)
    write_output(output, text.encode(), force)
    typer.echo(f"wrote {output}: {len(runs)} runs, {len(text) / 1e6:.1f} MB")

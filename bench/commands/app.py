"""The command `bench`: subcommands, and how errors end."""

from __future__ import annotations

import os
import sys

import typer

from issbench.bench.commands import (
    cancel,
    compare,
    data,
    figure,
    import_,
    logs,
    predict,
    report,
    retry,
    run,
    show,
    speed,
    status,
    sweep,
    table,
)
from issbench.bench.commands.list import app as list_app
from issbench.errors import Interrupted, UserError

app = typer.Typer(
    name="bench",
    help="Benchmark incremental semantic segmentation: one command, one engine, many methods.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("sweep")(sweep.sweep)
app.command("status")(status.status)
app.command("logs")(logs.logs)
app.command("cancel")(cancel.cancel)
app.command("retry")(retry.retry)
app.add_typer(list_app, name="list")
app.add_typer(data.app, name="data")
app.command("table")(table.table)
app.command("show")(show.show)
app.command("figure")(figure.figure)
app.command("predict")(predict.predict)
app.command("compare")(compare.compare)
app.command("report")(report.report)
app.command("import")(import_.import_results)
app.command("speed")(speed.speed)


def main() -> None:
    """Run the command; an error that the user can mend is one message and its exit code, never a traceback. Of
    several processes that train together only rank 0 writes to stdout; every rank may write errors."""
    if os.environ.get("RANK", "0") != "0":
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # for good
    try:
        app()
    except UserError as error:
        print(f"{'' if isinstance(error, Interrupted) else 'error: '}{error}", file=sys.stderr)
        sys.exit(error.exit_code)

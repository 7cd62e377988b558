"""The command `bench`: subcommands, and how errors end."""

from __future__ import annotations

import sys
import tempfile
import traceback
from typing import Annotated

import typer

from issbench.bench.commands import (
    cancel,
    compare,
    data,
    doctor,
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
from issbench.bench.commands.support import terminal
from issbench.bench.commands.support.once import App
from issbench.bench.signals import raising
from issbench.errors import Interrupted, UserError, reason_of
from issbench.files import explained
from issbench.text import printable

BUG = "this is a bug of issbench"
_ClickError = typer.BadParameter.__mro__[2]  # click's own base, wherever typer has it from

app = App(
    name="bench",
    no_args_is_help=True,
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
app.command("doctor")(doctor.doctor)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"bench {version('issbench')}")
        raise typer.Exit


@app.callback()
def bench(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Tell the version and exit.")
    ] = False,
) -> None:
    """Benchmark incremental semantic segmentation: one command, one engine, many methods."""


def main() -> None:
    """Run the command. What went wrong is one message and an exit code, never a traceback: 2 for a wrong command,
    1 for what failed, 128 and its number for a signal. A bug leaves its traceback in a file."""
    terminal.prepare()
    with raising() as received:
        try:
            code = app(prog_name="bench", standalone_mode=False)
            if received:  # typer makes an exit code of it, always the same
                raise Interrupted("interrupted")
            sys.stdout.flush()
        except Exception as error:
            code = _told(error)
    sys.exit(128 + received[0] if received else code or 0)


def _told(error: Exception) -> int:
    """The exit code of an error, after it was told."""
    if isinstance(error, BrokenPipeError):  # who read our output has seen enough
        terminal.give_up_output()
        return 1
    if isinstance(error, UserError):
        return _fails(str(error), error.exit_code, "" if isinstance(error, Interrupted) else "error: ")
    if isinstance(error, _ClickError):
        if type(error).__name__ == "NoArgsIsHelpError":  # the help is told already
            return 2
        context = getattr(error, "ctx", None)
        help = f" (see {context.command_path} --help)" if context else ""
        said: str = error.format_message()  # type: ignore[attr-defined]
        return _fails(f"{said.rstrip('.')}{help}", 2)
    if isinstance(error, OSError) and error.filename is None:
        terminal.give_up_output()
        return _fails(f"standard output cannot be written: {error.strerror or error}; send it elsewhere", 1)
    if isinstance(error, OSError):  # whatever a disk or a network did that nobody foresaw
        return _fails(explained(error), 1)
    if isinstance(error, UnicodeEncodeError):
        place = f"{error.object!r} has letters that {error.encoding}, the encoding of this system, lacks"
        return _fails(f"{place}; set PYTHONUTF8=1, or a locale with UTF-8", 1)
    return _bug(error)


def _bug(error: Exception) -> int:
    """The exit code of an error that is ours, after its traceback was kept."""
    descriptor, path = tempfile.mkstemp(".txt", "issbench-", text=True)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123  # no path, as it is open already
        traceback.print_exception(error, file=file)
    return _fails(f"{reason_of(error)}; {BUG}: please report it, with {path}", 1)


def _fails(message: str, code: int, mark: str = "error: ") -> int:
    print(mark + printable(message), file=sys.stderr)
    return code

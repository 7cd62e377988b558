"""`bench logs`: what a run and its job printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_EVERY = 0.5
"""Seconds between two looks at a log that is followed."""
_JOB_LINES = 50


def logs(
    run: Annotated[str, typer.Argument(help="Name of a run, its beginning, or the hash at its end.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")] = False,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Print the log of a run; of a failed one the end of its job's log, too."""
    from issbench.bench.launching.logs import last_lines, run_log
    from issbench.bench.launching.status import statuses
    from issbench.text import one_line, printable

    name = find_run(out, run)
    log = run_log(out, name)
    if follow:
        _follow(log)
    if log.is_file():
        typer.echo(printable(log.read_text(encoding="utf-8", errors="replace")), nl=False)
    found = statuses(out, runs=[name])[0]
    if not log.is_file():
        typer.echo(one_line(f"{name} has no log yet: {found.state}, {found.detail}"))
    if found.log is not None and found.log != log:
        typer.echo("\n" + one_line(f"{found.detail}; the end of {found.log}:"))
        typer.echo("\n".join(last_lines(found.log, _JOB_LINES)))


def find_run(out: Path, name: str) -> str:
    """The run that is meant, whether it has begun or is only submitted."""
    from issbench.bench.launching.status import run_folders
    from issbench.bench.launching.submissions import latest, load_submissions
    from issbench.results.runs import find_name

    names = {path.name for path in run_folders(out)} | latest(load_submissions(out)).keys()
    return find_name(out, sorted(names), name)


def _follow(log: Path) -> None:
    """Print a log from its beginning, and what is added to it, for ever."""
    import codecs
    import io
    import time

    from issbench.errors import Interrupted
    from issbench.text import printable

    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    read = 0
    try:
        while True:
            if log.is_file():
                with log.open("rb") as file:
                    file.seek(read)
                    added = file.read()
                read += len(added)
                typer.echo(printable(decoder.decode(added)), nl=False)
            time.sleep(_EVERY)
    except KeyboardInterrupt:
        raise Interrupted("") from None

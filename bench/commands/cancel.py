"""`bench cancel`: end the jobs of a submission or of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def cancel(
    name: Annotated[
        str, typer.Argument(help="A submission such as sweep-1, or a run: its name, beginning or hash.")
    ],
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """End the jobs of a submission or of a run. A first step that other runs wait for goes on.

    What is done stays done, and checkpoints stay: the same command as before goes on from there.
    """
    from issbench.bench.commands.logs import find_run
    from issbench.bench.launching.cancel import cancel as cancel_jobs
    from issbench.bench.launching.submissions import load_submissions
    from issbench.text import one_line

    if name not in [submission.name for submission in load_submissions(out)]:
        name = find_run(out, name)
    cancelled = cancel_jobs(out, name)
    if cancelled.jobs:
        typer.echo(one_line(f"cancelled {len(cancelled.jobs)} jobs of {name}"))
    else:
        typer.echo(one_line(f"no job of {name} waits or runs"))
    for job, count in cancelled.kept.items():
        typer.echo(one_line(f"job {job} goes on: {count} other runs wait for this first step"))

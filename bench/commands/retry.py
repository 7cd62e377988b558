"""`bench retry`: submit failed and cancelled runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def retry(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Submissions such as sweep-1, or runs: name, beginning or hash.  (default: all)"),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, not what was cancelled.")] = False,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Submit failed and cancelled runs to Slurm again, as they were submitted before. They go on from their last
    checkpoints."""
    from issbench.bench.commands.logs import find_run
    from issbench.slurm.retry import find_retries
    from issbench.slurm.submissions import load_submissions

    known = {each.name for each in load_submissions(out)}
    chosen = [name if name in known else find_run(out, name) for name in names or ()]
    retries = find_retries(out, chosen, failed)
    if not retries:
        typer.echo("no run to submit again; `bench status` tells how they stand")
        return
    here = [each for each in retries if each.submission.executor == "local"]
    for each in here:
        command = " ".join(each.submission.command)
        typer.echo(f"{len(each.runs)} runs of {each.submission.name} were carried out here; again: {command}")
    again = [each for each in retries if each not in here]
    if not again:
        return
    # Only now, so that a wrong command is told without waiting for torch.
    from issbench.bench.commands.support.launching import device_of_cluster, to_slurm
    from issbench.bench.engine.store import Store

    for each in again:
        plans = each.plans(device_of_cluster(each.submission.settings["device"], each.profile))
        to_slurm(plans, Store(out), each.request(out))

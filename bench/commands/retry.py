"""`bench retry`: submit failed and cancelled runs again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from issbench.errors import UsageError


def retry(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Submissions such as sweep-1, or runs: name, beginning or hash.", show_default="all"),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, not what was cancelled.")] = False,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Submit failed and cancelled runs again as they were submitted before, to Slurm or as processes here.

    They go on from their last checkpoints. Runs that `bench run` carried out itself go on in this process if they
    are named; one that failed in its first step left no record, and needs its command again.
    """
    from issbench.bench.commands.logs import find_run
    from issbench.bench.launching.retry import find_retries, runs_of_commands
    from issbench.bench.launching.submissions import load_submissions

    known = {submission.name for submission in load_submissions(out)}
    chosen = [name if name in known else find_run(out, name) for name in names or ()]
    retries = find_retries(out, chosen, failed)
    here = runs_of_commands(out, chosen, failed)
    if here and not names:
        typer.echo(
            f"not submitted, since no launcher had them: bench retry {' '.join(here)} goes on with them here"
        )
    if not retries and not (here and names):
        typer.echo("no run to submit again; `bench status` shows their states")
        return
    if names:
        _go_on_here(out, here)
    # import late: usage errors must not wait for torch
    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.run import RunsFailed
    from issbench.bench.engine.store import Store

    all_plans: list[Plan] = []
    failures: dict[str, str] = {}
    for again in retries:
        launcher, request = again.launcher, again.request(out)
        launcher.check(request.settings.device)
        plans = again.plans(launcher.device(request.settings.device, request.profile))
        all_plans += plans
        failures |= launcher.submit(plans, Store(out), request, typer.echo).failures or {}
    if failures:
        raise RunsFailed(all_plans, failures)


def _go_on_here(out: Path, runs: Sequence[str]) -> None:
    """Carry out runs in this process, as their records say."""
    from issbench.bench.commands.support.launch_options import LaunchOptions
    from issbench.bench.commands.support.launching import Asked, carry_out
    from issbench.bench.commands.support.options import CommonOptions
    from issbench.bench.repeat import experiment_from
    from issbench.results.runs import load_record

    paths = [out / "runs" / run / "run.json" for run in runs]
    for path in paths:
        if not path.is_file():
            raise UsageError(f"{path.parent.name} failed before its first step was done; give its command again")
    experiments = [experiment_from(load_record(path).record, path) for path in paths]
    if experiments:
        carry_out(
            experiments, Asked(kind="retry", common=CommonOptions(out=out), launch=LaunchOptions(), dry_run=False)
        )

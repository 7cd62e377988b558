"""`bench retry`: submit failed and cancelled runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def retry(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Submissions such as sweep-1, or runs: name, beginning or hash.", show_default="all"),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed, not what was cancelled.")] = False,
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
) -> None:
    """Submit failed and cancelled runs again as they were submitted before, to Slurm or as processes here.

    They go on from their last checkpoints.
    """
    from issbench.bench.commands.logs import find_run
    from issbench.bench.launching.retry import find_retries
    from issbench.bench.launching.submissions import load_submissions

    known = {submission.name for submission in load_submissions(out)}
    chosen = [name if name in known else find_run(out, name) for name in names or ()]
    retries = find_retries(out, chosen, failed)
    if not retries:
        typer.echo("no run to submit again; `bench status` shows their states")
        return
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

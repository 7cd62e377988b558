"""Three runs that share their first step, for a made-up Slurm: an array of one job, and one of three."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from functools import cache
from pathlib import Path

import torch
from fake_slurm import FakeSlurm

from issbench.bench.engine.plan import Plan, make_plans
from issbench.bench.engine.store import Store
from issbench.bench.experiment import Experiment
from issbench.bench.launching.profile import Profile, Settings
from issbench.bench.launching.submissions import Request, load_submissions
from issbench.errors import UserError
from issbench.slurm.cluster import Cluster

METHODS = ("ft", "mib", "lwf")
SWEEP = ["sweep", "--methods", ",".join(METHODS), "--scenario", "shapes_4-4", "--slurm", "--gpus", "0"]
"""The command that submits them."""


@cache
def _plans() -> list[Plan]:
    """To plan takes longer than to submit."""
    return make_plans([Experiment(method, "shapes_4-4") for method in METHODS], torch.device("cpu"))


def plans(names: Collection[str] | None = None) -> list[Plan]:
    """Those of the three runs that have these names, or all."""
    return [plan for plan in _plans() if names is None or plan.run_name in names]


def sweep(code: int = 0, max_parallel: int | None = None) -> str:
    """What the command says, as far as the launcher does; or its message where it must fail with this exit code."""
    out, lines = Path("runs"), list[str]()
    settings = Settings(str(out.absolute()), "auto", None, 60.0, False)
    profile = Profile(gpus=0, max_parallel=max_parallel)
    request = Request(profile, settings, "sweep", ("bench", *SWEEP), str(Path.cwd()))
    done = {run.run for each in load_submissions(out) for run in each.runs if run.is_done(out)}
    waiting = [plan for plan in plans() if plan.run_name not in done]
    try:
        Cluster().submit(waiting, Store(out), request, lines.append)
    except UserError as error:
        assert error.exit_code == code, error
        return f"error: {error}"
    assert code == 0, lines
    return "\n".join(lines)


def waiting_jobs(slurm: FakeSlurm) -> list[str]:
    """The ids of the jobs that Slurm has."""
    return [
        f"{job['number']}_{index}" if job["count"] > 1 else str(job["number"])
        for job in slurm.jobs
        if job["state"] == "PENDING"
        for index in range(job["count"])
    ]


def assert_each_run_has_one_job(slurm: FakeSlurm) -> None:
    """Each run and the first step have one job that waits, and the records have just these."""
    ids = waiting_jobs(slurm)
    runs = [run for submission in load_submissions(Path("runs")) for run in submission.runs]
    of_runs = [run.job for run in runs if run.job in ids]
    firsts = {run.first_job for run in runs if run.first_job in ids}
    assert Counter(run.run for run in runs if run.job in ids) == dict.fromkeys({run.run for run in runs}, 1)
    assert sorted(ids) == sorted([*of_runs, *firsts]), "each job is recorded once"
    assert len(of_runs) == len(METHODS) and len(firsts) == 1

"""The launcher `slurm`: runs as arrays of jobs on a cluster, submitted through submitit."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from issbench.bench.launching.launcher import Cancelled, JobState, Launcher, Report, Submitted
from issbench.bench.launching.profile import Profile
from issbench.bench.launching.submissions import (
    Entry,
    Request,
    Submission,
    SubmittedRun,
    jobs_dir,
    latest,
    load_submissions,
    new_submission,
    outcome_path,
    save_submission,
    submission_dir,
    submitting,
)
from issbench.slurm.job import Job
from issbench.slurm.layout import Array, Need, lay_out
from issbench.slurm.queue import WAITING, EndedJob, QueuedJob, ask_slurm, check_slurm, ended, max_array_size, queue

if TYPE_CHECKING:
    import torch

    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.store import Store


class Cluster(Launcher):
    """Slurm."""

    name = "slurm"

    def check(self, device: str) -> None:
        """Slurm's commands must be there."""
        check_slurm()

    def device(self, device: str, profile: Profile) -> torch.device:
        """A node's device is not here, so its kind must do."""
        import torch

        return torch.device(("cuda" if profile.gpus else "cpu") if device == "auto" else device)

    def describe(self, plans: Sequence[Plan], store: Store, request: Request) -> list[str]:
        """A line for each array."""
        chosen, needs = _needs(plans, store)
        arrays = lay_out(needs, max_array_size(), request.profile.max_parallel)
        lines = [f"array {number:<4} {_described(array)}" for number, array in enumerate(arrays)]
        return lines + [f"{len(plans) - len(chosen)} runs are queued already"] * (len(chosen) < len(plans))

    def submit(self, plans: Sequence[Plan], store: Store, request: Request, report: Report) -> Submitted:
        """Submit what no queued job makes. Of two that submit at the same time, the second waits and sees what the
        first one queued."""
        with submitting(store.root):
            chosen, needs = _needs(plans, store)
            queued = len(plans) - len(chosen)
            if queued:
                report(f"{queued} runs are queued already")
            if not chosen:
                report("nothing to submit")
                return Submitted(None, queued)
            submission = new_submission(store.root, self.name, chosen, request)
            runs = (replace(run, first_job=need.queued) for run, need in zip(submission.runs, needs, strict=True))
            submission = _submit(replace(submission, runs=tuple(runs)), needs, store.root, request)
        report(_summary(submission, needs, store.root))
        return Submitted(submission, queued)

    def states(self, out: Path, entries: Sequence[Entry]) -> dict[str, JobState]:
        """One question each to `squeue` and `sacct`."""
        jobs = {job for _, run in entries for job in (run.job, run.first_job) if job}
        waiting = queue(jobs)
        gone = jobs - waiting.keys()
        endings = ended(gone)
        return {job: _queued_state(queued) for job, queued in waiting.items()} | {
            job: _ended_state(endings.get(job)) for job in gone
        }

    def cancel(self, out: Path, chosen: Sequence[Entry], others: Sequence[Entry]) -> Cancelled:
        """One call of `scancel`."""
        runs = [run for _, run in chosen]
        firsts = {run.first_job for run in runs if run.first_job}
        sharing = [run for _, run in others if run.first_job in firsts]
        alive = queue({job for run in [*runs, *sharing] for job in (run.job, run.first_job) if job})
        kept = Counter(run.first_job for run in sharing if run.first_job in alive and run.job in alive)
        jobs = {run.job for run in runs if run.job in alive} | (firsts & alive.keys() - kept.keys())
        found = sorted(job for job in jobs if job)
        if found:
            ask_slurm(["scancel", *_ranges(found)], unknown="Invalid job id")
        return Cancelled(tuple(found), {job: count for job, count in kept.items() if job})


def _needs(plans: Sequence[Plan], store: Store) -> tuple[list[Plan], list[Need]]:
    """The runs that no job makes, and which of their first steps are missing or queued."""
    submissions = [each for each in load_submissions(store.root) if each.launcher == Cluster.name]
    submitted = latest(submissions)
    wanted = {plan.steps[0].key for plan in plans}
    every = (run for submission in submissions for run in submission.runs)
    first_jobs = {run.steps[0][0]: run.first_job for run in every if run.first_job and run.steps[0][0] in wanted}
    jobs = {plan.run_name: submitted[plan.run_name][1].job for plan in plans if plan.run_name in submitted}
    alive = queue(job for job in [*jobs.values(), *first_jobs.values()] if job)
    chosen = [plan for plan in plans if jobs.get(plan.run_name) not in alive]
    needs = []
    for position, plan in enumerate(chosen):
        key = plan.steps[0].key
        job = first_jobs.get(key)
        missing = not store.has_step(key)
        needs.append(Need(position, key if missing else None, job if missing and job in alive else None))
    return chosen, needs


def _submit(submission: Submission, needs: Sequence[Need], out: Path, request: Request) -> Submission:
    """Submit array after array; the record is written after each."""
    from issbench.slurm.cluster_job import ClusterJob
    from issbench.slurm.sbatch import Refused, Sbatch, refusal

    arrays = lay_out(needs, max_array_size(), request.profile.max_parallel)
    folders = {run.first_job: jobs_dir(out, each.name) for each in load_submissions(out) for run in each.runs}
    save_submission(out, submission)
    sbatch = Sbatch(out, submission, request.profile)
    ids: list[list[str]] = []
    for array in arrays:
        runs = [submission.runs[run] for run in array.runs]
        jobs = [ClusterJob(_job(run, array, folders, request)) for run in runs]
        try:
            ids.append(sbatch.submit(jobs, _dependency(array, ids), array.at_once))
        except Refused as error:
            taken = sum(map(len, ids))
            if not taken:
                shutil.rmtree(submission_dir(out, submission.name), ignore_errors=True)
            raise refusal(error, taken, submission.name) from None
        if array.firsts:
            folders |= dict.fromkeys(ids[-1], jobs_dir(out, submission.name))
        submission = _with_jobs(submission, needs, array, ids[-1])
        save_submission(out, submission)
    return submission


def _job(run: SubmittedRun, array: Array, folders: Mapping[str | None, Path], request: Request) -> Job:
    """The job of a run, or of its first step; `folders` have the outcomes of the jobs of first steps."""
    if array.firsts:
        return Job(run.experiment, request.settings, last_step=0)
    first = run.first_job and str(outcome_path(folders[run.first_job].absolute(), run.first_job))
    return Job(run.experiment, request.settings, first=first)


def _dependency(array: Array, ids: Sequence[Sequence[str]]) -> str | None:
    """As sbatch takes it, such as `afterany:7:9_1`."""
    jobs = [ids[each][0].partition("_")[0] if isinstance(each, int) else each for each in array.after]
    return f"afterany:{':'.join(jobs)}" if jobs else None


def _with_jobs(submission: Submission, needs: Sequence[Need], array: Array, jobs: Sequence[str]) -> Submission:
    """The record with the jobs of an array that was submitted."""
    runs = list(submission.runs)
    if array.firsts:
        job_of = {needs[run].first: job for run, job in zip(array.runs, jobs, strict=True)}
        for position, need in enumerate(needs):
            if need.queued is None and need.first in job_of:
                runs[position] = replace(runs[position], first_job=job_of[need.first])
    else:
        for position, job in zip(array.runs, jobs, strict=True):
            runs[position] = replace(runs[position], job=job)
    return replace(submission, runs=tuple(runs))


def _described(array: Array) -> str:
    what = "first steps" if array.firsts else "runs"
    limit = f", {array.at_once} at once" if array.at_once else ""
    after = ", ".join(f"array {each}" if isinstance(each, int) else f"job {each}" for each in array.after)
    return f"{len(array.runs):>4} {what}{limit}" + (f", after {after}" if after else "")


def _summary(submission: Submission, needs: Sequence[Need], out: Path) -> str:
    firsts = {run.first_job for run, need in zip(submission.runs, needs, strict=True) if not need.queued}
    jobs = [job for job in {run.job for run in submission.runs} | firsts if job]
    arrays = {job.partition("_")[0] for job in jobs}
    return (
        f"submitted {len(submission.runs)} runs as {submission.name}: {len(jobs)} jobs in {len(arrays)} arrays; "
        "watch them with `bench status" + f" --out {out}" * (str(out) != "runs") + "`"
    )


def _queued_state(queued: QueuedJob) -> JobState:
    return JobState("queued", queued.detail) if queued.waits else JobState("running")


def _ended_state(job: EndedJob | None) -> JobState:
    """The state of a job that has left the queue."""
    if job is None:
        return JobState("failed", "its job has left the queue; Slurm's accounting does not say how")
    if job.state in WAITING or job.state == "RUNNING":  # it came back between the two questions
        return JobState("queued", "about to start")
    return JobState("stopped" if job.state == "CANCELLED" else "failed", job.detail)


def _ranges(jobs: Iterable[str]) -> Iterator[str]:
    """Jobs as `scancel` takes many at once: `7_[0-3,5]`."""
    arrays: dict[str, list[int]] = defaultdict(list)
    for job in jobs:
        array, _, index = job.partition("_")
        arrays[array] += [int(index)] if index else []
    for array, indices in arrays.items():
        spans = []
        for _, group in groupby(enumerate(sorted(indices)), lambda pair: pair[1] - pair[0]):
            span = [index for _, index in group]
            spans.append(f"{span[0]}-{span[-1]}" if len(span) > 1 else str(span[0]))
        yield f"{array}_[{','.join(spans)}]" if spans else array

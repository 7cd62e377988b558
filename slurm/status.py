"""What became of runs: from what was submitted, the run store, and one question each to `squeue` and `sacct`.

Needs no torch, and no process that watches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from issbench.bench.engine.progress import Position, read_position
from issbench.errors import UsageError
from issbench.slurm.local_processes import living
from issbench.slurm.logs import gives_reason, job_logs, last_lines, run_log
from issbench.slurm.outcome import is_fresh, read_outcome, run_folders
from issbench.slurm.queue import EndedJob, QueuedJob, ended, queue
from issbench.slurm.submissions import Submission, SubmittedRun, jobs_dir, latest, load_submissions
from issbench.slurm.words import NEVER, WAITING, how_it_ended, why_it_waits

State = Literal["failed", "running", "stopped", "queued", "done"]
"""What fails or was stopped goes on only when it is submitted again."""

_FIRST_FAILED = "its first step failed"
_FIRST_RUNS = "its first step is running"


@dataclass(frozen=True)
class RunStatus:
    """What became of one run."""

    run: str
    label: str
    experiment: dict[str, Any]
    """Empty where nothing is known of it."""
    state: State
    detail: str
    """Why it is so, in words."""
    position: Position | None = None
    """Where the training is: its own, or that of the first step for which it waits."""
    submission: str | None = None
    job: str | None = None
    """The job to look at: its own, or the one of its first step where that failed."""
    log: Path | None = None
    """The log that tells why it failed."""


@dataclass(frozen=True)
class Known:
    """What is known of jobs, by their ids."""

    queued: Mapping[str, QueuedJob]
    ended: Mapping[str, EndedJob]
    local: Mapping[str, int]
    """Living processes, with their parents."""
    busy: frozenset[str]
    """Local submissions of which a process lives."""
    leaders: Mapping[str, str]
    """For each job of a first step the run in whose name it trains."""


def statuses(out: Path, sweep: str | None = None, runs: Iterable[str] | None = None) -> list[RunStatus]:
    """The state of all runs of a store, of those of one submission, or of the named ones.

    A run that was submitted several times has the state of its last job. UsageError for a submission that is not
    there; RunError where Slurm is needed and does not answer.
    """
    submissions = load_submissions(out)
    wanted = _wanted(out, submissions, sweep, runs)
    submitted = {name: entry for name, entry in latest(submissions).items() if wanted is None or name in wanted}
    done = {name for name, (_, run) in submitted.items() if _is_done(out, run)}
    open_runs = {name: entry for name, entry in submitted.items() if name not in done}
    leaders: dict[str, str] = {}
    for run in (run for submission in submissions for run in submission.runs if run.first_job):
        leaders.setdefault(run.first_job, run.run)
    known = _ask(out, open_runs, leaders)
    found = [
        RunStatus(name, run.label, run.experiment, "done", "", submission=submission.name, job=run.job)
        if name in done
        else _open(out, submission, run, known)
        for name, (submission, run) in submitted.items()
    ]
    others = [path for path in run_folders(out) if path.name not in submitted] if sweep is None else []
    return found + [_unsubmitted(path) for path in others if wanted is None or path.name in wanted]


def _wanted(
    out: Path, submissions: list[Submission], sweep: str | None, runs: Iterable[str] | None
) -> set[str] | None:
    if sweep is None:
        return None if runs is None else set(runs)
    for submission in submissions:
        if submission.name == sweep:
            return {run.run for run in submission.runs}
    there = ", ".join(each.name for each in submissions[-10:]) or "none"
    raise UsageError(f"no submission {sweep!r} in {out}; it has {there}")


def _is_done(out: Path, run: SubmittedRun) -> bool:
    outcome = read_outcome(out / "runs" / run.run)
    return outcome is not None and outcome.complete and outcome.keys == run.steps


def _ask(out: Path, entries: Mapping[str, tuple[Submission, SubmittedRun]], leaders: Mapping[str, str]) -> Known:
    """Ask for the jobs of runs that are not done: each kind at most one question."""
    slurm: set[str] = set()
    local: dict[str, Path] = {}
    names: dict[str, str] = {}
    for submission, run in entries.values():
        jobs = {run.job, run.first_job} - {None}
        if submission.executor == "slurm":
            slurm |= jobs
        else:
            local |= dict.fromkeys(jobs, jobs_dir(out, submission.name))
            names |= dict.fromkeys(jobs, submission.name)
    waiting, here = queue(slurm), living(local)
    busy = frozenset(names[job] for job in here)
    return Known(waiting, ended(slurm - waiting.keys()), here, busy, leaders)


@dataclass(frozen=True)
class _Found:
    """The part of a status that the jobs tell."""

    state: State
    detail: str
    job: str | None
    trains: str | None = None
    """The run whose training there is to see."""


def _open(out: Path, submission: Submission, run: SubmittedRun, known: Known) -> RunStatus:
    """The status of a submitted run that is not done."""
    found = _on_slurm(run, known) if submission.executor == "slurm" else _here(out, submission, run, known)
    position = read_position(out / "runs" / found.trains) if found.trains else None
    log = _log(out, submission, run, found.job) if found.state == "failed" else None
    return RunStatus(
        run.run, run.label, run.experiment, found.state, found.detail, position, submission.name, found.job, log
    )


def _on_slurm(run: SubmittedRun, known: Known) -> _Found:
    first, own = known.ended.get(run.first_job or ""), known.ended.get(run.job or "")
    queued = known.queued.get(run.job or "")
    first_failed = first is not None and first.state not in ("COMPLETED", *WAITING)
    if run.job is None:
        return _Found("stopped", "Slurm took no job for it; the same command submits it", run.first_job)
    if queued is not None and queued.state not in WAITING:
        return _Found("running", "", run.job, run.run)
    if queued is not None and queued.reason != NEVER:
        return _waiting(run, queued, known)
    if first_failed and (queued is not None or own is None or own.state == "CANCELLED"):
        if first.state == "CANCELLED":
            return _Found("stopped", "its first step was cancelled", run.first_job)
        return _Found("failed", f"{_FIRST_FAILED}: {how_it_ended(first)}", run.first_job)
    if queued is not None:
        return _Found("failed", "a job that it waits for failed", run.job)
    if own is None:
        return _Found("failed", "its job has ended; Slurm's accounting does not say how", run.job)
    if own.state in WAITING or own.state == "RUNNING":  # it came back between the two questions
        return _Found("queued", "about to start", run.job)
    return _Found("stopped" if own.state == "CANCELLED" else "failed", how_it_ended(own), run.job)


def _waiting(run: SubmittedRun, queued: QueuedJob, known: Known) -> _Found:
    """A run that does not run yet: because of its first step, or for another reason."""
    first = known.queued.get(run.first_job or "")
    if queued.reason != "Dependency" or first is None:
        return _Found("queued", why_it_waits(queued), run.job)
    if first.state in WAITING:
        detail = f"waits for its first step (job {first.job}), which is queued: {why_it_waits(first)}"
        return _Found("queued", detail, run.job)
    return _Found("queued", f"{_FIRST_RUNS} (job {first.job})", run.job, known.leaders[first.job])


def _here(out: Path, submission: Submission, run: SubmittedRun, known: Known) -> _Found:
    """The same for a job of `--local`, of this machine or, with a sign of life, of another."""
    if run.job is not None and (run.job in known.local or is_fresh(read_position(out / "runs" / run.run))):
        return _Found("running", "", run.job, run.run)
    if run.job is None and run.first_job in known.local:
        return _Found("queued", _FIRST_RUNS, run.first_job, known.leaders[run.first_job])
    if run.job is None and submission.name in known.busy:
        return _Found("queued", "waits for its turn", None)
    job = run.job or run.first_job
    if job is None or (run.job is None and (out / "steps" / run.steps[0]).is_dir()):
        return _Found("stopped", "not started; the same command starts it", None)
    told = "\n".join(line for path in job_logs(jobs_dir(out, submission.name), job) for line in last_lines(path, 3))
    if "interrupted" in told:
        return _Found("stopped", "interrupted; the same command resumes it", job)
    return _Found("failed", "its job has ended" if run.job else _FIRST_FAILED, job)


def _log(out: Path, submission: Submission, run: SubmittedRun, job: str | None) -> Path:
    """The log that tells why a run failed: of its job's processes the first that says so, or else the run's own."""
    logs = job_logs(jobs_dir(out, submission.name), job) if job else []
    telling = [path for path in logs if gives_reason(path)]
    return (telling or logs or [run_log(out, run.run)])[0]


def _unsubmitted(folder: Path) -> RunStatus:
    """The status of a run that was started by hand."""
    outcome, position = read_outcome(folder), read_position(folder)
    experiment = outcome.experiment if outcome else {}
    if outcome and outcome.complete:
        return RunStatus(folder.name, folder.name, experiment, "done", "")
    if is_fresh(position):
        return RunStatus(folder.name, folder.name, experiment, "running", "", position)
    return RunStatus(folder.name, folder.name, experiment, "stopped", "not complete; the same command resumes it")

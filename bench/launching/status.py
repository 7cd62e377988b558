"""What became of runs: from what was submitted, the run store, the jobs' outcomes, and what launchers know.

Needs no torch, and no process that watches.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from issbench.bench.launching.launcher import (
    JobState,
    NoAnswer,
    by_launcher,
    load_launcher,
    recovered_submissions,
)
from issbench.bench.launching.logs import run_log
from issbench.bench.launching.submissions import (
    Entry,
    Submission,
    SubmittedRun,
    jobs_dir,
    latest,
    load_submissions,
    outcome_path,
)
from issbench.bench.outcome import read_outcome
from issbench.bench.position import Position, read_position
from issbench.errors import UsageError
from issbench.files import DamagedFile
from issbench.results.read_record import read_record

State = Literal["failed", "running", "stopped", "unknown", "queued", "done"]
"""Failed and stopped runs need `bench retry`. Unknown ones may have a job, which is why they must wait."""


@dataclass(frozen=True)
class RunStatus:
    """What became of one run."""

    run: str
    label: str
    experiment: dict[str, Any]
    """Empty where nothing is known of it."""
    state: State
    detail: str = ""
    """Why it is so, in words."""
    position: Position | None = None
    """Where the training is: its own, or that of the first step for which it waits."""
    submission: str | None = None
    job: str | None = None
    log: Path | None = None
    """The log of a failed run: that of its job, if there is one."""
    explained: bool = True
    """Whether `detail` has the reason that its job gave; if not, the end of the log may help."""


def statuses(out: Path, sweep: str | None = None, runs: Iterable[str] | None = None) -> list[RunStatus]:
    """The state of all runs of a store, of those of one submission, or of the named ones.

    A run that was submitted several times has the state of its last job. Where a launcher is needed and does not
    answer, it is `unknown`, unless the run itself left a word. UsageError for a submission that is not there.
    """
    lost, silent = None, dict[str, str]()
    try:
        submissions = recovered_submissions(out)
    except NoAnswer as error:
        submissions, lost = load_submissions(out), str(error)
    wanted = _wanted(out, submissions, sweep, runs)
    submitted = {name: entry for name, entry in latest(submissions).items() if wanted is None or name in wanted}
    done = {name for name, (_, run) in submitted.items() if run.is_done(out)}
    jobs: dict[str, JobState] = {}
    for launcher, entries in by_launcher([entry for name, entry in submitted.items() if name not in done]):
        try:
            jobs |= launcher.states(out, entries)
        except NoAnswer as error:
            silent[launcher.name] = str(error)
    trains: dict[str, str] = {}
    for run in (run for submission in submissions for run in submission.runs if run.first_job):
        trains.setdefault(run.first_job or "", run.run)
    found = [
        RunStatus(name, run.label, run.experiment, "done", submission=submission.name, job=run.job)
        if name in done
        else _open(out, submission, run, jobs, trains, silent.get(submission.launcher) if run.job else lost)
        for name, (submission, run) in submitted.items()
    ]
    others = [path for path in run_folders(out) if path.name not in submitted] if sweep is None else []
    return found + [unsubmitted(path) for path in others if wanted is None or path.name in wanted]


def run_folders(out: Path) -> list[Path]:
    """The folders of all runs of a store."""
    runs = out / "runs"
    return sorted(path for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []


def _wanted(
    out: Path, submissions: list[Submission], sweep: str | None, runs: Iterable[str] | None
) -> set[str] | None:
    if sweep is None:
        return None if runs is None else set(runs)
    for submission in submissions:
        if submission.name == sweep:
            return {run.run for run in submission.runs}
    there = ", ".join(submission.name for submission in submissions[-10:]) or "none"
    raise UsageError(f"no submission {sweep!r} in {out}; it has {there}")


def _open(
    out: Path,
    submission: Submission,
    run: SubmittedRun,
    jobs: Mapping[str, JobState],
    trains: Mapping[str, str],
    silent: str | None,
) -> RunStatus:
    """The status of a submitted run that is not done. `trains` has, by job, the run in whose name it trains;
    `silent` says why its launcher knows nothing of it now."""
    state, detail, explained = _state(out, (submission, run), jobs, silent)
    position = None
    first = jobs.get(run.first_job or "")
    if state == "running":
        position = read_position(out / "runs" / run.run)
    elif state == "queued" and run.first_job and first is not None and first.state == "running":
        detail, position = f"its first step is running (job {run.first_job})", _first_position(out, run, trains)
    elif state == "queued" and first is not None and first.alive:
        detail = f"waits for its first step (job {run.first_job}): {first.detail}"
    log = None
    if state == "failed":
        logs = load_launcher(submission.launcher).logs(out, submission.name, run.job) if run.job else []
        log = (logs or [run_log(out, run.run)])[0]
    return RunStatus(
        run.run, run.label, run.experiment, state, detail, position, submission.name, run.job, log, explained
    )


def _first_position(out: Path, run: SubmittedRun, trains: Mapping[str, str]) -> Position | None:
    return read_position(out / "runs" / trains[run.first_job]) if run.first_job else None


def _state(out: Path, entry: Entry, jobs: Mapping[str, JobState], silent: str | None) -> tuple[State, str, bool]:
    """The state of a run that is not done, why, and whether its job gave that reason: what its launcher knows of
    its job while that waits or runs, then the outcome that it left, then how it ended in the launcher's words."""
    submission, run = entry
    if run.job is None and silent:
        return "unknown", f"whether a job has it: {silent}", True
    if run.job is None:
        return "stopped", "not started; the same command starts it", True
    job, outcome = jobs.get(run.job), read_outcome(outcome_path(jobs_dir(out, submission.name), run.job))
    if job is not None and (job.alive or job.state == "stopped"):
        return job.state, job.detail, True
    if outcome is not None and outcome.state == "failed":
        return "failed", outcome.reason, True
    position = read_position(out / "runs" / run.run)
    if silent and not (position is not None and position.alive):
        return "unknown", silent, True
    if outcome is not None and outcome.state == "interrupted" and not silent:
        return "stopped", "interrupted; the same command resumes it", True
    if job is not None:
        return job.state, job.detail, False
    if position is not None and position.alive:
        return "running", "", True
    if outcome is None:
        return "stopped", "not started; the same command starts it", True
    done = outcome.state == "done"
    return "failed", "its job is done, but the run is not" if done else "its job has ended without a word", False


def unsubmitted(folder: Path) -> RunStatus:
    """The status of a run that was carried out without a job, or imported."""
    try:
        record: Mapping[str, Any] = read_record(folder / "run.json", folder.name)
    except (OSError, DamagedFile):
        record = {}
    outcome, position = read_outcome(folder / "outcome.json"), read_position(folder)
    name, experiment = folder.name, record.get("experiment", {})
    if record.get("complete") and (outcome is None or outcome.state == "done"):
        return RunStatus(name, name, experiment, "done")
    if position is not None and position.alive and (outcome is None or outcome.state == "running"):
        return RunStatus(name, name, experiment, "running", position=position)
    if outcome is not None and outcome.state == "failed":
        return RunStatus(name, name, experiment, "failed", outcome.reason, log=folder / "log.txt")
    why = "interrupted" if outcome is not None and outcome.state == "interrupted" else "not complete"
    return RunStatus(name, name, experiment, "stopped", f"{why}; the same command resumes it")

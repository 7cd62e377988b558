"""What was submitted: one record for each submission, OUT/submissions/NAME/sweep.json. Needs no torch.

A record is rewritten while its jobs are handed over, so that a refusal half way loses and doubles nothing, and
never again: what happens to a job later is asked of Slurm. A run that was submitted twice is in two records; the
later one is what counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from issbench.errors import RunError
from issbench.files import read_json, write_json

FORMAT = 1
"""Raised when the meaning of a record changes."""

Executor = Literal["slurm", "local"]


@dataclass(frozen=True)
class SubmittedRun:
    """A run and its jobs. Array jobs are `ARRAY_INDEX`."""

    run: str
    """The name of its folder in the run store."""
    label: str
    experiment: dict[str, Any]
    steps: tuple[str, ...]
    """The keys of its steps."""
    evaluations: tuple[str, ...]
    """The name of each step's evaluation."""
    first_job: str | None
    """The job that trains the first step for several runs; None where the run's own job does, or none needs to."""
    job: str | None
    """The job of the run; None if it was not handed over."""


@dataclass(frozen=True)
class Submission:
    """Runs that were submitted together."""

    name: str
    created: float
    """Seconds since 1970."""
    executor: Executor
    command: tuple[str, ...]
    directory: str
    """Where the command was given; relative paths in its experiments start there."""
    profile: dict[str, Any]
    """What was asked of the cluster, to ask the same again."""
    settings: dict[str, Any]
    """Device, workers and so on of the jobs."""
    runs: tuple[SubmittedRun, ...]


def submissions_dir(out: Path) -> Path:
    """Where a run store keeps its submissions."""
    return out / "submissions"


def submission_dir(out: Path, name: str) -> Path:
    """The folder of one submission: its record, and in `jobs/` what submitit writes."""
    return submissions_dir(out) / name


def jobs_dir(out: Path, name: str) -> Path:
    """Where the jobs of a submission leave their logs: JOB_TASK_log.out."""
    return submission_dir(out, name) / "jobs"


def save_submission(out: Path, submission: Submission) -> None:
    """Write a submission's record, whole or not at all."""
    record = {"format": FORMAT, **dataclasses.asdict(submission)}
    write_json(submission_dir(out, submission.name) / "sweep.json", record)


def load_submission(path: Path) -> Submission:
    """Read one `sweep.json`; RunError for one that this version cannot read."""
    try:
        record = read_json(path)
        if record.pop("format") != FORMAT:
            raise RunError(f"{path} is of another version of bench; use that one, or move the folder away")
        runs = tuple(
            SubmittedRun(**run | {"steps": tuple(run["steps"]), "evaluations": tuple(run["evaluations"])})
            for run in record.pop("runs")
        )
        return Submission(**record | {"command": tuple(record["command"])}, runs=runs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is no record of a submission ({error}); move its folder away") from None


def load_submissions(out: Path) -> list[Submission]:
    """All submissions of a run store, the oldest first."""
    found = [load_submission(path) for path in submissions_dir(out).glob("*/sweep.json")]
    return sorted(found, key=lambda each: (each.created, each.name))


def latest(submissions: Iterable[Submission]) -> dict[str, tuple[Submission, SubmittedRun]]:
    """For each run the last submission that handed it over, or else the last that wanted to."""
    found: dict[str, tuple[Submission, SubmittedRun]] = {}
    for submission in submissions:
        for run in submission.runs:
            if run.job is not None or run.run not in found:
                found[run.run] = (submission, run)
    return found

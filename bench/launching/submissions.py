"""What was submitted: one record for each submission, OUT/submissions/NAME/sweep.json. Needs no torch.

The record is updated after each accepted array of jobs and is immutable afterwards: what happens to a job later is
asked of its launcher, and read from the outcome that the job leaves. A run that was submitted twice is in two
records; the later one is what counts.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from issbench.bench.engine.lock import StoreLock
from issbench.bench.finished import Step, is_done
from issbench.bench.launching.profile import Profile, Settings
from issbench.errors import RunError, UsageError
from issbench.files import DamagedFile, read_sealed, write_sealed
from issbench.wellformed import misfit

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan

FORMAT = 2
"""Raised when the meaning of a record changes."""


@dataclass(frozen=True)
class Request:
    """How runs are to be submitted."""

    profile: Profile
    settings: Settings
    kind: str
    """What the submission is named after: `run`, `sweep`, `retry`."""
    command: tuple[str, ...]
    directory: str
    """Where the command was given; relative paths of the experiments start there."""


@dataclass(frozen=True)
class SubmittedRun:
    """A run and its jobs. A job's id is its launcher's; those of Slurm's arrays are `ARRAY_INDEX`."""

    run: str
    """The name of its folder in the run store."""
    label: str
    experiment: dict[str, Any]
    """As `Experiment.describe` gives it."""
    steps: tuple[Step, ...]
    """The key of each step, and the name of its evaluation."""
    first_job: str | None = None
    """The job that trains the first step for several runs; None where the run's own job does, or none needs to."""
    job: str | None = None
    """The job of the run; None while no launcher has taken it."""

    def is_done(self, out: Path) -> bool:
        """Whether the run store `out` has everything that was asked for."""
        return is_done(out, self.run, self.steps, self.experiment.get("metrics", ()))


@dataclass(frozen=True)
class Submission:
    """Runs that were submitted together."""

    name: str
    created: float
    """Seconds since 1970."""
    launcher: str
    """The name of the launcher that has its jobs."""
    command: tuple[str, ...]
    directory: str
    """Where the command was given; relative paths in its experiments start there."""
    profile: dict[str, Any]
    """What each job asks for, to ask the same again."""
    settings: dict[str, Any]
    """Device, workers and so on of the jobs."""
    runs: tuple[SubmittedRun, ...]


Entry = tuple[Submission, SubmittedRun]
"""A run in the submission that counts."""


def submissions_dir(out: Path) -> Path:
    """Where a run store keeps its submissions."""
    return out / "submissions"


def submission_dir(out: Path, name: str) -> Path:
    """The folder of one submission: its record, and `jobs/`."""
    return submissions_dir(out) / name


def jobs_dir(out: Path, name: str) -> Path:
    """Where the jobs of a submission leave their logs (JOB_TASK_log.out) and outcomes."""
    return submission_dir(out, name) / "jobs"


def outcome_path(folder: Path, job: str) -> Path:
    """Where a job leaves its outcome, in the folder `jobs_dir` of its submission."""
    return folder / f"{job}.outcome.json"


@contextmanager
def submitting(out: Path) -> Iterator[None]:
    """Hold the lock under which submissions of a run store are made."""
    folder = submissions_dir(out)
    folder.mkdir(parents=True, exist_ok=True)
    lock = StoreLock(folder / ".lock")
    while not lock.acquire():
        time.sleep(1)
    try:
        yield
    finally:
        lock.release()


def new_submission(out: Path, launcher: str, plans: Sequence[Plan], request: Request) -> Submission:
    """A submission without jobs, under the next free name (`sweep-1`, `run-2` …), not yet written."""
    numbers = (re.search(r"\d+$", path.name) for path in submissions_dir(out).iterdir())
    number = 1 + max((int(found.group()) for found in numbers if found), default=0)
    settings = dataclasses.asdict(request.settings)
    del settings["out"]  # the record lies in it, and it may be moved
    return Submission(
        name=f"{request.kind}-{number}",
        created=time.time(),
        launcher=launcher,
        command=request.command,
        directory=request.directory,
        profile=request.profile.describe(),
        settings=settings,
        runs=tuple(_without_jobs(plan) for plan in plans),
    )


def settings_of(submission: Submission, out: Path) -> Settings:
    """The settings of its jobs, for the run store in its present place. UsageError where the record lacks some."""
    try:
        return Settings(out=str(out), **submission.settings)
    except TypeError:
        raise UsageError(
            f"the record of the submission {submission.name} lacks settings of its command; give that command again"
        ) from None


def _without_jobs(plan: Plan) -> SubmittedRun:
    return SubmittedRun(plan.run_name, plan.experiment.label, plan.experiment.describe(), plan.keys)


def save_submission(out: Path, submission: Submission) -> None:
    """Write a submission's record, whole or not at all."""
    record = {"format": FORMAT, **dataclasses.asdict(submission)}
    write_sealed(submission_dir(out, submission.name) / "sweep.json", record, submission.name)


def load_submission(path: Path) -> Submission:
    """Read one `sweep.json`; RunError for one that is damaged, or that this version cannot read."""
    try:
        record = read_sealed(path, path.parent.name)
    except DamagedFile as error:
        if b'"executor": ' in path.read_bytes():  # as version 0.1 wrote it, without a checksum
            raise RunError(f"{path} was written by bench 0.1; use that version, or another --out") from None
        raise RunError(f"{error}; move the folder {path.parent} away") from None
    if record.pop("format", None) != FORMAT:
        raise RunError(f"{path} was written by another version of bench; use that version, or another --out")
    fault = misfit(record, Submission, "the record")
    if fault:
        raise RunError(f"{path} is not as this version writes it: {fault}; move the folder {path.parent} away")
    runs = tuple(SubmittedRun(**run | {"steps": tuple(map(tuple, run["steps"]))}) for run in record.pop("runs"))
    return Submission(**record | {"command": tuple(record["command"])}, runs=runs)


def load_submissions(out: Path) -> list[Submission]:
    """All submissions of a run store, the oldest first."""
    found = [load_submission(path) for path in submissions_dir(out).glob("*/sweep.json")]
    return sorted(found, key=lambda submission: (submission.created, submission.name))


def latest(submissions: Iterable[Submission]) -> dict[str, Entry]:
    """Per run: the latest submission that has a job for it; if none has, the latest that contains it."""
    found: dict[str, Entry] = {}
    for submission in submissions:
        for run in submission.runs:
            if run.job is not None or run.run not in found or found[run.run][1].job is None:
                found[run.run] = (submission, run)
    return found

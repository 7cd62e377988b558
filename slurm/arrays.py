"""What the jobs of an array do, in files that only we may write: OUT/submissions/NAME/arrays/ARRAY.json.

A job reads its task from the file as plain values (nothing is pickled), and only if the file has the checksum that
stands in the job's script, of which Slurm keeps a copy of its own. So who can write to the store, or above it,
cannot make a job do something else.

ARRAY is also the name of the job, which no other has. Beside the file, ARRAY.open says that it was given to sbatch,
until the answer is in the record of the submission. Where the answer never came, Slurm is asked for that name.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

from issbench.bench.finished import Step
from issbench.bench.launching.profile import Settings
from issbench.bench.launching.submissions import Submission, submission_dir
from issbench.errors import RunError
from issbench.files import DamagedFile, read_sealed, write_json, write_sealed
from issbench.slurm.job import Job
from issbench.wellformed import misfit


@dataclass(frozen=True)
class Task:
    """What one job of an array does."""

    job: Job
    steps: tuple[Step, ...]
    """What it is to compute: the keys of steps, and the names of their evaluations."""
    allotted: float
    """Seconds from its start until Slurm announces the time limit."""


@dataclass(frozen=True)
class OpenArray:
    """An array whose number is not in the record of its submission."""

    path: Path
    name: str
    """The name under which it was given to sbatch, which no other has."""
    firsts: bool
    """Whether its jobs train just first steps."""
    runs: tuple[int, ...]
    """The runs of its jobs, by their positions in the submission."""

    @property
    def tasks(self) -> Path:
        """The file of what its jobs do."""
        return self.path.with_suffix(".json")

    def close(self, taken: bool) -> None:
        """The record has the number, or Slurm did not take the array: then a job of it that appears after all finds
        nothing to do."""
        if not taken:
            self.tasks.unlink(missing_ok=True)
            self.path.with_suffix(".sh").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


class _Noted(TypedDict):
    """What ARRAY.open holds."""

    firsts: bool
    runs: list[int]


def arrays_dir(out: Path, submission: str) -> Path:
    """The folder of what the jobs of a submission do."""
    return submission_dir(out, submission) / "arrays"


def write_array(out: Path, submission: str, firsts: bool, tasks: Mapping[int, Task]) -> OpenArray:
    """Write what the jobs of an array do, by the positions of their runs, and that it is about to be given to
    sbatch. RunError where others could write there."""
    folder = arrays_dir(out, submission)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private(folder)
    name = f"bench-{submission}-{uuid.uuid4().hex[:12]}"
    array = OpenArray(folder / f"{name}.open", name, firsts, tuple(tasks))
    write_json(array.tasks, [asdict(task) for task in tasks.values()])
    write_sealed(array.path, {"firsts": firsts, "runs": array.runs}, name)
    return array


def open_arrays(out: Path, submission: Submission) -> Iterator[OpenArray]:
    """The arrays of a submission whose numbers are not in its record. RunError for a file that is damaged."""
    for path in sorted(arrays_dir(out, submission.name).glob("*.open")):
        try:
            yield _read_open(path, len(submission.runs))
        except DamagedFile as error:
            raise RunError(
                f"{error}. It says that jobs were given to Slurm whose number is not recorded: cancel them with "
                f"`scancel --name {path.stem}`, then remove the file, and run the same command again"
            ) from None


def _read_open(path: Path, runs: int) -> OpenArray:
    noted = read_sealed(path, path.stem)
    if wrong := misfit(noted, _Noted, "it"):
        raise DamagedFile(path, f"does not hold what belongs there: {wrong}")
    if not {*noted["runs"]} <= {*range(runs)}:
        raise DamagedFile(path, f"names runs that its submission of {runs} does not have")
    return OpenArray(path, path.stem, noted["firsts"], tuple(noted["runs"]))


def with_jobs(submission: Submission, array: OpenArray, number: str) -> Submission:
    """The record of a submission with the jobs of an array that has a number."""
    count = len(array.runs)
    jobs = {run: f"{number}_{index}" if count > 1 else number for index, run in enumerate(array.runs)}
    if not array.firsts:
        runs = [replace(run, job=jobs.get(position, run.job)) for position, run in enumerate(submission.runs)]
    else:
        first_jobs = {submission.runs[run].steps[0][0]: job for run, job in jobs.items()}
        runs = [replace(run, first_job=run.first_job or first_jobs.get(run.steps[0][0])) for run in submission.runs]
    return replace(submission, runs=tuple(runs))


def is_recorded(submission: Submission, array: OpenArray) -> bool:
    """Whether the record of a submission has the jobs of an array."""
    runs = [submission.runs[run] for run in array.runs]
    return any(run.first_job if array.firsts else run.job for run in runs)


def read_task(path: Path, sha256: str, index: int) -> Task:
    """What a job does. RunError where the file is not the one with which the job was submitted, or where others may
    write there."""
    check_private(path.parent)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunError(
            f"{path} is gone: this job was taken for refused, and the same command submits its runs again"
        ) from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise RunError(f"{path} was altered since this job was submitted; `bench retry` submits its runs again")
    return _task(json.loads(content)[index])


def check_private(folder: Path) -> None:
    """RunError unless a folder belongs to us, nobody else may write there, and not everybody may replace it or a
    folder above it (those with a sticky bit, as /tmp, are safe)."""
    own = folder.resolve()
    found = own.stat()
    if found.st_uid != os.geteuid():
        raise RunError(f"{own} belongs to another user, who could change what jobs do; choose another --out")
    for path in (own, *own.parents):
        mode = path.stat().st_mode
        others = stat.S_IWGRP | stat.S_IWOTH if path == own else stat.S_IWOTH
        if mode & others and (path == own or not mode & stat.S_ISVTX):
            raise RunError(
                f"{path} can be written by others (mode {stat.S_IMODE(mode):o}), who could change what jobs do; "
                f"`chmod {'go' if path == own else 'o'}-w` it, or choose another --out"
            )


def _task(read: Mapping[str, Any]) -> Task:
    job = dict(read["job"])
    job["settings"] = Settings(**job["settings"])
    return Task(Job(**job), tuple((key, name) for key, name in read["steps"]), read["allotted"])

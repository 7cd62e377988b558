"""Submits the arrays of a submission one after the other; the record is written after each."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from issbench.bench.launching.submissions import (
    Request,
    Submission,
    SubmittedRun,
    jobs_dir,
    outcome_path,
    save_submission,
    submission_dir,
)
from issbench.errors import UserError
from issbench.slurm.arrays import Task, with_jobs
from issbench.slurm.job import Job
from issbench.slurm.layout import Array, Need, lay_out
from issbench.slurm.queue import max_array_size
from issbench.slurm.sbatch import Refused, Sbatch, Unclear, refusal


def submit(
    submission: Submission, needs: Sequence[Need], earlier: Sequence[Submission], out: Path, request: Request
) -> Submission:
    """Submit jobs for all runs of a submission; its record with them. RunError where Slurm refuses some, or does
    not say; what it took before is recorded."""
    arrays = lay_out(needs, max_array_size(), request.profile.max_parallel)
    runs = [(jobs_dir(out, each.name), run) for each in earlier for run in each.runs]
    firsts: dict[str | None, Path] = {run.first_job: folder for folder, run in runs if run.first_job}
    save_submission(out, submission)
    work = _Submitting(out, request, submission, firsts)
    try:
        for array in arrays:
            work.submit(array)
    except UserError:
        if not work.taken and not work.unclear:
            shutil.rmtree(submission_dir(out, submission.name), ignore_errors=True)
        raise
    return work.submission


@dataclass
class _Submitting:
    """A submission whose arrays are being submitted."""

    out: Path
    request: Request
    submission: Submission
    firsts: dict[str | None, Path]
    """The folders where jobs of first steps leave their outcomes."""
    numbers: list[list[str]] = field(default_factory=list)
    """Of each array the numbers under which Slurm has its parts."""
    most: int | None = None
    """The most jobs that Slurm takes at once, as far as it has refused more."""
    taken: int = 0
    unclear: bool = False
    """Whether Slurm has not said if it took an array."""

    def submit(self, array: Array) -> None:
        """Submit an array, in several parts where Slurm has a limit of jobs that is smaller."""
        sbatch = Sbatch(self.out, self.submission, self.request.profile)
        rest, parts = array.runs, list[str]()
        self.numbers.append(parts)
        while rest:
            part = rest[: self.most]
            tasks = {run: self._task(self.submission.runs[run], array.firsts) for run in part}
            at_once = min(array.at_once, len(part)) if array.at_once else None
            try:
                open_array, number = sbatch.submit(array.firsts, tasks, self._dependency(array), at_once)
            except Refused as error:
                if not error.is_limit or len(part) == 1:
                    raise refusal(error, self.taken, self.submission.name) from None
                self.most = (len(part) + 1) // 2
                continue
            except Unclear:
                self.unclear = True
                raise
            rest = rest[len(part) :]
            parts.append(number)
            self.taken += len(part)
            self.submission = with_jobs(self.submission, open_array, number)
            save_submission(self.out, self.submission)
            open_array.close(taken=True)
            if array.firsts:
                folder = jobs_dir(self.out, self.submission.name)
                self.firsts |= {self.submission.runs[run].first_job: folder for run in part}

    def _task(self, run: SubmittedRun, first: bool) -> Task:
        """What the job of a run, or of its first step, does."""
        profile, settings = self.request.profile, self.request.settings
        allotted = 60.0 * profile.minutes - profile.grace
        if first:
            return Task(Job(run.experiment, settings, last_step=0), run.steps[:1], allotted)
        waits = run.first_job and str(outcome_path(self.firsts[run.first_job].absolute(), run.first_job))
        return Task(Job(run.experiment, settings, first=waits), run.steps, allotted)

    def _dependency(self, array: Array) -> str | None:
        """What the next part of an array waits for, as sbatch takes it, such as `afterany:7:9_1`."""
        before = [self.numbers[each] if isinstance(each, int) else [each] for each in array.after]
        # Each part has its own limit of jobs at once, so the next one waits for it.
        jobs = [
            *dict.fromkeys(job for each in before for job in each),
            *self.numbers[-1][-1:] * bool(array.at_once),
        ]
        return f"afterany:{':'.join(jobs)}" if jobs else None

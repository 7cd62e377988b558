"""Ends the jobs of runs, but never a first step that other runs still wait for."""

from __future__ import annotations

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from issbench.slurm.local_processes import command_of, living
from issbench.slurm.queue import ask_slurm, queue
from issbench.slurm.submissions import Submission, SubmittedRun, jobs_dir, latest, load_submissions


@dataclass(frozen=True)
class Cancelled:
    """What was ended, and what was not."""

    jobs: tuple[str, ...]
    kept: dict[str, int]
    """Jobs of first steps, and how many other runs wait for each."""


def cancel(out: Path, name: str) -> Cancelled:
    """End the jobs of a submission, or of a run, that wait or run. A run that was submitted again since is no
    longer the business of its first submission."""
    entries = latest(load_submissions(out))
    chosen = {run: entry for run, entry in entries.items() if name in (entry[0].name, run)}
    local = [entry for entry in chosen.values() if entry[0].executor == "local"]
    runs = [run for submission, run in chosen.values() if submission.executor == "slurm"]
    others = [run for key, (submission, run) in entries.items() if key not in chosen]
    cancelled = _on_slurm(runs, others)
    processes = _here(out, local, whole=name not in chosen)
    return Cancelled(cancelled.jobs + processes, cancelled.kept)


def submission_names(out: Path) -> list[str]:
    """The names of all submissions of a run store, the oldest first."""
    return [each.name for each in load_submissions(out)]


def _on_slurm(runs: Collection[SubmittedRun], others: Iterable[SubmittedRun]) -> Cancelled:
    firsts = {run.first_job for run in runs} - {None}
    sharing = [run for run in others if run.first_job in firsts]
    alive = queue({job for run in [*runs, *sharing] for job in (run.job, run.first_job) if job})
    kept = Counter(run.first_job for run in sharing if run.job in alive and run.first_job in alive)
    jobs = {run.job for run in runs if run.job in alive} | (firsts & alive.keys() - kept.keys())
    if jobs:
        ask_slurm(["scancel", *_ranges(jobs)], unknown="Invalid job id")
    return Cancelled(tuple(sorted(jobs)), dict(kept))


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


def _here(out: Path, entries: Iterable[tuple[Submission, SubmittedRun]], whole: bool) -> tuple[str, ...]:
    """End processes of `--local`. Those of a whole submission are ended by the command that started them, since
    it would start the next ones."""
    submissions = {submission.name: submission for submission, _ in entries}
    jobs = {
        job: jobs_dir(out, submission.name)
        for submission, run in entries
        for job in (run.job, *((run.first_job,) if whole else ()))
        if job
    }
    alive = living(jobs)
    commands = [" ".join(each.command[1:]) for each in submissions.values()]
    for job, parent in alive.items():
        started_by = command_of(parent) if whole else ""
        chief = any(command in started_by for command in commands)
        with suppress(ProcessLookupError):
            os.kill(parent if chief else int(job), signal.SIGTERM)
            if chief:
                break
    return tuple(alive)

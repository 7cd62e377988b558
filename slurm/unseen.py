"""Jobs that Slurm does not show yet. Needs no torch.

Right after sbatch took a job, the queue of a busy cluster may not have it, nor the accounts. To take it for lost
would be to submit it a second time.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from issbench.bench.launching.submissions import Entry, Submission, submission_dir, submissions_dir

LAG = 600.0
"""Seconds after its submission in which a job that left no outcome counts as alive, though Slurm shows it nowhere.
After that it counts as lost."""

NOT_SHOWN = "submitted; Slurm does not show it yet"
"""What such a job does, in words."""


def unseen(out: Path, entries: Iterable[Entry], jobs: Collection[str]) -> set[str]:
    """Those of `jobs`, which Slurm does not show, that were submitted a short while ago and left no outcome."""
    recent: dict[str, bool] = {}
    found: set[str] = set()
    for submission, run in entries if jobs else ():
        if submission.name not in recent:
            recent[submission.name] = _is_recent(out, submission)
        if recent[submission.name]:
            found |= {job for job in (run.job, run.first_job) if job in jobs and job is not None}
    # A first step may be a job of an earlier submission.
    return {job for job in found if not any(submissions_dir(out).glob(f"*/jobs/{job}.outcome.json"))}


def _is_recent(out: Path, submission: Submission) -> bool:
    """By the submitting machine's clock or the file server's, which need not agree. The record is written anew with
    each array that Slurm takes."""
    times = [submission.created]
    with suppress(OSError):
        times.append((submission_dir(out, submission.name) / "sweep.json").stat().st_mtime)
    return any(abs(time.time() - each) < LAG for each in times)

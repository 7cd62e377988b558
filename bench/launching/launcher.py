"""What starts jobs: the interface of launchers, and their lookup by the name that a submission records.

Ours are `slurm` and `local`; an installed package adds one by an entry point of the group `issbench.launchers`.
What it starts calls `issbench.slurm.job.Job.run`, which leaves the job's outcome where `outcome_path` says. To
import a launcher, and all that it does but `device`, `describe` and `submit`, must need no torch.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from issbench.bench.launching.logs import job_logs
from issbench.bench.launching.profile import Profile
from issbench.bench.launching.submissions import Entry, Request, Submission, jobs_dir, load_submissions
from issbench.errors import RunError, UsageError, did_you_mean

if TYPE_CHECKING:
    import torch

    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.store import Store

_OURS = {"slurm": "issbench.slurm.cluster:Cluster", "local": "issbench.slurm.local:Local"}

Report = Callable[[str], None]
"""Takes a line for the user."""


class NoAnswer(RunError):
    """What knows of jobs (the queue of a cluster, say) does not answer, so they may be alive."""


@dataclass(frozen=True)
class Submitted:
    """What became of a request."""

    submission: Submission | None
    """None: there was nothing to submit."""
    queued: int = 0
    """Runs that were left out because a job of an earlier submission waits or runs."""
    failures: Mapping[str, str] | None = None
    """Of a launcher that waits for the end of its jobs: the names of the runs that failed, and why. None: the jobs
    go on after this."""


@dataclass(frozen=True)
class JobState:
    """What a launcher knows of a job of a run that is not done."""

    state: Literal["queued", "running", "stopped", "failed"]
    """`stopped`: it was cancelled."""
    detail: str = ""
    """Why it waits, or how it ended."""

    @property
    def alive(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("queued", "running")


@dataclass(frozen=True)
class Cancelled:
    """What was ended, and what was not."""

    jobs: tuple[str, ...] = ()
    """Jobs that waited or ran, and runs whose jobs had not been started."""
    kept: Mapping[str, int] = field(default_factory=dict)
    """Jobs of first steps, and how many other runs wait for each."""


class Launcher(ABC):
    """Starts jobs somewhere, and answers for them."""

    name: ClassVar[str]
    """As it is looked up."""

    @abstractmethod
    def check(self, device: str) -> None:
        """Raise RunError or UsageError where nothing can be submitted from this machine, or not for `--device`."""

    @abstractmethod
    def device(self, device: str, profile: Profile) -> torch.device:
        """The device to plan for."""

    @abstractmethod
    def describe(self, plans: Sequence[Plan], store: Store, request: Request) -> list[str]:
        """Lines that say what `submit` would start; it starts and writes nothing."""

    @abstractmethod
    def submit(self, plans: Sequence[Plan], store: Store, request: Request, report: Report) -> Submitted:
        """Start jobs for runs that are not done, and record them as they are taken.

        RunError where the launcher refuses; what it took before is recorded. Interrupted on Ctrl-C.
        """

    @abstractmethod
    def states(self, out: Path, entries: Sequence[Entry]) -> dict[str, JobState]:
        """The states of the jobs of runs that are not done, by job. Jobs of which nothing is known are left out.

        NoAnswer where nothing can be known now.
        """

    @abstractmethod
    def cancel(self, out: Path, chosen: Sequence[Entry], others: Sequence[Entry]) -> Cancelled:
        """End the jobs of runs, but no first step that `others` wait for."""

    def recover(self, out: Path, submissions: Sequence[Submission]) -> list[Submission]:
        """The submissions of this launcher with the jobs that it took without the record knowing, because the
        command that submitted them was killed or got no answer. Writes nothing. NoAnswer as in `states`."""
        return list(submissions)

    def logs(self, out: Path, submission: str, job: str) -> list[Path]:
        """What the processes of a job printed, the first process first."""
        return job_logs(jobs_dir(out, submission), job)


def load_launcher(name: str) -> Launcher:
    """The launcher of this name. UsageError if nothing provides it."""
    known = {point.name: point.value for point in entry_points(group="issbench.launchers")} | _OURS
    if name not in known:
        raise UsageError(f"unknown launcher {name!r}; {did_you_mean(name, known)}")
    module, _, attribute = known[name].partition(":")
    launcher: Launcher = getattr(importlib.import_module(module), attribute)()
    return launcher


def by_launcher(entries: Sequence[Entry]) -> list[tuple[Launcher, list[Entry]]]:
    """The entries of each launcher, with it."""
    names = dict.fromkeys(submission.launcher for submission, _ in entries)
    return [(load_launcher(name), [entry for entry in entries if entry[0].launcher == name]) for name in names]


def recovered_submissions(out: Path) -> list[Submission]:
    """All submissions of a run store, the oldest first, with the jobs that their launchers took without the record
    knowing. NoAnswer where a launcher cannot say."""
    recorded = load_submissions(out)
    found: dict[str, Submission] = {}
    incomplete = [each for each in recorded if any(run.job is None for run in each.runs)]
    for name in dict.fromkeys(submission.launcher for submission in incomplete):
        mine = [submission for submission in incomplete if submission.launcher == name]
        found |= {submission.name: submission for submission in load_launcher(name).recover(out, mine)}
    return [found.get(submission.name, submission) for submission in recorded]

"""Runs that failed or were cancelled: they are submitted again as they were the last time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from issbench.bench.experiment import experiment_of
from issbench.bench.launching.launcher import Launcher, NoAnswer, load_launcher
from issbench.bench.launching.profile import profile_of
from issbench.bench.launching.status import run_folders, statuses, unsubmitted
from issbench.bench.launching.submissions import Request, Submission, latest, load_submissions, settings_of
from issbench.errors import UsageError

if TYPE_CHECKING:
    import torch

    from issbench.bench.engine.plan import Plan


@dataclass(frozen=True)
class Retry:
    """Runs of one submission that are to be submitted again."""

    submission: Submission
    runs: tuple[str, ...]

    @property
    def launcher(self) -> Launcher:
        """The launcher that had them."""
        return load_launcher(self.submission.launcher)

    def request(self, out: Path) -> Request:
        """The same request as before."""
        submission = self.submission
        settings = settings_of(submission, out.absolute())
        profile = profile_of(submission.profile)
        return Request(profile, settings, "retry", submission.command, submission.directory)

    def plans(self, device: torch.device) -> list[Plan]:
        """The plans of the runs."""
        from issbench.bench.engine.plan import make_plans

        described = {run.run: run.experiment for run in self.submission.runs}
        try:
            with chdir(self.submission.directory):
                return make_plans([experiment_of(described[run]) for run in self.runs], device)
        except FileNotFoundError as error:
            command = " ".join(self.submission.command)
            raise UsageError(
                f"{error.filename}, which {self.submission.name} needs, is gone; give its command again: {command}"
            ) from None


def find_retries(out: Path, names: Sequence[str], failed: bool) -> list[Retry]:
    """The runs to submit again, by the submission that they were in last. `names` are submissions and runs (none:
    all); `failed` leaves out those that were cancelled. NoAnswer where it is unknown whether jobs have them."""
    submissions = {submission.name: submission for submission in load_submissions(out)}
    chosen = {run.run for name in names if name in submissions for run in submissions[name].runs} | {*names}
    states = {"failed"} if failed else {"failed", "stopped"}
    runs: dict[str, list[str]] = {}
    for status in statuses(out):
        if status.submission is None or (names and status.run not in chosen):
            continue
        if status.state == "unknown":
            raise NoAnswer(f"nothing was submitted, since a job may have {status.run}: {status.detail}")
        if status.state in states:
            runs.setdefault(status.submission, []).append(status.run)
    return [Retry(submissions[name], tuple(found)) for name, found in runs.items()]


def runs_of_commands(out: Path, names: Sequence[str], failed: bool) -> list[str]:
    """The runs that `bench run` itself carried out, without a launcher, and that failed or were interrupted.
    `names` and `failed` as above. No launcher is asked."""
    submitted = latest(load_submissions(out))
    own = [unsubmitted(path) for path in run_folders(out) if path.name not in submitted]
    states = {"failed"} if failed else {"failed", "stopped"}
    return [each.run for each in own if each.state in states and (not names or each.run in names)]

"""The processes of the launcher `local`, as many at once as there are slots.

Run as `python -m issbench.slurm.local_jobs SUBMISSION JOB`, this file is such a process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING

from issbench.bench.launching.submissions import (
    Submission,
    jobs_dir,
    load_submission,
    outcome_path,
    settings_of,
    submission_dir,
)
from issbench.bench.outcome import read_outcome, write_outcome
from issbench.slurm.job import Job

if TYPE_CHECKING:
    from issbench.slurm.local_progress import LocalProgress

MODULE = "issbench.slurm.local_jobs"
_LOOK = 1.0
"""Seconds between two looks at how far the jobs are."""


def cancelled_runs(out: Path, submission: str) -> set[str]:
    """The runs that `bench cancel` ended, or that shall not begin."""
    path = submission_dir(out, submission) / "cancelled"
    return set(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else set()


class LocalJobs:
    """The jobs of a submission: threads that each start a process and wait for its end."""

    def __init__(
        self,
        out: Path,
        submission: Submission,
        groups: Sequence[Sequence[int]],
        slots: Sequence[int | None],
        progress: LocalProgress,
    ):
        self.out, self.submission, self.groups, self.progress = out, submission, groups, progress
        self.free: SimpleQueue[int | None] = SimpleQueue()
        for slot in slots:
            self.free.put(slot)
        self.size = len(slots)
        self.lock, self.stopping = Lock(), False
        self.alive: dict[str, subprocess.Popen[bytes]] = {}
        self.training: dict[str, str] = {}
        """Of the runs in whose folders the living jobs tell where they are, what is said of them."""

    def run_all(self) -> dict[str, str]:
        """Run everything; the names of the runs that failed, and why."""
        with self.progress.shown():
            return self._run_all()

    def _run_all(self) -> dict[str, str]:
        runs, failed = self.submission.runs, dict[str, str]()
        waiting = {run for group in self.groups for run in group}
        with ThreadPoolExecutor(self.size) as pool:
            pending: dict[Future[str | None], Sequence[int]] = {
                pool.submit(self._first_step, group): group for group in self.groups
            }
            pending |= {pool.submit(self._run, run): (run,) for run in range(len(runs)) if run not in waiting}
            try:
                while pending:
                    for future in wait(pending, _LOOK, FIRST_COMPLETED).done:
                        group, reason = pending.pop(future), future.result()
                        if reason is not None:
                            failed |= {runs[run].run: reason for run in group}
                        elif waiting & {*group}:
                            waiting -= {*group}
                            pending |= {pool.submit(self._run, run): (run,) for run in group}
                            continue
                        for run in group:
                            self.progress.end(runs[run].run)
                    self.progress.show(dict(self.training))
            except BaseException:
                self._stop(signal.SIGTERM)
                try:
                    pool.shutdown(cancel_futures=True)
                except KeyboardInterrupt:
                    self._stop(signal.SIGKILL)
                raise
        return failed

    def _stop(self, number: int) -> None:
        """Send all jobs a signal: SIGTERM, to save a checkpoint and end, or SIGKILL, with the processes that read
        for them. None starts after this."""
        with self.lock:
            self.stopping = True
            for process in self.alive.values():
                with suppress(ProcessLookupError):
                    if number == signal.SIGKILL:
                        os.killpg(process.pid, number)
                    else:
                        process.send_signal(number)

    def _first_step(self, group: Sequence[int]) -> str | None:
        runs = [self.submission.runs[run] for run in group]
        label = f"the first step of {len(group)} runs, as {runs[0].label}"
        reason = self._carry_out(runs[0].first_job or "", label, [run.run for run in runs])
        outcome = read_outcome(self._outcome(runs[0].first_job or ""))
        if reason is None or outcome is None or outcome.state != "failed":
            return reason
        reason = f"its first step failed: {reason}"
        for run in runs:
            write_outcome(self._outcome(run.job or ""), "failed", reason)
        return reason

    def _run(self, run: int) -> str | None:
        submitted = self.submission.runs[run]
        return self._carry_out(submitted.job or "", submitted.label, [submitted.run])

    def _carry_out(self, job: str, label: str, runs: Sequence[str]) -> str | None:
        """Start a job for these runs on a free slot and wait for its end; why it failed, or None."""
        slot = self.free.get()
        try:
            process = self._start(job, slot, runs)
            if process is None:
                return "cancelled before it began"
            self.progress.say(f"started   {label}" + (f" on GPU {slot}" if slot is not None else ""))
            self.training[runs[0]] = label
            code = process.wait()
            with self.lock:
                del self.alive[job]
            del self.training[runs[0]]
            state, reason = self._end(job, code)
            self.progress.say(f"{state:<9} {label}" + (f": {reason}" if state == "failed" else ""))
            return reason
        finally:
            self.free.put(slot)

    def _start(self, job: str, slot: int | None, runs: Sequence[str]) -> subprocess.Popen[bytes] | None:
        folder = submission_dir(self.out, self.submission.name).resolve()
        command = [sys.executable, "-u", "-m", MODULE, str(folder), job]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "" if slot is None else str(slot)}
        with self.lock:
            if self.stopping or {*runs} <= cancelled_runs(self.out, self.submission.name):
                return None
            with self._log(job).open("ab") as log:
                # In a session of its own it does not get Ctrl-C, which would reach it beside our own signal.
                self.alive[job] = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment,
                    cwd=self.submission.directory, start_new_session=True,
                )  # fmt: skip
            return self.alive[job]

    def _end(self, job: str, code: int) -> tuple[str, str | None]:
        """How a job ended, in a word, and why, unless all is well."""
        outcome = read_outcome(self._outcome(job))
        if outcome is not None and outcome.state == "done":
            return "finished", None
        if outcome is not None and outcome.state == "failed":
            return "failed", f"{outcome.reason} ({self._log(job)})"
        if self.stopping or (outcome is not None and outcome.state == "interrupted"):
            return "stopped", "interrupted"
        return "failed", f"its process ended with code {code} ({self._log(job)})"

    def _log(self, job: str) -> Path:
        return jobs_dir(self.out, self.submission.name) / f"{job}_0_log.out"

    def _outcome(self, job: str) -> Path:
        return outcome_path(jobs_dir(self.out, self.submission.name), job)


def _main(folder: Path, job: str) -> int:
    """Carry out one job of a submission; the exit code."""
    submission, out = load_submission(folder / "sweep.json"), folder.parents[1]
    run = next(run for run in submission.runs if job in (run.first_job, run.job))
    settings = settings_of(submission, out)
    last_step = 0 if job == run.first_job else None
    state = Job(run.experiment, settings, last_step).run(outcome_path(jobs_dir(out, submission.name), job))
    return {"done": 0, "failed": 1}.get(state, 130)


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), sys.argv[2]))

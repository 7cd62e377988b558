"""The launcher `local`: jobs are processes of this machine, several at once, each on its own GPU, first steps
before the runs that need them. The command that submits them waits for their end.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from issbench.bench.cores import cores
from issbench.bench.launching.launcher import Cancelled, JobState, Launcher, Report, Submitted
from issbench.bench.launching.profile import Profile
from issbench.bench.launching.submissions import (
    Entry,
    Request,
    Submission,
    SubmittedRun,
    jobs_dir,
    new_submission,
    outcome_path,
    save_submission,
    submission_dir,
    submissions_dir,
    submitting,
)
from issbench.errors import Interrupted, UsageError
from issbench.slurm.layout import Need, shared_first_steps
from issbench.slurm.local_jobs import MODULE, LocalJobs, cancelled_runs
from issbench.slurm.local_progress import LocalProgress

if TYPE_CHECKING:
    import torch

    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.store import Store


class Local(Launcher):
    """This machine."""

    name = "local"

    def check(self, device: str) -> None:
        """Each job gets a GPU, so none can be named."""
        if device not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"--device {device}: --local gives each job a GPU; choose which with CUDA_VISIBLE_DEVICES=0,1"
            )

    def device(self, device: str, profile: Profile) -> torch.device:
        """The device of this process."""
        from issbench.bench.engine.distributed import join

        return join(device)

    def describe(self, plans: Sequence[Plan], store: Store, request: Request) -> list[str]:
        """How many jobs there are, and how many at once."""
        groups, slots = _groups(plans, store), _slots(request)
        return [
            f"{'jobs':<10} {len(groups) + len(plans):>4}  {len(groups)} of them first steps; {len(slots)} at once"
        ]

    def submit(self, plans: Sequence[Plan], store: Store, request: Request, report: Report) -> Submitted:
        """Carry out the runs. Interrupted on Ctrl-C, SIGTERM or SIGHUP, when all jobs have saved a checkpoint, or
        at a second one, which ends them at once."""
        if not plans:
            return Submitted(None, failures={})
        slots, groups = _slots(request), _groups(plans, store)
        request = _with_readers(request, slots)
        with submitting(store.root):
            submission = new_submission(store.root, self.name, plans, request)
            submission = replace(submission, runs=_with_jobs(submission, groups))
            jobs_dir(store.root, submission.name).mkdir(parents=True, exist_ok=True)
            save_submission(store.root, submission)
        progress = LocalProgress(plans, store, report, Console())
        jobs = LocalJobs(store.root, submission, groups, slots, progress)
        with _signals_as_ctrl_c() as received:
            try:
                return Submitted(submission, failures=jobs.run_all())
            except KeyboardInterrupt:
                interrupted = Interrupted("interrupted; the same command resumes where it stopped")
                interrupted.exit_code = 128 + received[0]
                raise interrupted from None

    def states(self, out: Path, entries: Sequence[Entry]) -> dict[str, JobState]:
        """One call of `ps`. What waits or runs on another machine is not known."""
        processes = _living(out)
        found = {}
        for submission, run in entries:
            cancelled = run.run in cancelled_runs(out, submission.name)
            for job in filter(None, (run.first_job, run.job)):
                if job in processes:
                    found[job] = JobState("running")
                elif not outcome_path(jobs_dir(out, submission.name), job).is_file():
                    if cancelled:
                        found[job] = JobState("stopped", "cancelled")
                    elif any(other.startswith(f"{submission.name}.") for other in processes):
                        found[job] = JobState("queued", "waits for its turn")
        return found

    def cancel(self, out: Path, chosen: Sequence[Entry], others: Sequence[Entry]) -> Cancelled:
        """End processes, and see that those of the runs that have not been started never are."""
        states = self.states(out, [*chosen, *others])
        waited_for = [run.first_job for _, run in others if run.job in states and states[run.job].alive]
        jobs = {job for _, run in chosen for job in (run.first_job, run.job) if job in states and states[job].alive}
        kept = {job: waited_for.count(job) for job in jobs if job in waited_for}
        for submission, run in chosen:
            if {run.first_job, run.job} & jobs:
                with (submission_dir(out, submission.name) / "cancelled").open("a", encoding="utf-8") as file:
                    file.write(f"{run.run}\n")
        processes = _living(out)
        for job in jobs - kept.keys():
            with suppress(KeyError, ProcessLookupError):
                os.kill(processes[job], signal.SIGTERM)
        return Cancelled(tuple(sorted(jobs - kept.keys())), kept)


def gpus_here() -> list[int]:
    """The numbers of this machine's GPUs that may be used, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not torch.cuda.is_available():
        return []
    if named is None:
        return list(range(torch.cuda.device_count()))
    try:
        return [int(number) for number in named.split(",")]
    except ValueError:
        raise UsageError(f"CUDA_VISIBLE_DEVICES={named}: --local needs GPUs by their numbers, as in 0,1") from None


def _slots(request: Request) -> list[int | None]:
    """For each job that may run at once the number of its GPU, or None for the CPU."""
    gpus = [] if request.settings.device == "cpu" else gpus_here()
    at_once = request.profile.max_parallel or len(gpus) or 1
    return [gpus[slot % len(gpus)] if gpus else None for slot in range(at_once)]


def _with_readers(request: Request, slots: Sequence[int | None]) -> Request:
    """The request in which jobs on the CPU read with the cores that they leave each other, if it does not say."""
    settings = request.settings
    if settings.workers is not None or slots[0] is not None:
        return request
    return replace(request, settings=replace(settings, workers=max(0, cores() // len(slots) - 1)))


def _groups(plans: Sequence[Plan], store: Store) -> list[list[int]]:
    """The positions of runs that share a first step, which is missing, and need it for their next one."""
    keys = [None if plan.needs_no_other else plan.steps[0].key for plan in plans]
    missing = store.missing_steps(filter(None, keys))
    return shared_first_steps([Need(run, key if key in missing else None) for run, key in enumerate(keys)])


def _with_jobs(submission: Submission, groups: Sequence[Sequence[int]]) -> tuple[SubmittedRun, ...]:
    """The runs with the ids of their jobs, which are ours to choose."""
    firsts = {run: f"{submission.name}.first{number}" for number, group in enumerate(groups) for run in group}
    runs = enumerate(submission.runs)
    return tuple(replace(run, first_job=firsts.get(i), job=f"{submission.name}.{i}") for i, run in runs)


def _living(out: Path) -> dict[str, int]:
    """The processes that carry out jobs of a run store on this machine: their ids, by job."""
    command = ["ps", "-A", "-ww", "-o", "pid=,pgid=,command="]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    marked = (line.partition(f" -m {MODULE} {submissions_dir(out).resolve()}/") for line in lines)
    found = ((before.split(None, 2), rest) for before, mark, rest in marked if mark)
    # A job leads its own group of processes; those that read images for it have the same command line.
    return {rest.split()[-1]: int(pid) for (pid, group, _), rest in found if pid == group}


@contextmanager
def _signals_as_ctrl_c() -> Iterator[list[int]]:
    """Interrupt on each signal that asks to end; gives those that were received."""
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    old = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

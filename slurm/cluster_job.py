"""A job of Slurm: its processes find what to do and each other, and an interrupted one is queued again.

The engine saves a checkpoint when Slurm announces a time limit or a preemption. The job then asks to be requeued,
and goes on inside the step where it stopped.

Slurm runs this file as `python -m issbench.slurm.cluster_job TASKS SHA256` in each process of a job.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

from issbench.bench.launching.launcher import NoAnswer
from issbench.bench.launching.submissions import jobs_dir, outcome_path
from issbench.bench.outcome import write_outcome
from issbench.errors import RunError
from issbench.slurm.arrays import read_task
from issbench.slurm.ask import ask_slurm
from issbench.slurm.queue import queue
from issbench.slurm.requeues import MOST, fruitless_limits, progress


def main(tasks: Path, sha256: str) -> int:
    """Carry out the task of this job; the exit code."""
    started = time.monotonic()
    job, rank = job_id(), int(os.environ.get("SLURM_PROCID", "0"))
    submission = tasks.parents[1]
    outcome = outcome_path(jobs_dir(submission.parents[1], submission.name), job)
    try:
        task = read_task(tasks, sha256, int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")))
    except RunError as error:
        return _fail(outcome, rank, str(error))
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        _set_meeting_point()
    out = Path(task.job.settings.out)
    before = progress(out, task.steps)
    signal.signal(
        signal.SIGUSR2, signal.default_int_handler
    )  # before the engine listens, nothing is lost by ending
    state = task.job.run(outcome, rank)
    if state != "interrupted":
        return int(state == "failed")  # no traceback: the log ends with the reason
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    if rank:
        time.sleep(3600)  # the first process requeues the job, which ends this one; to end before would fail it
    timed_out = time.monotonic() - started >= 0.8 * task.allotted
    further = progress(out, task.steps) != before
    if fruitless_limits(outcome.with_name(f"{job}.requeues.json"), further, timed_out) >= MOST:
        return _fail(
            outcome, rank,
            f"{MOST} time limits in a row, each announced after {task.allotted / 60:.0f} minutes, were over before "
            "a checkpoint that brings it further; give a longer --time",
        )  # fmt: skip
    _requeue(job)
    return 130


def job_id() -> str:
    """The id of this job, as `squeue` has it: `ID` or `ARRAY_INDEX`."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def _set_meeting_point() -> None:
    """Set what the engine's processes need to find each other."""
    from submitit.helpers import TorchDistributedEnvironment

    # The engine chooses each process's GPU itself.
    found = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    try:
        socket.getaddrinfo(found.master_addr, None)
    except OSError:  # Slurm's names of nodes need not be known to the system; the first node started the tasks
        os.environ["MASTER_ADDR"] = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", found.master_addr)


def _requeue(job: str) -> None:
    """Put this job into the queue again, unless it was cancelled or Slurm itself requeues it."""
    try:
        waiting = queue([job]).get(job)
        if waiting is not None and waiting.state == "RUNNING":
            ask_slurm(["scontrol", "requeue", job])
    except NoAnswer as error:
        print(f"it was not put into the queue again: {error}; `bench retry` submits it", flush=True)


def _fail(outcome: Path, rank: int, reason: str) -> int:
    print(f"failed: {reason}", flush=True)
    if rank == 0:
        write_outcome(outcome, "failed", reason)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))

"""What a job of Slurm does beside its run: its processes find each other, and an interrupted one is requeued.

The engine saves a checkpoint when Slurm announces a time limit or a preemption. The job then asks to be requeued
through submitit, and goes on inside the step where it stopped.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from issbench.bench.launching.submissions import outcome_path
from issbench.slurm.job import Job
from issbench.slurm.queue import queue


@dataclass(frozen=True)
class ClusterJob:
    """What submitit calls in each process of a job."""

    job: Job

    def __call__(self) -> None:
        environment = JobEnvironment()
        requeue = signal.getsignal(signal.SIGUSR2)
        assert callable(requeue), "submitit sets it"
        if environment.num_tasks > 1:
            _set_meeting_point()
        outcome = outcome_path(environment.paths.folder, environment.job_id)
        state = self.job.run(outcome, environment.global_rank)
        if state == "interrupted":
            _end_interrupted(environment, requeue)
        if state == "failed":
            sys.exit(1)  # not raised: the log ends with the reason; a traceback after it would hide that

    def checkpoint(self) -> DelayedSubmission:
        """What submitit puts into the queue again: the same, since the store has the checkpoint."""
        return DelayedSubmission(self)


def _set_meeting_point() -> None:
    """Set what the engine's processes need to find each other."""
    # The engine chooses each process's GPU itself.
    found = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    try:
        socket.getaddrinfo(found.master_addr, None)
    except OSError:  # Slurm's names of nodes need not be known to the system; the first node started the tasks
        os.environ["MASTER_ADDR"] = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", found.master_addr)


def _end_interrupted(environment: JobEnvironment, requeue: Callable[..., Any]) -> NoReturn:
    """End an interrupted job: requeued, unless it was cancelled or Slurm itself requeues it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if environment.global_rank:
        time.sleep(3600)  # the first process requeues the job, which ends this one; to end before would fail it
    job = queue([environment.job_id]).get(environment.job_id)
    if job is not None and job.state == "RUNNING":
        requeue(signal.SIGUSR2, None)
    sys.exit(130)

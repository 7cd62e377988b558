"""What a job does: it carries out one run, or just its first step, with the engine.

The engine saves a checkpoint and raises KeyboardInterrupt when Slurm announces a time limit or a preemption. The
job then asks to be requeued through submitit, and goes on inside the step where it stopped.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from submitit import JobEnvironment
from submitit.helpers import DelayedSubmission, TorchDistributedEnvironment

from issbench.errors import UserError
from issbench.slurm.profile import Settings
from issbench.slurm.queue import queue


@dataclass(frozen=True)
class Job:
    """What submitit calls in each process of a job."""

    experiment: dict[str, Any]
    """As `Experiment.describe` gives it, so that a newer version of the class still reads it."""
    settings: Settings
    last_step: int | None = None
    """The last step to compute; None: all."""

    def __call__(self) -> None:
        environment = JobEnvironment()
        requeue = signal.getsignal(signal.SIGUSR2)
        # submitit ignores SIGTERM; before the engine listens, nothing is lost by ending at once.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        if environment.num_tasks > 1:
            _tell_where_to_meet()
        try:
            done = self._work()
        except KeyboardInterrupt:
            _interrupted(environment, requeue)
        if not done:
            sys.exit(1)  # not raised: the log ends with the reason; a traceback after it would hide that

    def checkpoint(self) -> DelayedSubmission:
        """What submitit puts into the queue again: the same, since the store has the checkpoint."""
        return DelayedSubmission(self)

    def _work(self) -> bool:
        """Compute what the store lacks; whether that came to its end. If not, the last line tells why."""
        from rich.console import Console

        from issbench.bench.engine import distributed as processes
        from issbench.bench.engine.engine import carry_out, make_plans
        from issbench.bench.engine.progress import Reporter
        from issbench.bench.engine.store import Store
        from issbench.bench.experiment import experiment_of

        settings = self.settings
        reporter = Reporter(Console(), settings.tensorboard)
        try:
            device = processes.join(settings.device)
            plans = make_plans([experiment_of(self.experiment)], device, reporter)
            every = settings.checkpoint_every
            carry_out(plans, Store(settings.out), settings.workers, every, reporter, last_step=self.last_step)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            reporter.fail_run(error)
            return False
        return True


def _tell_where_to_meet() -> None:
    """Set what the engine's processes need to find each other."""
    # The engine chooses each process's GPU itself.
    found = TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
    try:
        socket.getaddrinfo(found.master_addr, None)
    except OSError:  # Slurm's names of nodes need not be known to the system; the first node started the tasks
        os.environ["MASTER_ADDR"] = os.environ.get("SLURM_LAUNCH_NODE_IPADDR", found.master_addr)


def _interrupted(environment: JobEnvironment, requeue: Callable[..., Any]) -> NoReturn:
    """End an interrupted job: requeued, unless it was cancelled or Slurm itself requeues it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if environment.cluster == "slurm":
        if environment.global_rank:
            time.sleep(3600)  # the first process requeues the job, which ends this one; to end before would fail it
        job = queue([environment.job_id]).get(environment.job_id)
        if job is not None and job.state == "RUNNING":
            requeue(signal.SIGUSR2, None)
    print("interrupted; its checkpoint is saved", flush=True)
    sys.exit(130)

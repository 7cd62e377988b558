"""What a job does: it carries out one run, or just its first step, with the engine.

The engine saves a checkpoint and raises KeyboardInterrupt when Slurm announces a time limit or a preemption. The
job then asks to be requeued through submitit, and goes on inside the step where it stopped.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import submitit
from submitit.core.job_environment import JobEnvironment

from slurm.profile import Settings
from slurm.queue import queue


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
            submitit.helpers.TorchDistributedEnvironment().export(overwrite=True)
        try:
            failed = self._work(environment.global_rank == 0)
        except KeyboardInterrupt:
            _interrupted(environment, requeue)
        if failed:
            sys.exit(1)  # not raised: the log ends with the reason; a traceback after it would hide that

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """What submitit puts into the queue again: the same, since the store has the checkpoint."""
        return submitit.helpers.DelayedSubmission(self)

    def _work(self, speaks: bool) -> bool:
        """Compute what the store lacks; whether that failed."""
        from rich.console import Console

        from bench.engine import carry_out, make_plans
        from bench.environment import choose_device
        from bench.experiment import experiment_of
        from bench.progress import Reporter
        from bench.store import Store

        settings, failures = self.settings, []
        reporter = Reporter(Console() if speaks else None, settings.tensorboard and speaks)
        try:
            plans = make_plans([experiment_of(self.experiment)], choose_device(settings.device), reporter)
            store = Store(settings.out)
        except Exception as error:
            if not hasattr(error, "exit_code"):
                raise
            print(f"failed: {error}", flush=True)
            return True
        carry_out(
            plans,
            store,
            settings.workers,
            settings.checkpoint_every,
            reporter,
            on_failure=lambda experiment, error: failures.append(error),
            last_step=self.last_step,
        )
        return bool(failures)


def _interrupted(environment: JobEnvironment, requeue: Callable[..., Any]) -> None:
    """End an interrupted job: requeued, unless it was cancelled or Slurm itself requeues it."""
    if environment.cluster == "slurm":
        if environment.global_rank:
            time.sleep(3600)  # the first process requeues the job, which ends this one; to end before would fail it
        job = queue([environment.job_id]).get(environment.job_id)
        if job is not None and job.state == "RUNNING":
            requeue(signal.SIGUSR2, None)
    print("interrupted; its checkpoint is saved", flush=True)
    sys.exit(130)

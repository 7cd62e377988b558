"""What a job does, whoever started it: it carries out one run, or just its first step, and leaves its outcome."""

from __future__ import annotations

import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from issbench.bench.launching.profile import Settings
from issbench.bench.outcome import State, read_outcome, write_outcome
from issbench.errors import RunError, UserError, reason_of


@dataclass(frozen=True)
class Job:
    """One run, in one process or in several that train together."""

    experiment: dict[str, Any]
    """As `Experiment.describe` gives it, so that a newer version of the class still reads it."""
    settings: Settings
    last_step: int | None = None
    """The last step to compute; None: all."""
    first: str | None = None
    """Where the job that trains the first step leaves its outcome, if there is such a job."""

    def run(self, outcome: Path, rank: int = 0) -> State:
        """Compute what the store lacks, and write to `outcome` what becomes of it: done, failed, or, on SIGTERM,
        SIGINT or SIGUSR2, interrupted, when a checkpoint is saved. The log of a failed job has the reason, too."""
        # Before the engine listens, nothing is lost by ending at once.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _leave(outcome, rank, "running")
        try:
            self._work()
        except KeyboardInterrupt:
            print("interrupted; its checkpoint is saved", flush=True)
            return _leave(outcome, rank, "interrupted")
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            return _leave(outcome, rank, "failed", reason_of(error))
        return _leave(outcome, rank, "done")

    def _work(self) -> None:
        first = read_outcome(Path(self.first)) if self.first else None
        if first is not None and first.state == "failed":
            reason = f"its first step failed: {first.reason}"
            print(f"failed: {reason}", flush=True)
            raise RunError(reason)
        from rich.console import Console

        from issbench.bench.engine import distributed
        from issbench.bench.engine.engine import Settings as EngineSettings
        from issbench.bench.engine.engine import execute
        from issbench.bench.engine.plan import make_plans
        from issbench.bench.engine.progress import Reporter
        from issbench.bench.engine.store import Store
        from issbench.bench.experiment import experiment_of

        settings = self.settings
        reporter = Reporter(Console(), settings.tensorboard)
        device = distributed.join(settings.device)
        plans = make_plans([experiment_of(self.experiment)], device, reporter.scan)
        how = EngineSettings(
            settings.workers, settings.checkpoint_every, settings.threads, self.last_step, settings.diagnose
        )
        failures = execute(plans, Store(settings.out), how, reporter)
        if failures:
            raise RunError(failures[plans[0].run_name])


def _leave(path: Path, rank: int, state: State, reason: str = "") -> State:
    """Write an outcome. Of several processes the first one does, but any may fail, and the others end because of
    that: the first reason stays."""
    old = read_outcome(path)
    if state == "running" or old is None or old.state != "failed":
        if state == "failed":
            write_outcome(path, state, f"process {rank}: {reason}" if rank else reason)
        elif rank == 0:
            write_outcome(path, state)
    return state

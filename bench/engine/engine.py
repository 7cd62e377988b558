"""Carries out experiments: computes the steps that the store lacks, tests them, writes the runs' records."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from issbench.bench.engine import distributed
from issbench.bench.engine.assemble import frozen, make_network
from issbench.bench.engine.environment import arithmetic
from issbench.bench.engine.evaluation import count_images
from issbench.bench.engine.interruption import Interruption, interruption
from issbench.bench.engine.leftovers import tidy
from issbench.bench.engine.loading import Loader
from issbench.bench.engine.memory import memory_told
from issbench.bench.engine.plan import Plan, StepPlan
from issbench.bench.engine.planned import remember
from issbench.bench.engine.preflight import enough_memory
from issbench.bench.engine.progress import Reporter
from issbench.bench.engine.record import run_record, step_record
from issbench.bench.engine.store import StepDamaged, Store
from issbench.bench.engine.training import StepTrainer
from issbench.bench.engine.update import autocast
from issbench.bench.metrics import merge
from issbench.errors import RunError, reason_of
from issbench.files import CannotWrite
from issbench.results.counts import pack
from issbench.results.record import Record, StepRecord


@dataclass(frozen=True)
class Settings:
    """How runs are carried out; nothing of it changes a result, but `threads` its last bits."""

    workers: int | None = None
    """Processes that read images; None: as many as cores, up to 8, and none for data in memory."""
    checkpoint_every: float = 60.0
    """Seconds between checkpoints inside a step."""
    threads: int | None = None
    """Threads that compute on the CPU, see `threads_for`."""
    last_step: int | None = None
    """The last step to compute; None: all."""
    diagnose: bool = False
    """Whether to look at each step while it trains (`diagnosis.py`)."""


@dataclass(frozen=True)
class _Work:
    """What all runs of one call have in common."""

    store: Store
    settings: Settings
    reporter: Reporter
    interruption: Interruption
    failed: dict[str, str] = field(default_factory=dict)
    """Steps that failed, by key, and why."""


def execute(plans: Sequence[Plan], store: Store, settings: Settings, reporter: Reporter) -> dict[str, str]:
    """Carry out runs for one device; the names of those that failed, and why.

    A run that fails does not stop the others, and a step that failed is not tried again for the next run that needs
    it. Among several processes a failure ends everything, since one alone may have met it; so does a store that
    cannot be written. RunError before anything trains where a step needs more memory than there is.
    Raises Stopped, after a checkpoint, where SIGINT, SIGTERM, SIGHUP or SIGUSR2 asked to end.
    """
    failures: dict[str, str] = {}
    if not distributed.is_main():
        reporter = Reporter()
    device = plans[0].device if plans else torch.device("cpu")
    missing = store.missing_steps(step.key for plan in plans for step in plan.steps)
    with arithmetic(device, settings.threads), interruption() as stop, reporter.running(plans, missing):
        enough_memory(plans, missing, settings.workers, settings.last_step)
        work = _Work(store, settings, reporter, stop)
        for plan in plans:
            try:
                _run(plan, work)
            except Exception as error:
                told = distributed.explained(error)
                failures[plan.run_name] = reason_of(told)
                reporter.fail_run(told)
                failed = {step.key: work.failed[step.key] for step in plan.steps if step.key in work.failed}
                store.save_failure(plan.run_name, reason_of(told), failed)
                if distributed.world_size() > 1 or isinstance(error, CannotWrite):
                    raise told from None
            except KeyboardInterrupt:
                store.write_outcome(plan.run_name, "interrupted")
                raise
    return failures


def _run(plan: Plan, work: _Work) -> None:
    """One run. A finished step that turns out to be damaged was set aside: then the run begins again, and computes
    what is missing."""
    work.store.write_outcome(plan.run_name, "running")
    tidy(work.store.root, plan.run_name, [step.key for step in plan.steps])
    work.reporter.start_run(plan, work.store.run_dir(plan.run_name) if distributed.is_main() else None)
    for _ in range(2 * len(plan.steps) + 1):
        try:
            complete = _steps(plan, work)
            break
        except StepDamaged as error:
            work.reporter.note(str(error))
    else:
        raise RunError(
            f"steps of {plan.run_name} are damaged again and again; check the disk under {work.store.root}"
        )
    # A job may compute the first step alone; its run is not complete, and nothing works on it after this.
    work.store.write_outcome(plan.run_name, "done" if complete else "interrupted")
    if complete and distributed.is_main():
        remember(work.store.root, plan.run_name, plan.keys, plan.sources)
    work.reporter.end_run()


def _steps(plan: Plan, work: _Work) -> bool:
    """All steps; the record is rewritten after each, so that what is done can be seen. Whether the run is
    complete."""
    records: list[StepRecord] = []
    record: Record | None = None
    last = work.settings.last_step
    if plan.needs_no_other and last is None:
        for step in reversed(plan.steps):  # another process may train the first one, which runs share, meanwhile
            _step_or_why(plan, step, work)
    for step in plan.steps:
        if last is not None and step.index > last:
            break
        records.append(_step_or_why(plan, step, work))
        record = run_record(plan, records)
        work.store.save_record(plan.run_name, record)
        work.reporter.end_step(records[-1])
    return record is not None and record["complete"]


def _step_or_why(plan: Plan, step: StepPlan, work: _Work) -> StepRecord:
    """The record of a step, unless it failed before; why it fails is noted for other runs that need it."""
    if step.key in work.failed:
        raise RunError(f"it needs step {step.index}, which failed for another run: {work.failed[step.key]}")
    try:
        return _step(plan, step, work)
    except StepDamaged:
        raise
    except Exception as error:
        work.failed[step.key] = reason_of(distributed.explained(error))
        raise


def _step(plan: Plan, step: StepPlan, work: _Work) -> StepRecord:
    """The record of a step, which is trained and tested where the store lacks that."""
    store, names = work.store, list(step.evaluations.values())
    if not store.has_evaluations(step.key, names):
        loader = Loader(plan.data.pairs, step.recipe, plan.device, work.settings.workers, work.interruption)
        with _locked(step.key, work):
            if not store.has_step(step.key):
                with memory_told(f"the training of step {step.index}", plan.device):
                    trainer = StepTrainer(plan, step, store, loader, work.reporter, work.settings.diagnose)
                    trainer.run(work.settings.checkpoint_every)
            if not store.has_evaluations(step.key, names):
                with memory_told(f"the test of step {step.index}", plan.device):
                    _test(plan, step, store, loader, work.reporter)
    tests = {kind: store.load_evaluation(step.key, name) for kind, name in step.evaluations.items()}
    return step_record(plan, step, store.load_training(step.key), tests)


def _test(plan: Plan, step: StepPlan, store: Store, loader: Loader, reporter: Reporter) -> None:
    """Test a step and store the counts."""
    view = step.view.data.test
    reporter.note(f"testing step {step.index} on {len(view.ids)} images")
    channels, head = step.channels_per_step, step.method_class.Head
    network = make_network(step.recipe, channels, "none", head)
    network = frozen(network, store.load_weights(step.key), loader.device)
    started = time.monotonic()
    with autocast(loader.device, step.recipe):
        counts = count_images(network, loader.once(view), plan.metrics, sum(channels))
    seconds = (time.monotonic() - started) / len(counts)
    merged = merge(plan.metrics, counts)
    for kind, images in counts.items():
        facts = {"counts": merged[kind], "images": len(images), "seconds": seconds}
        store.save_evaluation(step.key, step.evaluations[kind], pack(images), facts)


@contextmanager
def _locked(key: str, work: _Work) -> Iterator[None]:
    """Hold a step's lock, in the main process; where another run computes the step, wait for its result. Whoever
    loses the lock, because it gave no sign of life for too long, stops."""

    def lose() -> None:
        work.reporter.note("this process was stopped for so long that its lock on the step was lost; it ends")
        work.interruption.request()

    lock = work.store.lock(key, lose) if distributed.is_main() else None
    told = False
    while lock is not None and not lock.acquire() and not work.interruption.requested:
        if not told:
            work.reporter.note("another process computes this step; waiting for it")
        told = True
        time.sleep(1)
    if lock is not None and lock.broken:
        work.reporter.note(f"{lock.broken} was broken, since its owner gave no sign of life")
    try:
        work.interruption.check()
        yield
    finally:
        if lock is not None:
            lock.release()

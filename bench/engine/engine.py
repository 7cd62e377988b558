"""Carries out experiments: computes the steps that the store lacks, evaluates them, writes the run's record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import Timeout

from issbench.bench.engine import distributed as processes
from issbench.bench.engine.evaluation import count_images
from issbench.bench.engine.interruption import Interruption, interruption
from issbench.bench.engine.loading import Loader
from issbench.bench.engine.plan import Data, Plan, StepPlan, make_plan, open_data
from issbench.bench.engine.progress import Reporter
from issbench.bench.engine.record import run_record, step_record
from issbench.bench.engine.store import Store
from issbench.bench.engine.training import StepTrainer, make_network, try_architecture
from issbench.bench.experiment import Experiment
from issbench.bench.metrics import merge, metrics_for
from issbench.errors import RunError
from issbench.files import read_json, write_arrays, write_json
from issbench.results.counts import pack

EVALUATION = 2
"""Format of a stored evaluation; 1, which did not say so, had no counts of single images."""

OnFailure = Callable[[Experiment, Exception], None]


@dataclass(frozen=True)
class _Work:
    """What all runs of one call have in common."""

    store: Store
    workers: int | None
    checkpoint_every: float
    reporter: Reporter
    asked: Interruption
    last_step: int | None
    failed: dict[str, str] = field(default_factory=dict)
    """Steps that failed before, by key, and why."""


def run(
    experiments: Experiment | Sequence[Experiment],
    *,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    checkpoint_every: float = 60.0,
    reporter: Reporter | None = None,
) -> list[dict[str, Any]]:
    """Carry out one or several experiments and return their records, one per run, as `run.json` holds them.

    `out` is the run store. What it already holds is not computed again; an interrupted step resumes from its
    checkpoint, written every `checkpoint_every` seconds. `workers` are processes that read images (default:
    as many as cores, up to 8; none for data in memory; the result does not depend on it).
    Every experiment is planned, and so checked, before the first one trains. Under `torchrun`, or as several tasks
    of Slurm, each process calls this, and together they train what one would.
    """
    experiments = [experiments] if isinstance(experiments, Experiment) else list(experiments)
    torch_device = processes.join(device)
    reporter = reporter or Reporter()
    plans = make_plans(experiments, torch_device, reporter)
    store = Store(out)
    try_networks(plans, store, load_weights=False)
    return carry_out(plans, store, workers, checkpoint_every, reporter)


def try_networks(plans: Sequence[Plan], store: Store, load_weights: bool) -> None:
    """Raise before anything trains for a network that cannot be made, or with which a method cannot work: each
    recipe's first one, with its first weights if asked, and the second step's of each method."""
    tried: set[object] = set()
    for plan in plans:
        first, settings = plan.steps[0], plan.steps[0].settings
        recipe = plan.experiment.recipe
        if recipe not in tried and not store.has_step(first.key):
            tried.add(recipe)
            make_network(first, first.channels_per_step, settings["weights"] if load_weights else "none")
        method = (plan.experiment.method, recipe, plan.experiment.setting)
        if method not in tried and not store.has_step(plan.steps[-1].key):
            tried.add(method)
            try_architecture(plan)


def carry_out(
    plans: Sequence[Plan],
    store: Store,
    workers: int | None,
    checkpoint_every: float,
    reporter: Reporter,
    on_failure: OnFailure | None = None,
    last_step: int | None = None,
) -> list[dict[str, Any]]:
    """Carry out plans for one device, up to `last_step`, and return the records of the runs that came there.

    A run that fails ends everything, unless there is `on_failure`: it is told, and the others go on. A step that
    failed is not tried again for the next run that needs it; that run fails, too. Among several processes a failure
    always ends everything, since one alone may have met it.

    Raises KeyboardInterrupt where it was asked to stop by SIGINT, SIGTERM or SIGUSR2, after a checkpoint.
    """
    records: list[dict[str, Any]] = []
    if processes.count() > 1:
        on_failure = None
    if not processes.is_main():
        reporter = Reporter()
    device = plans[0].device if plans else torch.device("cpu")
    with interruption() as asked, arithmetic(device), reporter.running(plans):
        work = _Work(store, workers, checkpoint_every, reporter, asked, last_step)
        for plan in plans:
            try:
                records.append(_run(plan, work))
            except Exception as error:
                if on_failure is None:
                    raise
                reporter.fail_run(error)
                on_failure(plan.experiment, error)
    return records


def make_plans(experiments: Sequence[Experiment], device: torch.device, reporter: Reporter) -> list[Plan]:
    """The plans of all experiments; what they read from the same directory is opened once."""
    opened: dict[tuple[str, str | None, bool], Data] = {}
    plans = []
    with processes.main_first():  # it leaves the tables of class presence in the cache
        for experiment in experiments:
            place = (experiment.dataset, experiment.data, experiment.setting == "domain")
            if place not in opened:
                opened[place] = open_data(experiment, reporter.scan)
            plans.append(make_plan(experiment, opened[place], device))
    return plans


def _run(plan: Plan, work: _Work) -> dict[str, Any]:
    """One run: its record is rewritten after every step, so that what is done can be seen."""
    folder, reporter = work.store.run_dir(plan.experiment.run_name), work.reporter
    if processes.is_main():
        folder.mkdir(parents=True, exist_ok=True)
        reporter.start_run(plan, folder)
    records: list[dict[str, Any]] = []
    for step in plan.steps:
        if work.last_step is not None and step.index > work.last_step:
            break
        if step.key in work.failed:
            raise RunError(f"it needs step {step.index}, which failed for another run: {work.failed[step.key]}")
        try:
            records.append(_step(plan, step, work))
        except Exception as error:
            work.failed[step.key] = str(error)
            raise
        processes.from_main(lambda: write_json(folder / "run.json", run_record(plan, records)))
        reporter.end_step(records[-1])
    reporter.end_run()
    return processes.from_main(lambda: read_json(folder / "run.json"))


def _step(plan: Plan, step: StepPlan, work: _Work) -> dict[str, Any]:
    """The record of a step, which is trained and tested where the store lacks that."""
    store = work.store
    loader = Loader(plan.dataset, step.settings, plan.device, work.workers, work.asked)
    path = store.step_dir(step.key) / f"{plan.evaluation_name(step)}.json"
    if not processes.from_main(lambda: _is_evaluated(path)):
        with _locked(step.key, work):
            if not processes.from_main(lambda: store.has_step(step.key)):
                StepTrainer(plan, step, store, loader, work.reporter).run(work.checkpoint_every)
            if not processes.from_main(lambda: _is_evaluated(path)):
                _evaluate(plan, step, store, loader, work.reporter, path)
    return processes.from_main(lambda: _record(plan, step, store))


def _record(plan: Plan, step: StepPlan, store: Store) -> dict[str, Any]:
    folder = store.step_dir(step.key)
    counts = read_json(folder / f"{plan.evaluation_name(step)}.json")
    return step_record(plan, step, read_json(folder / "training.json"), counts)


def _evaluate(plan: Plan, step: StepPlan, store: Store, loader: Loader, reporter: Reporter, path: Path) -> None:
    """Test a step and write the counts to `path`."""
    reporter.note(f"testing step {step.index} on {len(step.data.test.ids)} images")
    network = make_network(step, step.channels_per_step, "none")
    network.load_state_dict(processes.from_main(lambda: store.load_weights(step.key)))
    network.eval().to(loader.device, memory_format=torch.channels_last)
    started = time.monotonic()
    with torch.autocast(loader.device.type, torch.bfloat16, enabled=step.settings["precision"] == "bf16"):
        images = count_images(network, loader.once(step.data.test), metrics_for(()), sum(step.channels_per_step))
    seconds = time.monotonic() - started
    processes.from_main(lambda: _save_evaluation(path, images["confusion"], seconds))


def _is_evaluated(path: Path) -> bool:
    """Whether the counts are there; those of an older version, which kept none of single images, are made anew."""
    return path.is_file() and path.with_suffix(".npz").is_file() and read_json(path).get("format") == EVALUATION


def _save_evaluation(path: Path, images: np.ndarray, seconds: float) -> None:
    path.unlink(missing_ok=True)  # so that no crash leaves the counts of two evaluations side by side
    write_arrays(path.with_suffix(".npz"), pack(images))
    write_json(
        path,
        {
            "format": EVALUATION,
            **merge(metrics_for(()), {"confusion": images})["confusion"],
            "images": len(images),
            "seconds": seconds,
        },
    )


@contextmanager
def _locked(key: str, work: _Work) -> Iterator[None]:
    """Hold a step's lock, in the main process; where another run computes the step, wait for its result. Whoever
    loses the lock, because it gave no sign of life for too long, stops."""

    def lose() -> None:
        work.reporter.note("this process was stopped for so long that its lock on the step was lost; it ends")
        work.asked.ask()

    lock = work.store.lock(key, lose) if processes.is_main() else None
    told = False
    while lock is not None:
        try:
            lock.acquire(timeout=1 if told else 0, poll_interval=1)
            break
        except Timeout:
            if not told:
                work.reporter.note("another process computes this step; waiting for it")
            told = True
            if work.asked.asked:
                break
    try:
        work.asked.check()
        yield
    finally:
        if lock is not None:
            lock.release()


@contextmanager
def arithmetic(device: torch.device) -> Iterator[None]:
    """On the CPU only algorithms whose result does not depend on timing; GPUs lack some of them, and may choose
    the fastest ones, since all batches of a step have one size."""
    old = (
        torch.are_deterministic_algorithms_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )
    torch.use_deterministic_algorithms(old[0] or device.type == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads memory before it is written
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(old[0])
        torch.utils.deterministic.fill_uninitialized_memory = old[1]
        torch.backends.cudnn.benchmark = old[2]

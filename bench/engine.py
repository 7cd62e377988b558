"""Carries out experiments: computes the steps that the store lacks, evaluates them, writes the run's record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout

from bench.environment import choose_device
from bench.errors import RunError
from bench.evaluation import count, pack, totals
from bench.experiment import Experiment
from bench.files import read_json, write_arrays, write_json
from bench.loading import Loader
from bench.plan import Data, Plan, StepPlan, make_plan, open_data
from bench.progress import Reporter
from bench.record import run_record, step_record
from bench.store import Store
from bench.training import StepTrainer, make_network, try_architecture

EVALUATION = 2
"""Format of a stored evaluation; 1, which did not say so, had no counts of single images."""

OnFailure = Callable[[Experiment, Exception], None]


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
    Every experiment is planned, and so checked, before the first one trains.
    """
    experiments = [experiments] if isinstance(experiments, Experiment) else list(experiments)
    reporter = reporter or Reporter()
    torch_device = choose_device(device)
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
) -> list[dict[str, Any]]:
    """Carry out plans for one device and return the records of the runs that came to their end.

    A run that fails ends everything, unless there is `on_failure`: it is told, and the others go on. A step that
    failed is not tried again for the next run that needs it; that run fails, too.
    """
    records: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    with arithmetic(plans[0].device if plans else torch.device("cpu")), reporter.running(plans):
        for plan in plans:
            try:
                records.append(_run(plan, store, workers, checkpoint_every, reporter, failed))
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
    for experiment in experiments:
        place = (experiment.dataset, experiment.data, experiment.setting == "domain")
        if place not in opened:
            opened[place] = open_data(experiment, reporter.scan)
        plans.append(make_plan(experiment, opened[place], device))
    return plans


def _run(
    plan: Plan,
    store: Store,
    workers: int | None,
    checkpoint_every: float,
    reporter: Reporter,
    failed: dict[str, str],
) -> dict[str, Any]:
    """One run: its record is rewritten after every step, so that what is done can be seen. `failed` has the steps
    that failed before, by key, and why; it is added to."""
    experiment = plan.experiment
    folder = store.run_dir(experiment.run_name)
    folder.mkdir(parents=True, exist_ok=True)
    reporter.start_run(plan, folder)
    records: list[dict[str, Any]] = []
    for step in plan.steps:
        if step.key in failed:
            raise RunError(f"it needs step {step.index}, which failed for another run: {failed[step.key]}")
        try:
            records.append(_step(plan, step, store, workers, checkpoint_every, reporter))
        except Exception as error:
            failed[step.key] = str(error)
            raise
        write_json(folder / "run.json", run_record(plan, records))
        reporter.end_step(records[-1])
    reporter.end_run()
    return read_json(folder / "run.json")


def _step(
    plan: Plan, step: StepPlan, store: Store, workers: int | None, checkpoint_every: float, reporter: Reporter
) -> dict[str, Any]:
    """The record of a step, which is trained and tested where the store lacks that."""
    loader = Loader(plan.dataset, step.settings, plan.device, workers)
    with _locked(store, step.key, reporter):
        if not store.has_step(step.key):
            StepTrainer(plan, step, store, loader, reporter).run(checkpoint_every)
        counts = _evaluated(plan, step, store, loader, reporter)
    training = read_json(store.step_dir(step.key) / "training.json")
    return step_record(plan, step, training, counts)


def _evaluated(plan: Plan, step: StepPlan, store: Store, loader: Loader, reporter: Reporter) -> dict[str, Any]:
    """The counts of a step's evaluation, from the store or made now.

    One of an older version, which kept no counts of single images, is made anew.
    """
    path = store.step_dir(step.key) / f"{plan.evaluation_name(step)}.json"
    single = path.with_suffix(".npz")
    if not (path.is_file() and single.is_file() and read_json(path).get("format") == EVALUATION):
        reporter.note(f"testing step {step.index} on {len(step.data.test.ids)} images")
        network = make_network(step, step.channels_per_step, "none")
        network.load_state_dict(store.load_weights(step.key))
        network.eval().to(loader.device, memory_format=torch.channels_last)
        channels = sum(step.channels_per_step)
        started = time.monotonic()
        with torch.autocast(loader.device.type, torch.bfloat16, enabled=step.settings["precision"] == "bf16"):
            images = count(network, loader.once(step.data.test), channels)
        seconds = time.monotonic() - started
        path.unlink(missing_ok=True)  # so that no crash leaves the counts of two evaluations side by side
        write_arrays(single, pack(images))
        write_json(path, {"format": EVALUATION, **totals(images), "images": len(images), "seconds": seconds})
    return read_json(path)


@contextmanager
def _locked(store: Store, key: str, reporter: Reporter) -> Iterator[None]:
    """Hold a step's lock; where another process computes the step, wait for its result."""
    lock = store.lock(key)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        reporter.note("another process computes this step; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
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

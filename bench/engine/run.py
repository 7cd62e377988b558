"""One way to run: plan, look what is done, check what can be checked, carry out. From Python, `run` and `sweep`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from issbench.bench.engine import distributed
from issbench.bench.engine.engine import Settings, execute
from issbench.bench.engine.environment import arithmetic
from issbench.bench.engine.plan import Plan, make_plans
from issbench.bench.engine.planned import remember
from issbench.bench.engine.preflight import preflight
from issbench.bench.engine.progress import Reporter
from issbench.bench.engine.store import Store
from issbench.bench.experiment import Experiment
from issbench.bench.store_format import check_writable
from issbench.bench.sweep import Sweep
from issbench.errors import RunError
from issbench.results.record import Record


class RunsFailed(RunError):
    """Runs that failed while the others went on. `failures` has their names, and why."""

    def __init__(self, plans: Sequence[Plan], failures: Mapping[str, str]):
        labels = {plan.run_name: plan.experiment.label for plan in plans}
        reasons = "\n".join(f"  {labels.get(name, name)}: {reason}" for name, reason in failures.items())
        super().__init__(
            f"{len(failures)} of {len(plans)} runs failed; the same command tries them again, and only them\n"
            f"{reasons}"
        )
        self.failures = dict(failures)


@dataclass(frozen=True)
class Prepared:
    """Runs that were planned and checked."""

    store: Store
    plans: list[Plan]
    waiting: list[Plan]
    """Those that are not done."""
    missing: frozenset[str]
    """The keys of the steps that are not in the store."""
    bytes_needed: int
    """On the disk, for these steps."""


def prepare(
    experiments: Sequence[Experiment],
    out: str | Path,
    device: torch.device,
    reporter: Reporter,
    dry_run: bool = False,
) -> Prepared:
    """Plan all experiments, and find every mistake that can be found before training. With `dry_run` nothing is
    written, and no weights are read."""
    plans = make_plans(experiments, device, reporter.scan)
    for remark in dict.fromkeys(remark for plan in plans for remark in plan.remarks):
        reporter.note(f"note: {remark}")
    store = Store(out, dry_run, reporter.note)
    done = store.done_runs([(plan.run_name, plan.keys, plan.experiment.metrics) for plan in plans])
    waiting = [plan for plan in plans if plan.run_name not in done]
    store.check_records([plan.run_name for plan in waiting])
    if waiting and not dry_run:
        distributed.from_main(lambda: check_writable(store.root))
    missing = store.missing_steps(step.key for plan in plans for step in plan.steps)
    with arithmetic(device):  # it draws the weights of networks
        needed = preflight(waiting, store, missing, load_weights=not dry_run)
    if distributed.is_main() and not dry_run:
        for plan in plans:
            if plan.run_name in done:
                remember(store.root, plan.run_name, plan.keys, plan.sources)
    return Prepared(store, plans, waiting, frozenset(missing), needed)


def run(
    experiments: Experiment | Sequence[Experiment],
    *,
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    checkpoint_every: float = 60.0,
    threads: int | None = None,
    diagnose: bool = False,
    progress: bool = False,
    reporter: Reporter | None = None,
) -> list[Record]:
    """Carry out one or several experiments and return their records, one per run, as `run.json` holds them.

    `out` is the run store. What it already holds is not computed again; an interrupted step resumes from its
    checkpoint, written every `checkpoint_every` seconds. `workers` are processes that read images (default:
    as many as cores, up to 8; none for data in memory; the result does not depend on it). `threads` compute on the
    CPU (default: OMP_NUM_THREADS, or 1); their number can change the last bit of a result, and is recorded.
    `progress` shows what the command line shows while it trains; without it nothing is printed, and the same lines
    go to the logger `issbench` of `logging` (level INFO).
    `diagnose` looks at each step from the second on while it trains, which changes no bit of it.
    Every experiment is planned, and so checked, before the first one trains; one that fails does not stop the
    others, and RunsFailed is raised at the end. Calls from several threads wait for each other. Under `torchrun`,
    or as several tasks of Slurm, each process calls this, and together they train what one would.
    """
    experiments = [experiments] if isinstance(experiments, Experiment) else list(experiments)
    reporter = reporter or Reporter(Console() if progress else None)
    prepared = prepare(experiments, out, distributed.join(device), reporter)
    settings = Settings(workers, checkpoint_every, threads, diagnose=diagnose)
    failures = execute(prepared.waiting, prepared.store, settings, reporter)
    if failures:
        raise RunsFailed(prepared.plans, failures)
    return [prepared.store.load_record(plan.run_name) for plan in prepared.plans]


def sweep(
    methods: Sequence[str],
    scenarios: Sequence[str],
    *,
    settings: Sequence[str] = ("",),
    orders: Sequence[str] = ("natural",),
    seeds: Sequence[int] = (0,),
    out: str | Path = "runs",
    device: str = "auto",
    workers: int | None = None,
    threads: int | None = None,
    progress: bool = False,
    **common: Any,
) -> list[Record]:
    """`run` for every combination of methods (with options), scenarios, settings, class orders and seeds.
    `common` is what their experiments share: `data`, `recipe`, `protocol`, `classes`, `metrics`."""
    crossed = Sweep(
        methods=tuple(methods), scenarios=tuple(scenarios), settings=tuple(settings), orders=tuple(orders),
        seeds=tuple(seeds),
    )  # fmt: skip
    return run(
        crossed.experiments(**common), out=out, device=device, workers=workers, threads=threads, progress=progress
    )

"""Carrying out many experiments for `bench run` and `bench sweep`: here, on a cluster, or in several processes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from issbench.bench.commands.support.launch_options import LaunchOptions
from issbench.errors import RunError

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.progress import Reporter
    from issbench.bench.engine.store import Store
    from issbench.bench.experiment import Experiment
    from issbench.bench.sweep import Count
    from issbench.slurm.launcher import Request
    from issbench.slurm.profile import Profile


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the command line asks for, apart from the experiments."""

    kind: str
    """The command, after which a submission is named."""
    out: Path
    device: str
    workers: int | None
    checkpoint_every: float
    tensorboard: bool
    launch: LaunchOptions
    dry_run: bool = False
    table: str | None = None
    """The table of the paper to print at the end."""


def carry_out(experiments: Sequence[Experiment], order: Order) -> None:
    """Plan everything, show what it costs, train what is not done, and print the tables; or submit it."""
    from issbench.slurm.launcher import load_launcher

    launcher = load_launcher(order.launch.name) if order.launch.name else None
    profile = order.launch.profile()
    if launcher is not None:
        launcher.check(order.device)
        experiments = [_anywhere(experiment) for experiment in experiments]
    # import late: usage errors must not wait for torch
    from rich.console import Console

    from issbench.bench.engine import distributed as processes
    from issbench.bench.engine.engine import make_plans, try_networks
    from issbench.bench.engine.progress import Reporter
    from issbench.bench.engine.store import Store
    from issbench.bench.sweep import count, is_done

    reporter, store = Reporter(Console(), order.tensorboard), Store(order.out, look=order.dry_run)
    device = launcher.device(order.device, profile) if launcher else processes.join(order.device)
    plans = make_plans(experiments, device, reporter)
    typer.echo(_costs(count(plans, store)))
    done = processes.from_main(lambda: [is_done(plan, store) for plan in plans])
    waiting = [plan for plan, finished in zip(plans, done, strict=True) if not finished]
    try_networks(waiting, store, load_weights=not order.dry_run)
    request = _request(order, profile)
    if order.dry_run:
        for line in launcher.describe(waiting, store, request) if launcher else ():
            typer.echo(line)
        return
    if launcher is None:
        _end(experiments, _train(waiting, store, order, reporter), order)
        return
    submitted = launcher.submit(waiting, store, request, typer.echo)
    if submitted.failures is not None:
        _end(experiments, submitted.failures, order)


def _anywhere(experiment: Experiment) -> Experiment:
    """The same experiment, whose data are found from any directory."""
    return replace(experiment, data=str(Path(experiment.data).absolute())) if experiment.data else experiment


def _request(order: Order, profile: Profile) -> Request:
    from issbench.slurm.launcher import Request
    from issbench.slurm.profile import Settings

    settings = Settings(
        str(order.out.absolute()), order.device, order.workers, order.checkpoint_every, order.tensorboard
    )
    return Request(profile, settings, order.kind, ("bench", *sys.argv[1:]), str(Path.cwd()))


def _costs(count: Count) -> str:
    """How much there is to do, in two lines."""
    return (
        f"{'runs':<10} {count.runs:>4}  {count.done} done, {count.runs - count.done} to do\n"
        f"{'steps':<10} {count.steps:>4}  {count.shared} shared with other runs, so {count.different} different; "
        f"{count.stored} in the store, {count.to_train} to train on {count.images:,} images"
    )


def _train(plans: Sequence[Plan], store: Store, order: Order, reporter: Reporter) -> dict[str, str]:
    """Carry out runs in this process; the names of those that failed, and why."""
    from issbench.bench.engine.engine import carry_out as carry_out_here
    from issbench.errors import Interrupted, reason_of

    failures: dict[str, str] = {}

    def remember(experiment: Experiment, error: Exception) -> None:
        failures[experiment.run_name] = reason_of(error)

    try:
        carry_out_here(plans, store, order.workers, order.checkpoint_every, reporter, remember)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command resumes where it stopped") from None
    return failures


def _end(experiments: Sequence[Experiment], failures: Mapping[str, str], order: Order) -> None:
    """Print the tables. RunError if a run failed."""
    from issbench.bench.engine import distributed as processes

    if processes.is_main():
        _print_tables([each for each in experiments if each.run_name not in failures], order)
    raise_failures(failures, {each.run_name: each.label for each in experiments})


def raise_failures(failures: Mapping[str, str], labels: Mapping[str, str]) -> None:
    """RunError if runs failed, with the reason of each; `labels` has all that were asked for, by their names."""
    if failures:
        reasons = "\n".join(f"  {labels[name]}: {reason}" for name, reason in failures.items())
        raise RunError(
            f"{len(failures)} of {len(labels)} runs failed; the same command tries them again, and only them"
            f"\n{reasons}"
        )


def _print_tables(experiments: list[Experiment], order: Order) -> None:
    """The tables of finished runs: those that were asked for by name, or the main ones."""
    from issbench.bench.commands.support.paper import table_name, table_numbers
    from issbench.bench.commands.support.printing import print_table
    from issbench.results.runs import load_run
    from issbench.results.tables import measured_tables

    runs = [load_run(order.out, experiment.run_name) for experiment in experiments]
    table = order.table
    names = dict.fromkeys(table_name(number) for number in table_numbers(table)) if table else {"main": None}
    for name in names if runs else ():
        for each in measured_tables(name, runs):
            print_table(each)

"""Carrying out many experiments for `bench run` and `bench sweep`: here, on a cluster, or in several processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from issbench.bench.commands.support.where import Place

if TYPE_CHECKING:
    import torch

    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.progress import Reporter
    from issbench.bench.engine.store import Store
    from issbench.bench.experiment import Experiment
    from issbench.bench.sweep import Count
    from issbench.slurm.layout import Array
    from issbench.slurm.profile import Profile
    from issbench.slurm.submit import Request


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
    place: Place
    dry_run: bool = False
    table: str | None = None
    """The table of the paper to print at the end."""


def carry_out(experiments: Sequence[Experiment], order: Order) -> None:
    """Plan everything, tell what it costs, train what is not done, and print the tables; or submit it."""
    from issbench.errors import UsageError

    profile = order.place.profile()
    if order.place.local and order.device not in ("auto", "cpu", "cuda"):
        raise UsageError(
            f"--device {order.device}: --local gives each job a GPU; choose which with CUDA_VISIBLE_DEVICES=0,1"
        )
    if order.place.elsewhere:
        experiments = [_anywhere(each) for each in experiments]
    if order.place.on_slurm:
        from issbench.slurm.queue import check_slurm

        check_slurm()
    # Only now, so that a wrong command is told without waiting for torch.
    from rich.console import Console

    from issbench.bench.engine import distributed as processes
    from issbench.bench.engine.engine import make_plans, try_networks
    from issbench.bench.engine.progress import Reporter
    from issbench.bench.engine.store import Store
    from issbench.bench.sweep import count, is_done

    reporter, store = Reporter(Console(), order.tensorboard), Store(order.out, look=order.dry_run)
    on_slurm = order.place.on_slurm
    device = device_of_cluster(order.device, profile) if on_slurm else processes.join(order.device)
    plans = make_plans(experiments, device, reporter)
    typer.echo(_costs(count(plans, store)))
    done = processes.from_main(lambda: [is_done(plan, store) for plan in plans])
    waiting = [plan for plan, finished in zip(plans, done, strict=True) if not finished]
    try_networks(waiting, store, load_weights=not order.dry_run)
    if on_slurm:
        to_slurm(waiting, store, _request(order, profile), order.dry_run)
    elif not order.dry_run:
        local = order.place.local
        failures = _locally(waiting, store, order, profile) if local else _train(waiting, store, order, reporter)
        _end(experiments, failures, order)


def _anywhere(experiment: Experiment) -> Experiment:
    """The same experiment, whose data are found from any directory."""
    return replace(experiment, data=str(Path(experiment.data).absolute())) if experiment.data else experiment


def device_of_cluster(device: str, profile: Profile) -> torch.device:
    """The device to plan for: a node's is not here, so its kind must do."""
    import torch

    return torch.device(("cuda" if profile.gpus else "cpu") if device == "auto" else device)


def _request(order: Order, profile: Profile) -> Request:
    from issbench.slurm.profile import Settings
    from issbench.slurm.submit import Request

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


def to_slurm(plans: Sequence[Plan], store: Store, request: Request, dry_run: bool = False) -> None:
    """Submit runs and say how to watch them; with --dry-run only tell which arrays that makes."""
    from issbench.slurm.submit import arrays_for, find_todo, submit

    if dry_run:
        todo = find_todo(plans, store)
        for number, array in enumerate(arrays_for(todo, request.profile)):
            typer.echo(f"array {number:<4} {_described(array)}")
        _tell_queued(todo.queued)
        return
    submission, todo = submit(plans, store, request)
    _tell_queued(todo.queued)
    if submission is None:
        typer.echo("nothing to submit")
        return
    firsts = {run.first_job for run, need in zip(submission.runs, todo.needs, strict=True) if not need.queued}
    jobs = ({run.job for run in submission.runs} | firsts) - {None}
    typer.echo(
        f"submitted {len(submission.runs)} runs as {submission.name}: {len(jobs)} jobs in "
        f"{len({job.partition('_')[0] for job in jobs})} arrays; watch them with `bench status`"
        + f" --out {store.root}"
        * (str(store.root) != "runs")
    )


def _tell_queued(queued: int) -> None:
    if queued:
        typer.echo(f"{queued} runs are queued already")


def _described(array: Array) -> str:
    what = "first steps" if array.firsts else "runs"
    waits = [
        f"{each.how} {'job' if isinstance(each.on, str) else 'array'} {each.on}"
        + (f" [{each.index}]" if each.index is not None else "")
        for each in array.after
    ]
    limit = f", {array.at_once} at once" if array.at_once else ""
    return f"{len(array.runs):>4} {what}{limit}" + (f", {', '.join(waits)}" if waits else "")


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


def _locally(plans: Sequence[Plan], store: Store, order: Order, profile: Profile) -> dict[str, str]:
    """Carry out runs in processes of this machine; the names of those that failed, and why."""
    from issbench.slurm.local import gpus_here, run_locally

    if not plans:
        return {}
    gpus = [] if order.device == "cpu" else gpus_here()
    jobs = order.place.jobs or len(gpus) or 1
    places = [gpus[job % len(gpus)] if gpus else None for job in range(jobs)]
    return run_locally(plans, store, _request(order, profile), places, typer.echo)


def _end(experiments: Sequence[Experiment], failures: dict[str, str], order: Order) -> None:
    """Print the tables. RunError if a run failed."""
    from issbench.bench.engine import distributed as processes
    from issbench.errors import RunError

    if processes.is_main():
        _print_tables([each for each in experiments if each.run_name not in failures], order)
    if failures:
        labels = {each.run_name: each.label for each in experiments}
        told = "\n".join(f"  {labels[name]}: {reason}" for name, reason in failures.items())
        raise RunError(
            f"{len(failures)} of {len(experiments)} runs failed; the same command tries them again, and only them"
            f"\n{told}"
        )


def _print_tables(experiments: list[Experiment], order: Order) -> None:
    """The tables of finished runs: those that were asked for by name, or the main ones."""
    from issbench.bench.commands.support.paper import table_name, table_numbers
    from issbench.bench.commands.support.printing import print_table
    from issbench.results.make_tables import measured_tables
    from issbench.results.runs import load_run

    runs = [load_run(order.out, experiment.run_name) for experiment in experiments]
    table = order.table
    names = dict.fromkeys(table_name(number) for number in table_numbers(table)) if table else {"main": None}
    for name in names if runs else ():
        for each in measured_tables(name, runs):
            print_table(each)

"""`bench sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli import options

if TYPE_CHECKING:
    from bench.cli.paper import PaperTable
    from bench.experiment import Experiment
    from bench.plan import Plan
    from bench.progress import Reporter
    from bench.store import Store
    from bench.sweep import Axis, Count, Sweep


def sweep(
    table: Annotated[
        str | None,
        typer.Option(help="What the paper ran for its table: I … VIII, or main, domain, ablation, class-order …"),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help=f"Methods with options, {options.MANY}: gsc:sg=off,lambda1=0.5,plop.")
    ] = None,
    scenarios: Annotated[
        str | None, typer.Option("--scenarios", "--scenario", help=f"Scenarios, {options.MANY}: voc_15-1,voc_10-1.")
    ] = None,
    settings: Annotated[
        str | None,
        typer.Option(
            "--settings", "--setting", help="overlapped, disjoint, domain.  [default: the dataset's usual one]"
        ),
    ] = None,
    orders: Annotated[
        str | None,
        typer.Option(
            "--orders", "--order", help=f"Class orders, {options.MANY}: A,B,random:3.  [default: natural]"
        ),
    ] = None,
    seeds: options.Seeds = "0",
    grids: Annotated[
        list[str] | None,
        typer.Option("--grid", help="Values of a method's option, as gsc:lambda1=1,0.3; all --grid are combined."),
    ] = None,
    ablations: Annotated[
        list[str] | None,
        typer.Option("--ablation", help="The 12 combinations of the paper's Table V: gsc, or METHOD+gsc."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "--plan", help="Only tell how much there is to do.")
    ] = False,
    classes: options.Classes = None,
    protocol: options.Protocol = None,
    data: options.Data = None,
    backbone: options.Backbone = None,
    weights: options.Weights = None,
    recipe: options.Recipe = None,
    recipe_settings: options.Settings = None,
    out: options.Out = Path("runs"),
    device: options.Device = "auto",
    workers: options.Workers = None,
    checkpoint_every: options.CheckpointEvery = 60.0,
    tensorboard: options.TensorBoard = False,
) -> None:
    """Train and test every combination of methods, scenarios, settings, orders, seeds and options.

    First it tells how many runs that is, how many are done and how many steps they share. The same command again
    continues; a run that fails is told at the end and does not stop the others. With --table, what else is given
    takes the place of the table's own methods, scenarios, settings or orders.
    """
    from bench.sweep import union

    options.check_directory(data)
    given = {
        "methods": _methods(methods),
        "scenarios": options.names(scenarios),
        "settings": options.names(settings),
        "orders": options.names(orders),
    }
    common = {
        "classes": options.names(classes),
        "protocol": protocol,
        "data": data,
        "recipe": options.overrides(recipe, recipe_settings, backbone, weights),
    }
    sweeps = _sweeps(table, given, options.seed_numbers(seeds), _axes(grids, ablations), bool(classes))
    experiments = union(sweeps, **common)
    typer.echo("\n\n".join(_described(each) for each in sweeps))
    _carry_out(experiments, out, device, workers, checkpoint_every, tensorboard, dry_run, table)


def _methods(text: str | None) -> tuple[str, ...]:
    from bench.experiment import split_methods

    return tuple(split_methods(text or ""))


def _axes(grids: list[str] | None, ablations: list[str] | None) -> tuple[Axis, ...]:
    """The options to try. UsageError for an ablation of a method without the switches."""
    from bench.cli.paper import PARTS, ablation
    from bench.errors import UsageError
    from bench.sweep import Axis, grid
    from methods.registry import method_info

    axes = [grid(text) for text in grids or ()]
    for name in ablations or ():
        info = method_info(name)
        if not {*PARTS} <= {option for option, _ in info.options}:
            raise UsageError(
                f"--ablation {name}: it lacks one of the switches {', '.join(PARTS)}; gsc has them, and METHOD+gsc"
            )
        axes.append(Axis(info.name, ablation(), f"--ablation {name}"))
    return tuple(axes)


def _sweeps(
    table: str | None,
    given: dict[str, tuple[str, ...]],
    seeds: tuple[int, ...],
    axes: tuple[Axis, ...],
    some_classes: bool,
) -> list[Sweep]:
    """The sweep that is asked for: one for each table of the paper, or one of the user's own."""
    from bench.cli.paper import paper_table, table_numbers
    from bench.errors import UsageError
    from bench.sweep import Sweep

    kept = {name: values for name, values in given.items() if values}
    if table is not None:
        tables = [paper_table(number) for number in table_numbers(table)]
        return [Sweep(**_of_table(each, kept, some_classes) | kept, seeds=seeds, axes=axes) for each in tables]
    if "methods" not in kept:
        kept["methods"] = tuple(dict.fromkeys(axis.method for axis in axes))
    for name, example in {"methods": "gsc,plop", "scenarios": "voc_15-1"}.items():
        if not kept.get(name):
            raise UsageError(f"--{name} is missing; give --{name} {example}, or --table for one of the paper's")
    return [Sweep(**kept, seeds=seeds, axes=axes)]


def _of_table(table: PaperTable, given: dict[str, tuple[str, ...]], some_classes: bool) -> dict[str, Any]:
    """The dimensions of a table of the paper. Its class orders are permutations of a dataset's classes: for other
    scenarios, or some of the classes, as many random ones take their place."""
    from bench.errors import UsageError
    from scenarios.orders import NAMED_ORDERS, NATURAL
    from scenarios.scenario import parse_name

    if table.variants and "methods" in given:
        raise UsageError(
            f"--table {table.number} has variants of one method in its rows, which --methods cannot replace; leave "
            "--methods out, or replace --table by --ablation METHOD or --grid METHOD:OPTION=…"
        )
    scenarios = given.get("scenarios", table.scenarios)
    named = [NAMED_ORDERS.get(parse_name(name)[0], {}) for name in scenarios]
    orders = table.orders
    if orders != (NATURAL,) and (some_classes or not all({*orders} <= {*known} for known in named)):
        orders = tuple(f"random:{number}" for number in range(len(orders)))
        typer.echo(f"the orders {', '.join(table.orders)} are of other classes; random ones take their place")
    return {
        "methods": table.methods, "scenarios": table.scenarios, "settings": table.settings, "orders": orders
    }  # fmt: skip


def _described(sweep: Sweep) -> str:
    """The dimensions of a sweep, one on a line."""
    dimensions = {
        "methods": sweep.specs(),
        "scenarios": sweep.scenarios,
        "settings": tuple(setting or "the dataset's usual one" for setting in sweep.settings),
        "orders": sweep.orders,
        "seeds": tuple(map(str, sweep.seeds)),
    }
    return "\n".join(f"{name:<10} {len(values):>4}  {'  '.join(values)}" for name, values in dimensions.items())


def _costs(count: Count) -> str:
    """How much there is to do, in two lines."""
    return (
        f"{'runs':<10} {count.runs:>4}  {count.done} done, {count.runs - count.done} to do\n"
        f"{'steps':<10} {count.steps:>4}  {count.shared} shared with other runs, so {count.different} different; "
        f"{count.stored} in the store, {count.to_train} to train"
    )


def _carry_out(
    experiments: list[Experiment],
    out: Path,
    device: str,
    workers: int | None,
    checkpoint_every: float,
    tensorboard: bool,
    dry_run: bool,
    table: str | None,
) -> None:
    """Plan everything, tell what it costs, train what is not done, and print the tables."""
    # Only now, so that a wrong command is told without waiting for torch.
    from rich.console import Console

    from bench import processes
    from bench.engine import make_plans, try_networks
    from bench.errors import RunError
    from bench.progress import Reporter
    from bench.store import Store
    from bench.sweep import count, is_done

    reporter, store = Reporter(Console(), tensorboard), Store(out, look=dry_run)
    plans = make_plans(experiments, processes.join(device), reporter)
    typer.echo(_costs(count(plans, store)))
    done = processes.from_main(lambda: [is_done(plan, store) for plan in plans])
    waiting = [plan for plan, finished in zip(plans, done, strict=True) if not finished]
    try_networks(waiting, store, load_weights=not dry_run)
    if dry_run:
        return
    failures = _train(waiting, store, workers, checkpoint_every, reporter)
    if processes.is_main():
        _print_tables([each for each in experiments if each not in failures], out, table)
    if failures:
        told = "\n".join(f"  {_label(each)}: {reason}" for each, reason in failures.items())
        raise RunError(
            f"{len(failures)} of {len(plans)} runs failed; the same command tries them again, and only them\n{told}"
        )


def _train(
    plans: list[Plan], store: Store, workers: int | None, checkpoint_every: float, reporter: Reporter
) -> dict[Experiment, str]:
    """Carry out runs; returns those that failed, and why."""
    from bench.engine import carry_out
    from bench.errors import Interrupted

    failures: dict[Experiment, str] = {}

    def remember(experiment: Experiment, error: Exception) -> None:
        known = hasattr(error, "exit_code")
        failures[experiment] = str(error) if known else f"{type(error).__name__}: {error}"

    try:
        carry_out(plans, store, workers, checkpoint_every, reporter, remember)
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command resumes where it stopped") from None
    return failures


def _print_tables(experiments: list[Experiment], out: Path, table: str | None) -> None:
    """The tables of finished runs: those that were asked for by name, or the main ones."""
    from bench.cli.output import print_table
    from bench.cli.paper import table_name, table_numbers
    from results.records import load_run
    from results.tables import measured_tables

    runs = [load_run(out, experiment.run_name) for experiment in experiments]
    names = dict.fromkeys(table_name(number) for number in table_numbers(table)) if table else {"main": None}
    for name in names if runs else ():
        for each in measured_tables(name, runs):
            print_table(each)


def _label(experiment: Experiment) -> str:
    parts = (experiment.method, experiment.scenario, experiment.setting, experiment.order)
    return f"{' '.join(parts)} seed {experiment.seed}"

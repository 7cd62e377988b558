"""`bench sweep`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from issbench.bench.commands.support import options
from issbench.bench.commands.support.launch_options import LaunchOptions
from issbench.bench.commands.support.launching import Asked, asked_for, carry_out
from issbench.bench.commands.support.option_groups import with_option_groups

if TYPE_CHECKING:
    from issbench.bench.commands.support.paper import PaperTable
    from issbench.bench.sweep import Axis, Sweep


@with_option_groups
def sweep(
    *,
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
            "--settings",
            "--setting",
            help=f"{options.SETTING}; {options.MANY}.",
            show_default="the scenario's usual one",
        ),
    ] = None,
    orders: Annotated[
        str | None,
        typer.Option(
            "--orders", "--order", help=f"Class orders, {options.MANY}: A,B,random:3.", show_default="natural"
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
    dry_run: options.DryRun = False,
    save_as: options.SaveAs = None,
    classes: options.Classes = None,
    common: options.CommonOptions,
    launch: LaunchOptions,
) -> None:
    """Train and test every combination of methods, scenarios, settings, orders, seeds and options.

    First it tells how many runs that is, how many are done and how many steps they share. The same command again
    continues; a run that fails does not stop the others, and is named at the end. With --table, what else is given
    takes the place of the table's own methods, scenarios, settings or orders.
    """
    given = {
        "methods": _methods(methods),
        "scenarios": options.names(scenarios),
        "settings": options.names(settings),
        "orders": options.names(orders),
    }
    sweeps = _sweeps(table, given, options.seed_numbers(seeds), _axes(grids, ablations), bool(classes))
    experiments = asked_for(sweeps, options.names(classes), common, save_as)
    typer.echo("\n\n".join(_described(each) for each in sweeps))
    carry_out(experiments, Asked(kind="sweep", common=common, launch=launch, dry_run=dry_run, table=table))


def _methods(text: str | None) -> tuple[str, ...]:
    from issbench.bench.experiment import split_methods

    return tuple(split_methods(text or ""))


def _axes(grids: list[str] | None, ablations: list[str] | None) -> tuple[Axis, ...]:
    """The options to try. UsageError for an ablation of a method without the switches."""
    from issbench.bench.commands.support.paper import PARTS, ablation
    from issbench.bench.sweep import Axis, grid
    from issbench.errors import UsageError
    from issbench.methods.interface.registry import method_info

    axes = [grid(text) for text in grids or ()]
    for name in ablations or ():
        info = method_info(name)
        if not {*PARTS} <= {option.name for option in info.options}:
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
    from issbench.bench.commands.support.paper import paper_table, table_numbers
    from issbench.bench.sweep import Sweep
    from issbench.errors import UsageError

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
    from issbench.errors import UsageError
    from issbench.scenarios.datasets import dataset_class
    from issbench.scenarios.orders import NATURAL
    from issbench.scenarios.scenario import parse_name

    if table.variants and "methods" in given:
        raise UsageError(
            f"--table {table.number} has variants of one method in its rows, which --methods cannot replace; leave "
            "--methods out, or replace --table by --ablation METHOD or --grid METHOD:OPTION=…"
        )
    scenarios = given.get("scenarios", table.scenarios)
    named = [dataset_class(parse_name(name)[0]).orders for name in scenarios]
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
        "settings": tuple(setting or "the scenario's usual one" for setting in sweep.settings),
        "orders": sweep.orders,
        "seeds": tuple(map(str, sweep.seeds)),
    }
    return "\n".join(f"{name:<10} {len(values):>4}  {'  '.join(values)}" for name, values in dimensions.items())

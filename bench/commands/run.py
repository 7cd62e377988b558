"""`bench run`."""

from __future__ import annotations

from typing import Annotated

import typer

from issbench.bench.commands.support import options
from issbench.bench.commands.support.launch_options import LaunchOptions
from issbench.bench.commands.support.launching import Asked, carry_out
from issbench.bench.commands.support.option_groups import with_option_groups
from issbench.bench.experiment import split_methods
from issbench.bench.sweep import Sweep
from issbench.errors import UsageError


@with_option_groups
def run(
    *,
    methods: Annotated[
        str, typer.Option(help=f"Methods with options, {options.MANY}: gsc:sg=off,lambda1=0.5,plop.")
    ],
    scenario: Annotated[str, typer.Option(help="DATASET_BASE-INC, such as voc_15-1 (see `bench list scenarios`).")],
    setting: Annotated[
        str | None, typer.Option(help="overlapped, disjoint or domain.  [default: the dataset's usual one]")
    ] = None,
    order: Annotated[
        str,
        typer.Option(help="Class order: natural, A … E (VOC), random:SEED, a permutation, or a file with one."),
    ] = "natural",
    classes: options.Classes = None,
    seeds: options.Seeds = "0",
    common: options.CommonOptions,
    dry_run: options.DryRun = False,
    launch: LaunchOptions,
) -> None:
    """Train and test methods on a scenario, then print the table.

    The first step is trained once for all methods. Finished steps are read from the run store, interrupted
    ones resume. A run that fails does not stop the others, and is named at the end.
    """
    specs = split_methods(methods)
    if not specs:
        raise UsageError("--methods names no method; see `bench list methods`")
    sweep = Sweep(
        methods=tuple(specs),
        scenarios=(scenario,),
        settings=(setting or "",),
        orders=(order,),
        seeds=options.seed_numbers(seeds),
    )
    experiments = sweep.experiments(classes=options.names(classes), **common.of_experiments())
    carry_out(experiments, Asked(kind="run", common=common, launch=launch, dry_run=dry_run))

"""`bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support import options
from issbench.bench.commands.support.launch_options import LaunchOptions, with_launch_options
from issbench.bench.commands.support.launching import Asked, carry_out
from issbench.bench.experiment import split_methods
from issbench.bench.sweep import Sweep
from issbench.errors import UsageError


@with_launch_options
def run(
    launch: LaunchOptions,
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
    protocol: options.Protocol = None,
    data: options.Data = None,
    backbone: options.Backbone = None,
    weights: options.Weights = None,
    recipe: options.Recipe = None,
    settings: options.Settings = None,
    out: options.Out = Path("runs"),
    device: options.Device = "auto",
    workers: options.Workers = None,
    checkpoint_every: options.CheckpointEvery = 60.0,
    metrics: options.Metrics = None,
    tensorboard: options.TensorBoard = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train and test methods on a scenario, then print the table.

    The first step is trained once for all methods. Finished steps are read from the run store, interrupted
    ones resume. A run that fails is told at the end and does not stop the others.
    """
    specs = split_methods(methods)
    if not specs:
        raise UsageError("--methods names no method; see `bench list methods`")
    options.check_directory(data)
    sweep = Sweep(
        methods=tuple(specs),
        scenarios=(scenario,),
        settings=(setting or "",),
        orders=(order,),
        seeds=options.seed_numbers(seeds),
    )
    experiments = sweep.experiments(
        classes=options.names(classes),
        protocol=protocol,
        data=data,
        recipe=options.overrides(recipe, settings, backbone, weights),
        metrics=options.names(metrics),
    )
    asked = Asked(
        kind="run", out=out, device=device, workers=workers, checkpoint_every=checkpoint_every,
        tensorboard=tensorboard, launch=launch, dry_run=dry_run,
    )  # fmt: skip
    carry_out(experiments, asked)

"""`bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from issbench.bench.commands.support import options
from issbench.bench.commands.support.launch_options import LaunchOptions, with_launch_options
from issbench.bench.commands.support.launching import Order, carry_out
from issbench.bench.commands.support.printing import print_tables

if TYPE_CHECKING:
    from issbench.bench.experiment import Experiment


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
    tensorboard: options.TensorBoard = False,
) -> None:
    """Train and test methods on a scenario, then print the table.

    The first step is trained once for all methods. Finished steps are read from the run store, interrupted
    ones resume.
    """
    experiments = _experiments(
        methods,
        seeds,
        classes,
        scenario=scenario,
        setting=setting or "",
        order=order,
        protocol=protocol,
        data=data,
        recipe=options.overrides(recipe, settings, backbone, weights),
    )
    if launch.name:
        order = Order(
            kind="run", out=out, device=device, workers=workers, checkpoint_every=checkpoint_every,
            tensorboard=tensorboard, launch=launch,
        )  # fmt: skip
        carry_out(experiments, order)
        return
    launch.profile()  # refuses options of a launcher
    # Only now, so that a wrong command is told without waiting for torch.
    from rich.console import Console

    from issbench.bench.engine import distributed as processes
    from issbench.bench.engine.engine import run as run_experiments
    from issbench.bench.engine.progress import Reporter
    from issbench.errors import Interrupted
    from issbench.results.runs import load_run

    try:
        run_experiments(
            experiments,
            out=out,
            device=device,
            workers=workers,
            checkpoint_every=checkpoint_every,
            reporter=Reporter(Console(), tensorboard),
        )
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command resumes where it stopped") from None
    if processes.is_main():
        print_tables([load_run(out, experiment.run_name) for experiment in experiments], "terminal")


def _experiments(methods: str, seeds: str, classes: str | None, **common: Any) -> list[Experiment]:
    """An experiment for each seed and method; `common` is what they share."""
    from issbench.bench.experiment import Experiment, split_methods
    from issbench.errors import UsageError

    options.check_directory(common["data"])
    numbers = options.seed_numbers(seeds)
    specs = split_methods(methods)
    if not specs:
        raise UsageError("--methods names no method; see `bench list methods`")
    chosen = tuple(part.strip() for part in classes.split(",")) if classes else ()
    asked = [Experiment(spec, classes=chosen, seed=n, **common) for n in numbers for spec in specs]
    return list(dict.fromkeys(asked))  # a method named twice is one run

"""`bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from issbench.bench.commands.support import options
from issbench.bench.commands.support.launch_options import LaunchOptions
from issbench.bench.commands.support.launching import Asked, asked_for, carry_out
from issbench.bench.commands.support.option_groups import with_option_groups
from issbench.bench.commands.support.repeating import run_files
from issbench.bench.experiment import split_methods
from issbench.bench.sweep import Sweep
from issbench.errors import UsageError


@with_option_groups
def run(
    context: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Experiments (TOML) or records of runs (run.json), in place of --methods, --scenario and the like."
        ),
    ] = None,
    *,
    methods: Annotated[
        str | None, typer.Option(help=f"Methods with options, {options.MANY}: gsc:sg=off,lambda1=0.5,plop.")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option(help="DATASET_BASE-INC, such as voc_15-1 (see `bench list scenarios`).")
    ] = None,
    setting: Annotated[
        str | None, typer.Option(help=f"{options.SETTING}.", show_default="the scenario's usual one")
    ] = None,
    order: Annotated[
        str,
        typer.Option(help="Class order: natural, A … E (VOC), random:SEED, a permutation, or a file with one."),
    ] = "natural",
    classes: options.Classes = None,
    seeds: options.Seeds = "0",
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Repeat the runs of FILES in a store of their own, and compare the bits."),
    ] = False,
    common: options.CommonOptions,
    dry_run: options.DryRun = False,
    save_as: options.SaveAs = None,
    launch: LaunchOptions,
) -> None:
    """Train and test methods on a scenario, then print the table.

    The first step is trained once for all methods. Finished steps are read from the run store, interrupted
    ones resume. A run that fails does not stop the others, and is named at the end. FILES say in place of
    options what is run: experiments, as --save-as writes them, or records of runs, which are repeated.
    """
    asked = Asked(kind="run", common=common, launch=launch, dry_run=dry_run)
    if files:
        run_files(context, files, asked, verify)
        return
    if verify or methods is None or scenario is None:
        wanted = (
            "--verify repeats records: bench run RUN.json"
            if verify
            else "give --methods and --scenario, or a file: bench run FILE.toml, bench run RUN.json"
        )
        raise UsageError(wanted)
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
    carry_out(asked_for([sweep], options.names(classes), common, save_as), asked)

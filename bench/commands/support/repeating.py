"""Runs that files ask for: records of runs to repeat, `bench run RUN.json`, and experiments, `bench run FILE.toml`.
And telling in what two runs differ."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from issbench.bench.commands.support.launching import Asked, carry_out
from issbench.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan
    from issbench.bench.experiment import Experiment
    from issbench.results.differences import Differences, Line
    from issbench.results.runs import Run

_OF_THE_FILE = (
    "methods", "scenario", "setting", "order", "classes", "seeds", "protocol", "backbone", "weights", "recipe",
    "recipe_settings", "metrics", "allow_leak", "images", "save_as",
)  # fmt: skip
"""Options of `bench run` that say what a file says."""


def run_files(context: typer.Context, files: Sequence[Path], asked: Asked, verify: bool) -> None:
    """Carry out what files say: experiments, or records of runs. Records with `verify` anew, to compare them."""
    from issbench.bench.experiment_file import read_experiments

    of_experiments = {path.suffix.lower() == ".toml" for path in files}
    if len(of_experiments) > 1:
        raise UsageError("experiments (.toml) and records of runs (.json) are given; give either in one command")
    what = "file of experiments" if True in of_experiments else "record of a run"
    for parameter in context.command.params:
        if parameter.name in _OF_THE_FILE and _given(context, parameter.name):
            raise UsageError(f"{parameter.opts[0]}: the {what} says that; leave out one of the two")
    if False in of_experiments:
        _repeat(context, files, asked, verify)
        return
    if verify:
        raise UsageError("--verify repeats records: bench run RUN.json; leave it out to run a file of experiments")
    found = [each for path in files for each in read_experiments(path, asked.common.data)]
    carry_out(list(dict.fromkeys(found)), asked)


def _repeat(context: typer.Context, files: Sequence[Path], asked: Asked, verify: bool) -> None:
    """Carry out what records say; with `verify` anew, to compare it with them. Exit with code 1 where the bits are
    not the same."""
    from issbench.bench.repeat import experiment_from
    from issbench.results.runs import load_record

    runs = [load_record(path) for path in files]
    pairs = zip(files, runs, strict=True)
    experiments = [experiment_from(run.record, path, asked.common.data) for path, run in pairs]
    common = replace(asked.common, threads=asked.common.threads or _threads(runs))
    asked = replace(asked, common=common, on_plans=partial(_foretell, files, runs))
    if not verify:
        carry_out(experiments, asked)
        return
    if asked.launch.name or asked.dry_run:
        raise UsageError("--verify compares at the end, in this process; leave out --dry-run, --slurm and --local")
    own = None if _given(context, "out") else Path(tempfile.mkdtemp(prefix="bench-verify-"))
    names = _anew(runs, experiments, replace(asked, common=replace(common, out=own or common.out)), own)
    if os.environ.get("RANK", "0") != "0":  # of several processes, the first compares
        return
    same = [_verdict(*each, own or common.out) for each in zip(files, runs, names, strict=True)]
    if not all(same):
        raise typer.Exit(1)
    if own:
        shutil.rmtree(own)


def _anew(runs: Sequence[Run], experiments: Sequence[Experiment], asked: Asked, own: Path | None) -> list[str]:
    """Carry out runs in a store that does not have them; their names. UsageError for one that has. `own` is the
    store if it was made for this."""
    try:
        _check_anew(runs, asked.common.out)
        typer.echo(f"repeating in {asked.common.out}" + ", which is removed if the bits are the same" * bool(own))
        return carry_out(experiments, asked)
    except UsageError:  # nothing was trained
        if own:
            shutil.rmtree(own)
        raise
    except Interrupted:
        if own:
            typer.echo(f"add --out {own} to go on there", err=True)
        raise


def _check_anew(runs: Sequence[Run], out: Path) -> None:
    """UsageError for a run that is not complete, and for a store that has what is to be computed anew."""
    from issbench.results.differences import same_training

    for run in runs:
        if not run.complete:
            raise UsageError(f"{run.path}: {run.unfinished}; leave out --verify to finish it")
        if any(same_training(run, step, out) for step in run.steps):
            raise UsageError(f"{out} has the very steps of {run.path}: --verify needs another --out, or none")


def _given(context: typer.Context, name: str) -> bool:
    """Whether an option stands on the command line."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _threads(runs: Sequence[Run]) -> int | None:
    """The number of threads that made all steps; None where it was not always the same."""
    found = {environment["threads"] for run in runs for environment in run.environments}
    return found.pop() if len(found) == 1 else None


def _foretell(files: Sequence[Path], runs: Sequence[Run], plans: Sequence[Plan]) -> None:
    """Say before the training in what a plan differs from its record: other data, other code, another default."""
    from issbench.bench.engine.record import run_record
    from issbench.results.differences import data_of, other_key, settings
    from issbench.results.runs import Run

    for path, run, plan in zip(files, runs, plans, strict=True):
        planned = Run(path, run_record(plan, []))
        identities = {step.index: (step.key, step.identity) for step in plan.steps}
        lines = settings(run, planned) + data_of(run, planned) + other_key(run, identities)
        for name, text in lines:
            typer.echo(f"not as in {path}: {name}: {text}")


def _verdict(path: Path, run: Run, name: str, out: Path) -> bool:
    """Say whether a repeated run has the bits of its record; whether it has."""
    from issbench.results.differences import differences, weights_of
    from issbench.results.runs import load_run

    again = load_run(out, name)
    found = differences(run, again)
    if found.results:
        typer.echo(f"{path}: not the same bits (the record against {again.path})")
        for line in told(found):
            typer.echo(line)
        return False
    weights = all(weights_of(run, step) for step in run.steps)
    what = "losses, counts and weights" if weights else "losses and counts (its store no longer has the weights)"
    typer.echo(f"{path}: the same bits: {what} of {len(run.steps)} steps")
    for line in _lines("although", found.settings + found.circumstances):
        typer.echo(line)
    return True


def told(found: Differences) -> Iterator[str]:
    """What differs between two runs, in lines."""
    if found.none:
        yield "no difference: the same settings, data, code, versions, machine and bits"
        return
    yield from _lines("settings", found.settings)
    yield from _lines("data, code, versions and machine", found.circumstances)
    yield from _lines("results", found.results)
    if not found.results:
        yield "results: the same bits"


def _lines(title: str, lines: Sequence[Line]) -> Iterator[str]:
    if lines:
        yield f"{title}:"
    for name, text in lines:
        yield f"  {name}: {text}"

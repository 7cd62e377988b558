"""Carrying out the experiments of a command: in this process, or by a launcher. `bench run` is a sweep of one
scenario; both come here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from issbench.bench.commands.support.launch_options import LaunchOptions
from issbench.bench.commands.support.options import CommonOptions
from issbench.bench.signals import number_of
from issbench.errors import Interrupted, UsageError
from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.scenario import check_split
from issbench.text import duration

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.progress import Reporter
    from issbench.bench.engine.run import Prepared
    from issbench.bench.experiment import Experiment
    from issbench.bench.launching.launcher import Launcher
    from issbench.bench.launching.profile import Profile
    from issbench.bench.launching.submissions import Request
    from issbench.bench.sweep import Sweep
    from issbench.results.runs import Run


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for, apart from the experiments."""

    kind: str
    """The command, after which a submission is named."""
    common: CommonOptions
    launch: LaunchOptions
    dry_run: bool
    table: str | None = None
    """The table of the paper to print at the end."""
    on_plans: Callable[[Sequence[Plan]], None] | None = None
    """Called with what is planned, before anything trains."""


def asked_for(
    sweeps: Sequence[Sweep], classes: Sequence[str], common: CommonOptions, save_as: Path | None
) -> list[Experiment]:
    """The experiments of a command, all of whose names exist; they are written to the file that it may name."""
    from issbench.bench.experiment_file import ExperimentFile
    from issbench.outputs import write_output

    asked = ExperimentFile(tuple(sweeps), {"classes": tuple(classes), **common.of_experiments()})
    experiments = asked.experiments()
    for name in {each.dataset for each in experiments if not asked.common["recipe"]}:
        if note := dataset_class(name).recipe_note:
            typer.echo(f"{name}: {note}")
    if save_as is not None and os.environ.get("RANK", "0") == "0":
        write_output(save_as, asked.text().encode(), option="--save-as")
        typer.echo(f"wrote {save_as}: `bench run {save_as}` asks for the same")
    return experiments


def carry_out(experiments: Sequence[Experiment], asked: Asked) -> list[str]:
    """Plan everything, tell what it costs, carry out what is not done, and print the tables; or submit it. Returns
    the runs' names. Where all are known to be done, nothing is planned unless asked for, nor torch imported."""
    launcher, profile = _launcher(asked.launch.name), asked.launch.profile()
    _check_place(asked.common.out, experiments)
    if launcher is not None:
        experiments = [_anywhere(experiment) for experiment in experiments]
        launcher.check(asked.common.device)
    done = _all_done(experiments, asked) if asked.on_plans is None else None
    if done is not None:
        typer.echo(f"{'runs':<10} {len(done):>4}  all done")
        _print_tables(done, asked)
        return done
    # import late: usage errors, and what is done, must not wait for torch
    from rich.console import Console

    from issbench.bench.engine import distributed
    from issbench.bench.engine.progress import Reporter
    from issbench.bench.engine.run import RunsFailed, prepare

    device = launcher.device(asked.common.device, profile) if launcher else distributed.join(asked.common.device)
    reporter = Reporter(Console(), asked.common.tensorboard)
    prepared = prepare(experiments, asked.common.out, device, reporter, asked.dry_run)
    names = _tell(prepared, asked)
    launcher, profile = (launcher, profile) if launcher else _several_at_once(prepared, asked, profile)
    request = _request(asked, profile)
    if asked.dry_run:
        _foretell(prepared, asked, launcher, request)
        return names
    if launcher is None:
        failures = _here(prepared, asked, reporter)
    else:
        submitted = launcher.submit(prepared.waiting, prepared.store, request, typer.echo)
        if submitted.failures is None:
            return names
        failures = dict(submitted.failures)
    if distributed.is_main():
        _print_tables([name for name in names if name not in failures], asked)
    if failures:
        raise RunsFailed(prepared.plans, failures)
    return names


def _check_place(out: Path, experiments: Sequence[Experiment]) -> None:
    """UsageError for a run store where a file is, or among the images or labels of a dataset, which would then have
    other files."""
    store = out.resolve()
    there = next(path for path in (store, *store.parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"--out {out}: {there} is not a folder; choose another place")
    for name, data in {(each.dataset, each.data) for each in experiments if each.data}:
        dataset, root = dataset_class(name), Path(data).resolve()
        homes, needs = getattr(dataset, "homes", ()), getattr(dataset, "needs", ())
        if store == root or any(store.is_relative_to(root / home / need) for home in homes for need in needs):
            raise UsageError(f"--out {out} lies in the data, {data}; choose a folder beside them")


def _launcher(name: str | None) -> Launcher | None:
    if name is None:
        return None
    from issbench.bench.launching.launcher import load_launcher  # this process needs none

    return load_launcher(name)


_LEAST = 10_000
"""Images to train on from which it pays to start processes, each of which imports torch anew: some minutes."""


def _several_at_once(prepared: Prepared, asked: Asked, profile: Profile) -> tuple[Launcher | None, Profile]:
    """The launcher of several processes here, where --jobs leaves it to us and it pays: on the CPU, where runs of
    one thread each are carried out beside each other, to the same bits. None: this process."""
    from issbench.bench.cores import cores
    from issbench.bench.engine.environment import threads_for
    from issbench.bench.engine.preflight import at_once

    on_cpu = all(plan.device.type == "cpu" for plan in prepared.waiting)
    images = sum(_images_to_train(prepared).values())
    if asked.launch.at_once or os.environ.get("WORLD_SIZE", "1") != "1" or not on_cpu or images < _LEAST:
        return None, profile
    jobs = min(cores() // threads_for(asked.common.threads), at_once(prepared.waiting, prepared.missing))
    if jobs < 2:
        return None, profile
    return _launcher("local"), replace(profile, max_parallel=jobs)


def _images_to_train(prepared: Prepared) -> dict[str, int]:
    """How many images each missing step goes through, by its key."""
    steps = (step for plan in prepared.plans for step in plan.steps)
    return {step.key: step.images_seen for step in steps if step.key in prepared.missing}


def _all_done(experiments: Sequence[Experiment], asked: Asked) -> list[str] | None:
    """The names of the runs if all of them are known to be done; else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return None
    from issbench.bench.data import open_all
    from issbench.bench.engine.planned import done_before, kind_of, may_be_done
    from issbench.bench.store_format import check_store

    check_store(asked.common.out)
    if not all(may_be_done(asked.common.out, experiment) for experiment in experiments):
        return None
    names: list[str] = []
    device = kind_of(asked.common.device)
    for experiment, data in zip(experiments, open_all(experiments), strict=True):
        run = done_before(asked.common.out, experiment, data, device)
        if run is None:
            return None
        names.append(run)
    return names


def _here(prepared: Prepared, asked: Asked, reporter: Reporter) -> dict[str, str]:
    """Carry out runs in this process; the names of those that failed, and why."""
    from issbench.bench.engine.engine import Settings as EngineSettings
    from issbench.bench.engine.engine import execute

    common = asked.common
    settings = EngineSettings(common.workers, common.checkpoint_every, common.threads, diagnose=common.diagnose)
    try:
        return execute(prepared.waiting, prepared.store, settings, reporter)
    except KeyboardInterrupt as stop:
        raise Interrupted("interrupted; the same command resumes where it stopped", number_of(stop)) from None


def _anywhere(experiment: Experiment) -> Experiment:
    """The same experiment, whose data are found from any directory."""
    return replace(experiment, data=str(Path(experiment.data).absolute())) if experiment.data else experiment


def _request(asked: Asked, profile: Profile) -> Request:
    from issbench.bench.launching.profile import Settings
    from issbench.bench.launching.submissions import Request

    common = asked.common
    settings = Settings(
        str(common.out.absolute()), common.device, common.workers, common.checkpoint_every, common.tensorboard,
        common.threads, common.diagnose,
    )  # fmt: skip
    return Request(profile, settings, asked.kind, ("bench", *sys.argv[1:]), str(Path.cwd()))


def _tell(prepared: Prepared, asked: Asked) -> list[str]:
    """What was planned, to those who asked, and how much there is to do; the names of the runs."""
    if asked.on_plans is not None:
        asked.on_plans(prepared.plans)
    typer.echo(_costs(prepared))
    return [plan.run_name for plan in prepared.plans]


def _costs(prepared: Prepared) -> str:
    """How much there is to do, in two lines, after a line for each split that does not come out even."""
    plans, missing = prepared.plans, prepared.missing
    remarks = dict.fromkeys(check_split(plan.scenario) for plan in plans)
    steps = [step for plan in plans for step in plan.steps]
    different = {step.key: step for step in steps}
    images = sum(_images_to_train(prepared).values())
    waiting = len(prepared.waiting)
    return "".join(f"{remark}\n" for remark in remarks if remark) + (
        f"{'runs':<10} {len(plans):>4}  {len(plans) - waiting} done, {waiting} to do\n"
        f"{'steps':<10} {len(steps):>4}  {len(steps) - len(different)} shared with other runs, so {len(different)} "
        f"different; {len(different) - len(missing)} in the store, {len(missing)} to train on {images:,} images"
    )


def _foretell(prepared: Prepared, asked: Asked, launcher: Launcher | None, request: Request) -> None:
    """What the missing steps need: the disk, a checkpoint included, and the jobs or the time."""
    if prepared.missing:
        size = prepared.bytes_needed
        words = f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
        typer.echo(f"{'disk':<15}  about {words} in {prepared.store.root}")
    for line in launcher.describe(prepared.waiting, prepared.store, request) if launcher else ():
        typer.echo(line)
    here = launcher is None or launcher.name == "local"
    if here and int(os.environ.get("WORLD_SIZE", "1")) == 1:  # several would wait for each other
        _tell_time(prepared, asked.common, (launcher and request.profile.max_parallel) or 1)


def _tell_time(prepared: Prepared, common: CommonOptions, jobs: int) -> None:
    """What the training takes here, in so many jobs at once, and how that is known."""
    from issbench.bench.engine.forecast import forecast

    found = forecast(prepared.waiting, prepared.store, prepared.missing, common.threads, common.workers)
    if found is None:
        return
    steps = {
        "at rates in the store": found.steps["recorded"],
        "at rates measured just now": found.steps["measured"],
        "taken as the others": found.steps["alike"],
    }
    how = ", ".join(f"{number} {text}" for text, number in steps.items() if number)
    typer.echo(f"{'time':<15}  about {duration(found.seconds / jobs)} here; of the steps {how}")


def _print_tables(names: Sequence[str], asked: Asked) -> None:
    """The tables of finished runs: those that were asked for by name, or the main ones."""
    from issbench.bench.commands.support.paper import table_name, table_numbers
    from issbench.bench.commands.support.printing import print_table
    from issbench.results.make_tables import measured_tables
    from issbench.results.runs import load_run

    runs = [load_run(asked.common.out, name) for name in dict.fromkeys(names)]
    if asked.common.diagnose:
        _tell_undiagnosed(runs)
    table = asked.table
    wanted = dict.fromkeys(table_name(number) for number in table_numbers(table)) if table else {"main": None}
    for name in wanted if runs else ():
        for each in measured_tables(name, runs):
            print_table(each)


def _tell_undiagnosed(runs: Sequence[Run]) -> None:
    """Say how many steps cannot be diagnosed any more."""
    trained = {s["key"]: s["training"] for run in runs for s in run.steps if s["step"] and s["training"]}
    late = sum("diagnosis" not in training for training in trained.values())
    if late:
        typer.echo(
            f"--diagnose looks at a step while it trains: {late} of {len(trained)} were trained before, without a "
            "diagnosis; another --out trains them anew"
        )

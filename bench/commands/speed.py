"""`bench speed`: how fast the suite is, part by part, each beside what it is measured against."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from issbench.bench.commands.support import options
from issbench.bench.commands.support.option_groups import with_option_groups
from issbench.bench.commands.support.printing import print_table
from issbench.bench.commands.support.speed_options import Part, SpeedOptions
from issbench.results.render import Format

if TYPE_CHECKING:
    from issbench.bench.recipe import Recipe
    from issbench.bench.speed.measured import Row

_IMAGES = 48  # that are read in each round of `loader`
_CROPS = (128, 256, 512)
_EACH, _ALL = 5.0, 60.0  # seconds of a row of `step`, and of all rows of another part


@with_option_groups
def speed(
    part: Annotated[
        Part,
        typer.Argument(
            help="step: an iteration of each method; engine: the whole training; loader: reading; suite: runs at "
            "once; start: until training begins."
        ),
    ] = "step",
    *,
    asked: SpeedOptions,
    json: Annotated[Path | None, typer.Option("--json", help="Also write all times to this file.")] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Set a measurement that --json wrote beside this one.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = "terminal",
) -> None:
    """Measure how fast the suite is on this machine, alternately with what each part is measured against.

    Without a word: one training iteration of each method, without data loading, against its floor, which is the
    method's own student trained with cross-entropy alone, with the teacher's forward pass where it has a teacher.
    """
    from issbench.bench.commands.support.speed_tables import comparison_of, line_of, operations_of, table_of
    from issbench.bench.speed.measured import Measured, load, save
    from issbench.errors import UsageError
    from issbench.outputs import refuse_foreign

    before = load(compare) if compare else None
    if before is not None and before.part != part:
        raise UsageError(f"--compare {compare} has the part {before.part}: bench speed {before.part}")
    if json:
        refuse_foreign([json], option="--json")
    rows = []
    for row in _measured(part, asked):
        typer.echo(line_of(part, row), err=True)
        rows.append(row)
    words = ("bench", *sys.argv[1:])
    found = Measured(part, _title(part, asked), words, _machine(), time.strftime("%Y-%m-%d"), tuple(rows))
    if json:
        save(json, found)
    for table in [table_of(found), *(operations_of(row) for row in rows if "operations" in row.facts)]:
        print_table(table, format)
    if before:
        print_table(comparison_of(before, found), format)


def _measured(part: Part, asked: SpeedOptions) -> Iterator[Row]:
    """The rows of a part, as they are measured."""
    if part in ("step", "engine"):
        return _methods_measured(part, asked, *_specs_and_recipe(asked))
    from issbench.bench.cores import cores
    from issbench.bench.speed.commands import measure_start, measure_suite

    seconds = _ALL if asked.seconds is None else asked.seconds
    if part == "loader":
        return _loader_measured(asked, seconds)
    if part == "suite":
        return measure_suite(asked.jobs or max(2, cores()), asked.rounds, seconds)
    return measure_start(asked.rounds, seconds)


def _methods_measured(part: Part, asked: SpeedOptions, specs: list[str], recipe: Recipe) -> Iterator[Row]:
    # Only now, so that a wrong command is told without waiting for torch.
    from issbench.bench.engine.environment import choose_device
    from issbench.bench.engine.speed import Workload, resolve
    from issbench.bench.speed.engine import measure_engine
    from issbench.bench.speed.step import measure_steps

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler's own log comes between
    device = choose_device(asked.device)
    workload = Workload(recipe=recipe, classes=asked.classes, new=asked.new, device=device, threads=asked.threads)
    for spec in specs:  # so the last one's options are checked before the first runs
        resolve(spec)
    seconds = _EACH * len(specs) if asked.seconds is None else asked.seconds
    if part == "engine":
        return measure_engine(specs, workload, asked.workers, asked.rounds, seconds)
    return measure_steps(specs, workload, asked.rounds, seconds, asked.profile)


def _loader_measured(asked: SpeedOptions, seconds: float) -> Iterator[Row]:
    from issbench.bench.engine.environment import arithmetic, choose_device
    from issbench.bench.speed.loader import measure_loader
    from issbench.bench.speed.made_images import made_images
    from issbench.scenarios.datasets import load_dataset

    crops = _CROPS if asked.crop is None else (asked.crop,)
    with arithmetic(choose_device("cpu"), 1):
        if asked.data is not None:
            yield from measure_loader(
                load_dataset(asked.dataset, asked.data), crops, _IMAGES, asked.rounds, seconds
            )
            return
        with made_images(_IMAGES, asked.classes) as data:
            yield from measure_loader(load_dataset("folder", data), crops, _IMAGES, asked.rounds, seconds)


def _specs_and_recipe(asked: SpeedOptions) -> tuple[list[str], Recipe]:
    """The methods of the command, which must exist, by default all that can train alone, and the recipe. UsageError
    for what is wrong in either."""
    from issbench.bench.experiment import parse_method, split_methods
    from issbench.bench.recipe import recipe_of
    from issbench.errors import UsageError
    from issbench.methods.interface.registry import available

    recipe = recipe_of(options.read_settings(asked.settings, asked.of_recipe()))
    if asked.classes - 1 - asked.new < 1:
        raise UsageError(
            f"--classes {asked.classes} --new {asked.new}: no old class is left beside background; raise --classes"
        )
    if asked.methods is None:
        return [name for name, info in available().items() if not info.part], recipe
    specs = split_methods(asked.methods)
    if not specs:
        raise UsageError("--methods names no method; see `bench list methods`")
    for spec in specs:
        parse_method(spec)
    return specs, recipe


def _title(part: Part, asked: SpeedOptions) -> str:
    """All that the times depend on."""
    import torch

    from issbench.bench.engine.environment import choose_device, threads_for
    from issbench.bench.engine.plan import decided

    device = choose_device(asked.device)
    words = [
        torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        f"torch {torch.__version__}",
    ]
    if part == "loader":
        source = f"{_IMAGES} images of {asked.dataset}" if asked.data else f"{_IMAGES} made photographs, 500 × 375"
        return ", ".join([source, *words[1:]])
    if part in ("suite", "start"):
        return ", ".join(["shapes_4-4, one epoch a step", *words[1:]])
    _, recipe = _specs_and_recipe(asked)
    return ", ".join(
        [
            recipe.backbone, f"crop {recipe.crop}", f"batch {recipe.batch}",
            f"{asked.classes} classes ({asked.new} new)", words[0], decided(recipe.for_step(1), device).precision,
            f"{threads_for(asked.threads)} threads", words[1],
        ]
    )  # fmt: skip


def _machine() -> dict[str, str]:
    """Processor, cores and versions."""
    from issbench.bench.cores import cores, cpu_model
    from issbench.bench.engine.environment import git_state, versions

    return {"cpu": cpu_model(), "cores": str(cores()), "commit": git_state(), **versions()}

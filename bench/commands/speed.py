"""`bench speed`: what a method's training step costs beyond what it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from issbench.bench.commands.support import options
from issbench.bench.commands.support.printing import print_table
from issbench.results.render import Format

if TYPE_CHECKING:
    from issbench.bench.engine.speed import Speed, Workload
    from issbench.results.table import Table

_COLUMNS = ("method", "floor ms", "step ms", "ratio", "25 %", "75 %", "img/s", "floor MiB", "step MiB")
_TOP = 12  # operations of --profile


def speed(
    methods: Annotated[
        str | None, typer.Option(help="Methods with options, separated by commas.", show_default="all")
    ] = None,
    backbone: Annotated[str, typer.Option(help="A timm model; its weights are random.")] = "resnet50",
    crop: Annotated[int, typer.Option(max=8192, help="Side of the images, in pixels.")] = 256,
    batch: Annotated[int, typer.Option(max=4096, help="Images of a batch.")] = 4,
    settings: options.RecipeSettings = None,
    classes: Annotated[int, typer.Option(max=4096, help="Classes after the step, with the background.")] = 21,
    new: Annotated[int, typer.Option(min=1, help="Classes that the step adds.")] = 5,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="auto is bf16 on GPUs that have it.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the CPU.", show_default="OMP_NUM_THREADS, or 1")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Rounds to measure.", show_default="5, and 5 seconds")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also tell in which operations the time beyond the floor goes.")
    ] = False,
    format: Annotated[Format, typer.Option(help="How to print.")] = "terminal",
) -> None:
    """Measure one training iteration of methods, without data loading, against the floor of each.

    The floor is the method's own student trained with cross-entropy alone, with the teacher's forward pass where
    the method has a teacher. Floor and iteration are measured alternately.
    """
    from issbench.bench.recipe import recipe_of
    from issbench.errors import UsageError

    given = {"backbone": backbone, "weights": "none", "crop": crop, "batch": batch, "precision": precision}
    recipe = recipe_of(options.read_settings(settings, given))
    if classes - 1 - new < 1:
        raise UsageError(
            f"--classes {classes} --new {new}: no old class is left beside background; raise --classes"
        )
    specs = _specs(methods)
    # Only now, so that a wrong command is told without waiting for torch.
    from issbench.bench.engine.environment import choose_device
    from issbench.bench.engine.speed import Workload, resolve

    workload = Workload(recipe=recipe, classes=classes, new=new, device=choose_device(device), threads=threads)
    chosen = {spec: resolve(spec) for spec in specs}  # so the last one's options are checked before the first runs
    rows = _measure(chosen, workload, rounds, profile)
    for table in (_table(rows, workload), *(_operations(row, workload) for row in rows if profile)):
        print_table(table, format)


def _specs(methods: str | None) -> list[str]:
    """The methods of the command, which must exist; by default all that can train alone."""
    from issbench.bench.experiment import parse_method, split_methods
    from issbench.errors import UsageError
    from issbench.methods.interface.registry import available

    if methods is None:
        return [name for name, info in available().items() if not info.part]
    specs = split_methods(methods)
    if not specs:
        raise UsageError("--methods names no method; see `bench list methods`")
    for spec in specs:
        parse_method(spec)
    return specs


def _measure(chosen: dict[str, tuple], workload: Workload, rounds: int | None, profile: bool) -> list[Speed]:
    import os

    from rich.console import Console

    from issbench.bench.engine.speed import measure

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler's own log comes between
    console, rows = Console(stderr=True), []
    with console.status("") as status:
        for spec, (method_class, options) in chosen.items():
            status.update(f"measuring {spec}")
            rows.append(measure(spec, method_class, options, workload, rounds, profile))
    return rows


def _table(rows: list[Speed], workload: Workload) -> Table:
    from statistics import median

    from issbench.results.table import MISSING, text_table

    cells = []
    for row in rows:
        numbers = [f"{1000 * median(row.floor):.1f}", f"{1000 * median(row.step):.1f}"]
        numbers += [f"{value:.3f}" for value in (row.ratio, *row.quartiles)]
        numbers.append(f"{row.images_per_second:.2f}")
        numbers += [MISSING if value is None else f"{value / 2**20:.0f}" for value in row.memory]
        cells.append([row.method, *numbers])
    notes = [
        "floor: the method's own student trained with cross-entropy alone, and the teacher's forward pass where "
        "the method has a teacher; step: an iteration of the method. Medians over the rounds; ratio: the median of "
        "step / floor within each round, and its quartiles; img/s: images of steps. Rounds: "
        + ", ".join(f"{row.method} {len(row.step)}" for row in rows)
        + ".",
        "MiB: peak memory of the tensors during an iteration, weights and optimiser state included.",
    ]
    return text_table(_title(workload), list(_COLUMNS), cells, notes)


def _operations(row: Speed, workload: Workload) -> Table:
    """The operations that take longest beyond the floor."""
    from issbench.results.table import text_table

    top = row.operations[:_TOP]
    times = [(op.name, op.floor, op.step) for op in top]
    times.append(("all operations", sum(op.floor for op in row.operations), sum(op.step for op in row.operations)))
    cells = [
        [name, *(f"{1000 * value:.2f}" for value in (step - floor, floor, step))] for name, floor, step in times
    ]
    where = "GPU" if workload.device.type == "cuda" else "CPU"
    title = f"{row.method}: time beyond the floor by operation"
    note = (
        f"Self time on the {where} under torch.profiler, forward, backward and update together: only what a call "
        "does itself, not what it calls."
    )
    return text_table(title, ["operation", "beyond ms", "floor ms", "step ms"], cells, [note])


def _title(workload: Workload) -> str:
    """All that the times depend on."""
    import torch

    from issbench.bench.engine.environment import threads_for

    recipe, device = workload.recipe, workload.device
    gpu = device.type == "cuda"
    parts = [
        recipe.backbone,
        f"crop {recipe.crop}",
        f"batch {recipe.batch}",
        f"{workload.classes} classes ({workload.new} new)",
        torch.cuda.get_device_name(device) if gpu else str(device),
        workload.step_recipe.precision,
        f"{threads_for(workload.threads)} threads",
        f"torch {torch.__version__}",
        f"memory by {'torch.cuda' if gpu else 'torch.profiler'}",
    ]
    return ", ".join(parts)

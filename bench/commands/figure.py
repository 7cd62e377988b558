"""`bench figure`: the figures of a paper from a run store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from issbench.bench.commands.support.options import Force, as_recorded
from issbench.errors import did_you_mean
from issbench.outputs import refuse_foreign
from issbench.results.figures import FIGURES, FigureError, check_output, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from issbench.results.runs import Run

PICTURES = ("predictions", "prediction-steps", "pseudo-labels")
"""The figures that need networks and images."""


def figure(
    name: Annotated[str, typer.Argument(help=f"{', '.join([*FIGURES, *PICTURES])}; docs/results.md shows each.")],
    output: Annotated[Path, typer.Option(help="The file to write: .pdf, .png or .svg.")],
    scenario: Annotated[str | None, typer.Option(help="Only runs of this scenario.")] = None,
    setting: Annotated[str | None, typer.Option(help="Only runs of this setting.")] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Only these methods, with options as in their runs, such as gsc:sg=off,plop; in pictures in "
            "this order."
        ),
    ] = None,
    order: Annotated[str | None, typer.Option(help="Only runs of this class order.")] = None,
    seed: Annotated[int | None, typer.Option(help="Only runs of this seed.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this run: its name, its beginning, or its hash.")] = None,
    group: Annotated[str, typer.Option(help="Classes for critical-difference: all, base, new, 0-15.")] = "all",
    images: Annotated[str | None, typer.Option(help="Ids of images for pictures, separated by commas.")] = None,
    count: Annotated[int, typer.Option(min=1, max=20, help="How many images, where none are named.")] = 3,
    step: Annotated[
        int | None, typer.Option(min=1, help="Step for pseudo-labels.", show_default="the last")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The dataset, where it has moved since the run.")] = None,
    device: Annotated[str, typer.Option(help="For pictures: auto, cpu, cuda …")] = "auto",
    out: Annotated[Path, typer.Option(help="The run store.")] = Path("runs"),
    force: Force = False,
) -> None:
    """Draw a figure of runs. The last three, pictures, need the networks in the store and the dataset."""
    if name not in (*FIGURES, *PICTURES):
        raise FigureError(f"no figure {name!r}; {did_you_mean(name, [*FIGURES, *PICTURES])}")
    check_output(output)
    refuse_foreign([output], force)
    wanted = {"scenario": scenario, "setting": setting, "order": order, "seed": seed}
    runs = _runs(out, wanted, methods, run)
    if name == "critical-difference":
        drawn = FIGURES[name](runs, group=group)
    elif name in FIGURES:
        drawn = FIGURES[name](runs)
    else:
        from issbench.bench.commands.support.options import names

        drawn = _pictures(name, runs, names(images), count, step, data, device)
    save_figure(drawn, output, force)
    typer.echo(f"wrote {output}")


def _runs(out: Path, wanted: Mapping[str, str | int | None], methods: str | None, name: str | None) -> list[Run]:
    """The runs that are asked for, methods in the order in which they are named."""
    from issbench.bench.experiment import split_methods
    from issbench.results.make_tables import paper_order
    from issbench.results.runs import RecordError, load_run, load_runs

    found = []
    for run in [load_run(out, name)] if name else load_runs(out):
        has: dict[str, set[str | int]] = {"scenario": {run.scenario}, "setting": {run.setting}, "seed": {run.seed}}
        has["order"] = {run.order, run.experiment["order"]}
        if all(value is None or value in has[key] for key, value in wanted.items()):
            found.append(run)
    if not found:
        asked = " ".join(f"{key} {value}" for key, value in wanted.items() if value is not None)
        raise RecordError(f"{out} holds no run{' of ' + asked if asked else ''}; `bench run` makes some")
    if methods is None:
        return sorted(found, key=paper_order)
    specs = as_recorded(split_methods(methods), found)
    there = {run.spec for run in found}
    for spec in specs:
        if spec not in there:
            hint = did_you_mean(spec, sorted(there), f"there are {', '.join(sorted(there))}", cutoff=0.6)
            raise RecordError(f"no such run of {spec} in {out}; {hint}")
    return [run for spec in specs for run in found if run.spec == spec]


def _pictures(
    name: str,
    runs: list[Run],
    images: tuple[str, ...],
    count: int,
    step: int | None,
    data: Path | None,
    device: str,
) -> Figure:
    from issbench.bench.commands.support import pictures
    from issbench.bench.engine.environment import choose_device

    chosen = pictures.one_of_each(runs)
    where = pictures.Where(choose_device(device), str(data) if data else None)
    if name == "pseudo-labels":
        return pictures.pseudo_labels(chosen, images, count, step, where)
    draw = pictures.predictions if name == "predictions" else pictures.prediction_steps
    return draw(chosen, images, count, where)

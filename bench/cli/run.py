"""`bench run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.output import print_tables

if TYPE_CHECKING:
    from bench.experiment import Experiment

_MANY = "several, separated by commas"


def run(
    methods: Annotated[str, typer.Option(help=f"Methods with options, {_MANY}: gsc:sg=off,lambda1=0.5,plop.")],
    scenario: Annotated[str, typer.Option(help="DATASET_BASE-INC, such as voc_15-1 (see `bench list scenarios`).")],
    setting: Annotated[
        str | None, typer.Option(help="overlapped, disjoint or domain.  [default: the dataset's usual one]")
    ] = None,
    order: Annotated[
        str,
        typer.Option(help="Class order: natural, A … E (VOC), random:SEED, a permutation, or a file with one."),
    ] = "natural",
    classes: Annotated[
        str | None,
        typer.Option(help="Use these classes only, in this learning order; the others are background."),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", "--seed", help=f"Seeds, {_MANY}.")] = "0",
    protocol: Annotated[
        str | None, typer.Option(help="Evaluation protocol: plop, mib, ssul; official, released for domains.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Directory of the dataset (shapes needs none).")] = None,
    backbone: Annotated[str | None, typer.Option(help="A timm model (see `bench list backbones`).")] = None,
    weights: Annotated[str | None, typer.Option(help="First weights: imagenet, none, or a file.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="TOML file with settings of the training recipe.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting of the recipe, such as epochs=3; may be repeated."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The run store; what it holds is not computed again.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that read images.  [default: one per core, up to 8]")
    ] = None,
    checkpoint_every: Annotated[
        float, typer.Option(min=0, help="Seconds between checkpoints inside a step.")
    ] = 60.0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write loss terms and mIoU to RUN/tensorboard, too.")
    ] = False,
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
        recipe=_overrides(recipe, settings, backbone, weights),
    )
    # Only now, so that a wrong command is told without waiting for torch.
    from rich.console import Console

    from bench.engine import run as run_experiments
    from bench.errors import Interrupted
    from bench.progress import Reporter
    from results.records import load_run

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
    print_tables([load_run(out, experiment.run_name) for experiment in experiments], "terminal")


def _experiments(methods: str, seeds: str, classes: str | None, **common: Any) -> list[Experiment]:
    """An experiment for each seed and method; `common` is what they share."""
    from bench.errors import UsageError
    from bench.experiment import Experiment, split_methods

    if common["data"] is not None and not common["data"].is_dir():
        raise UsageError(f"--data {common['data']}: no such directory")
    numbers = [part.strip() for part in seeds.split(",") if part.strip()]
    wrong = [part for part in numbers if not part.isdecimal()]
    if wrong or not numbers:
        raise UsageError(f"--seeds {seeds}: {wrong[0] if wrong else 'nothing'} is no whole number ≥ 0, as in 0,1,2")
    specs = split_methods(methods)
    if not specs:
        raise UsageError("--methods names no method; see `bench list methods`")
    chosen = tuple(part.strip() for part in classes.split(",")) if classes else ()
    asked = [Experiment(spec, classes=chosen, seed=int(n), **common) for n in numbers for spec in specs]
    return list(dict.fromkeys(asked))  # a method named twice is one run


def _overrides(
    recipe: Path | None, settings: list[str] | None, backbone: str | None, weights: str | None
) -> dict[str, object]:
    """Settings of the recipe that the user gave: the file, over it --backbone and --weights, over them --set."""
    from bench.errors import UsageError
    from bench.recipe import read_recipe_file

    values: dict[str, object] = read_recipe_file(recipe) if recipe else {}
    values |= {key: value for key, value in (("backbone", backbone), ("weights", weights)) if value}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write --set name=value, as in --set epochs=3")
        values[key.strip()] = value.strip()
    return values

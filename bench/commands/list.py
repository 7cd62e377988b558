"""`bench list`: what there is to choose from. Nothing here imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from issbench.bench.commands.support.once import App

if TYPE_CHECKING:
    from issbench.methods.interface.info import MethodInfo

app = App(help="List methods, scenarios, settings, orders, backbones, recipes or protocols.", no_args_is_help=True)


@app.command()
def methods() -> None:
    """Methods with their options and published defaults, and the parts to put on top of them."""
    from issbench.methods.interface.registry import available

    infos = available()
    width = max(map(len, infos))
    typer.echo("METHODS")
    for info in infos.values():
        if not info.part:
            _method(info, width)
    typer.echo("\nPARTS, to put on top of a method: METHOD+PART, as in ft+sc or mib+sg+sr")
    for info in infos.values():
        if info.part:
            _method(info, width)
    for name, info in infos.items():
        if info.parts:
            typer.echo(f"METHOD+{name}, as in rcil+{name}: all parts of {name} ({', '.join(info.parts)})")


def _method(info: MethodInfo, width: int) -> None:
    from issbench.methods.interface.options import spell

    typer.echo(f"{info.name:<{width}}  {info.summary}")
    if info.options:
        texts = (f"{option.name}={spell(option.default)}" for option in info.options)
        typer.echo(" " * (width + 2) + "options: " + ", ".join(texts))
    if info.not_composable_because:
        typer.echo(" " * (width + 2) + "takes no parts")


@app.command()
def scenarios() -> None:
    """The published scenarios; every other DATASET_BASE-INC works, too."""
    from issbench.scenarios.datasets import dataset_classes

    for name, dataset in dataset_classes().items():
        settings: dict[str, list[str]] = {}
        for split in dataset.published_splits:
            setting = dataset.split_settings.get(split, dataset.default_setting)
            settings.setdefault(setting, []).append(f"{name}_{split}")
        any_split = {dataset.default_setting: [f"{name}_BASE-INC for your own images"]}
        for setting, names in (settings or any_split).items():
            typer.echo(f"{'  '.join(names)}   (default setting: {setting})")
    typer.echo(
        "DATASET_BASE-INC: BASE classes (or domains) at the first step, INC at each later one; any split works."
    )


@app.command()
def settings() -> None:
    """Which images a step has, and what of them is labelled."""
    from issbench.scenarios.scenario import IN_WORDS

    for name, text in IN_WORDS.items():
        typer.echo(f"{name:<12} {text}")


@app.command()
def orders() -> None:
    """Class orders that have a name."""
    from issbench.scenarios.datasets import dataset_classes

    typer.echo("natural      the dataset's own order (default)")
    typer.echo("random:SEED  a random permutation")
    for dataset in dataset_classes().values():
        for name, order in dataset.orders.items():
            typer.echo(f"{name:<12} {dataset.name}: {','.join(map(str, order))}")
    typer.echo("or a permutation of class numbers or names, literally or in a file")


@app.command()
def backbones() -> None:
    """Backbones that recipes use and tests train, with their output stride; other timm models work, too."""
    from issbench.bench.engine.backbones import SUGGESTED

    width = max(map(len, SUGGESTED))
    for name, (stride, text) in SUGGESTED.items():
        typer.echo(f"{name:<{width}}  {stride or '8, 16, 32':<9}  {text}")
    typer.echo("any other timm model with four feature maps works, too; the second column: --set output_stride=…")


@app.command()
def recipes() -> None:
    """Training recipes that have a name, for --recipe: what they are, from where, and what they set."""
    from issbench.bench.recipe import named_recipes, tables_of

    for name, recipe in named_recipes().items():
        typer.echo(f"{name}  {recipe['about']}")
        typer.echo(f"    from {recipe['source']}")
        for where, settings in tables_of(recipe).items():
            texts = ", ".join(f"{setting}={value}" for setting, value in settings.items())
            typer.echo(f"    {where}: {texts or 'its own'}")


@app.command()
def protocols() -> None:
    """Evaluation protocols."""
    from issbench.scenarios.protocol import PROTOCOLS

    for protocol in PROTOCOLS.values():
        typer.echo(protocol.summary())

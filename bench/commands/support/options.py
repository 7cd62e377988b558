"""Options that `bench run` and `bench sweep` share, and how their texts read. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from issbench.scenarios.protocol import PROTOCOLS
from issbench.scenarios.scenario import SETTINGS

if TYPE_CHECKING:
    from issbench.results.runs import Run

MANY = "several, separated by commas"
SETTING = f"{', '.join(SETTINGS)}; partitioned:SEED is another draw"

Classes = Annotated[
    str | None,
    typer.Option(help="Use these classes only, in this learning order; the others are background."),
]
Images = Annotated[
    str,
    typer.Option(help="Fraction of each step's training images, such as 0.3; 0.3:SEED is another draw of them."),
]
Seeds = Annotated[str, typer.Option("--seeds", "--seed", help=f"Seeds, {MANY}.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files there that bench did not write.")]
RecipeSettings = Annotated[
    list[str] | None, typer.Option("--set", help="One setting of the recipe, such as epochs=3; may be repeated.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "--plan", help="Only tell how much there is to do.")]
SaveAs = Annotated[
    Path | None,
    typer.Option("--save-as", help="Also write what is asked for to a TOML file, for `bench run FILE.toml`."),
]


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """What each run of a command is trained with, and where it is kept."""

    protocol: Annotated[
        str | None,
        typer.Option(
            help=f"Evaluation protocol: {', '.join(PROTOCOLS)} (see `bench list protocols`).",
            show_default="plop; official for domains",
        ),
    ] = None
    data: Annotated[Path | None, typer.Option(help="Directory of the dataset (shapes needs none).")] = None
    images: Images = "1"
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Train also where training images are test images, too.")
    ] = False
    backbone: Annotated[
        str | None, typer.Option(help="A timm model (see `bench list backbones`).", show_default="the recipe's")
    ] = None
    weights: Annotated[
        str | None, typer.Option(help="First weights: imagenet, none, or a file.", show_default="the recipe's")
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A training recipe by its name (see `bench list recipes`), or a TOML file of settings.",
            show_default="the dataset's",
        ),
    ] = None
    recipe_settings: RecipeSettings = None
    out: Annotated[Path, typer.Option(help="The run store; what it holds is not computed again.")] = Path("runs")
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto"
    workers: Annotated[
        int | None,
        typer.Option(min=0, max=1024, help="Processes that read images.", show_default="one per core, up to 8"),
    ] = None
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads that compute on the CPU.", show_default="OMP_NUM_THREADS, or 1"),
    ] = None
    checkpoint_every: Annotated[
        float, typer.Option(min=0, max=1e9, help="Seconds between checkpoints inside a step.")
    ] = 60.0
    diagnose: Annotated[
        bool,
        typer.Option("--diagnose", help="Look at pseudo-labels, gradients and terms of each step in training."),
    ] = False
    metrics: Annotated[str | None, typer.Option(help=f"Metrics beside the usual ones, {MANY}: boundary-iou.")] = (
        None
    )
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write loss terms and mIoU to RUN/tensorboard, too.")
    ] = False

    def of_experiments(self) -> dict[str, Any]:
        """What these options say of every experiment. UsageError for a directory that is not there, and for a
        setting that cannot be read."""
        from issbench.errors import UsageError

        if self.data is not None and not self.data.is_dir():
            raise UsageError(f"--data {self.data}: no such directory")
        return {
            "protocol": self.protocol,
            "data": self.data,
            "recipe": _overrides(self.recipe, self.recipe_settings, self.backbone, self.weights),
            "metrics": names(self.metrics),
            "allow_leak": self.allow_leak,
            "images": self.images,
        }


def names(text: str | None) -> tuple[str, ...]:
    """What stands between commas, in quotes where it has a comma itself (`"road, paved",car`); an option that is
    not given names nothing. UsageError for one that is given and names nothing."""
    import csv

    from issbench.errors import UsageError

    if text is None:
        return ()
    try:
        found = [part.strip() for row in csv.reader([text], skipinitialspace=True) for part in row if part.strip()]
    except csv.Error as error:
        raise UsageError(f"{text!r} is not a list of names with commas between them ({error})") from None
    if not found:
        raise UsageError(f"{text!r} names nothing; write names with commas between them, or leave the option out")
    return tuple(found)


def as_recorded(specs: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Methods in the spelling that the records of runs have. A name that is not installed may be that of an
    imported run, so it stays."""
    from issbench.bench.experiment import canonical_method
    from issbench.methods.interface.registry import UnknownMethod

    scenarios, datasets = ({run.experiment[what] for run in runs} for what in ("scenario", "dataset"))
    (scenario,) = scenarios if len(scenarios) == 1 else datasets if len(datasets) == 1 else ("",)
    found = []
    for spec in specs:
        try:
            found.append(canonical_method(spec, scenario))
        except UnknownMethod:
            found.append(spec)
    return found


def seed_numbers(text: str) -> tuple[int, ...]:
    """The seeds of `0,1,2`; UsageError for anything else."""
    from issbench.methods.interface.numbers import SEEDS
    from issbench.methods.interface.options import parse_value

    return tuple(parse_value("--seeds", int, part, SEEDS) for part in names(text))


def _overrides(
    recipe: str | None, settings: list[str] | None, backbone: str | None, weights: str | None
) -> dict[str, object]:
    """Settings of the recipe that the user gave: the file, over it --backbone, --weights and --set."""
    given = {key: value for key, value in (("backbone", backbone), ("weights", weights)) if value}
    return (_recipe(recipe) if recipe else {}) | read_settings(settings, given)


def read_settings(settings: list[str] | None, given: Mapping[str, object]) -> dict[str, object]:
    """What --set says, beside what is `given` by options of its own. UsageError for a setting given twice."""
    from issbench.errors import UsageError

    values = dict(given)
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: write --set name=value, as in --set epochs=3")
        if key.strip() in values:
            raise UsageError(f"--set {key.strip()} is given twice; give it once")
        values[key.strip()] = value.strip()
    return values


def _recipe(name: str) -> dict[str, object]:
    """What --recipe names. UsageError where that is neither a recipe nor a file."""
    from issbench.bench.recipe import named_recipes, read_recipe_file
    from issbench.errors import UsageError, did_you_mean

    known = named_recipes()
    if name in known:
        return {"base": name}
    if not Path(name).exists():
        hint = did_you_mean(name, known, "see `bench list recipes`", cutoff=0.4)
        raise UsageError(f"--recipe {name}: there is no recipe of this name, nor such a file; {hint}")
    return read_recipe_file(Path(name))

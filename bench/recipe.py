"""Training recipes: the published ones by dataset, and how a user overrides them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from issbench.errors import UsageError, did_you_mean
from issbench.files import read_toml
from issbench.methods.interface.numbers import Count, Positive, Range, Weight
from issbench.methods.interface.options import OptionError, parse_value
from issbench.scenarios.datasets import dataset_class, dataset_names
from issbench.scenarios.scenario import parse_name

_RECIPES = Path(__file__).with_name("recipes")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. The defaults are GSC's Section V and, where it is silent, the released codes."""

    epochs: Count = 30
    """Epochs of a step."""
    first_epochs: Count | None = None
    """Epochs of the first step; None: as the others."""
    lr: Positive = 1e-3
    """Initial learning rate of the steps after the first."""
    first_lr: Positive = 1e-2
    """Initial learning rate of the first step."""
    batch: Annotated[int, Range(2, 10**9)] = 24
    """Images of a batch, over all processes; batch normalisation needs two."""
    crop: Count = 512
    """Side of the training crop and of the centre crop at test, in pixels."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """AdamW spares norms, biases and tables of positions the weight decay."""
    momentum: Annotated[float, Range(0, 1, without=(1,))] = 0.9
    """Nesterov momentum; AdamW's first beta (its second is 0.999)."""
    weight_decay: Weight = 1e-4
    power: Weight = 0.9
    """Power of the polynomial decay of the learning rate, per iteration."""
    warmup: Annotated[float, Range(0, 1, without=(1,))] = 0.0
    """Share of a step's iterations in which the learning rate is also multiplied by a factor that rises to 1."""
    scale_min: Positive = 0.5
    scale_max: Positive = 2.0
    """Range of the area of the random-resized crop, relative to the image's, as torchvision defines it."""
    backbone: str = "resnet101"
    """A timm model with feature maps, or `tiny`."""
    weights: str = "imagenet"
    """`imagenet`, `none` (random), or a file with a state dict of the backbone."""
    output_stride: Literal[8, 14, 16, 32] = 16
    """How many times smaller than the images the backbone's last map is; 14 is DINOv2's."""
    activation: Literal["own", "leaky_relu"] = "own"
    """The backbone's own, with ReLU in the ASPP; or leaky ReLU (0.01) in the place of every ReLU, as in the
    released networks."""
    aspp_channels: Count = 256
    nudge: Annotated[int, Range(0, 10**9)] = 0
    """0, or the number of a draw: at the start of each step one unit in its last place is added to or taken from
    each weight, as little as another machine's rounding does, to measure how far that moves a result."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Autocast; `auto` is bf16 on GPUs that have it, and fp32 elsewhere."""

    def __post_init__(self) -> None:
        for name, kind in _kinds().items():
            value = getattr(self, name)
            if value is not None or NoneType not in get_args(kind):
                object.__setattr__(self, name, _checked(name, kind, value))
        if self.scale_min > self.scale_max:
            raise UsageError(
                f"recipe: scale_min={self.scale_min} is above scale_max={self.scale_max}; exchange the two"
            )

    def for_step(self, step: int) -> Recipe:
        """The recipe of a single step: `epochs` and `lr` are those of this step, what concerns the first is
        gone."""
        if step > 0:
            return dataclasses.replace(self, first_epochs=None, first_lr=Recipe.first_lr)
        epochs = self.first_epochs or self.epochs
        return dataclasses.replace(
            self, epochs=epochs, lr=self.first_lr, first_epochs=None, first_lr=Recipe.first_lr
        )

    def of_step(self) -> dict[str, Any]:
        """A step's recipe as plain values, for records."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("first_epochs", "first_lr")}


def make_recipe(where: str, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe of a dataset, or of one of its scenarios (`voc`, `voc_10-1`), with `overrides` (text or typed
    values). Their `base` names a recipe that stands between the two. UsageError for an unknown setting or name."""
    given = dict(overrides)
    base = given.pop("base", None)
    known = dataset_class(_dataset(where)).recipe
    return recipe_of({**known, **(named_recipe(str(base), where) if base is not None else {}), **given})


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """The usual recipe with other values, text or typed. UsageError for an unknown setting."""
    for name in values:
        if name not in _kinds():
            hint = did_you_mean(name, _kinds(), f"settings: {', '.join(_kinds())}", cutoff=0.6)
            raise UsageError(f"unknown recipe setting {name!r}; {hint}")
    return Recipe(**values)


def _dataset(where: str) -> str:
    return where if where in dataset_names() else parse_name(where)[0]


@cache
def named_recipes() -> dict[str, dict[str, Any]]:
    """The recipes that have a name, `released:NAME` for what released scripts do: `about`, `source`, and a table of
    settings for each dataset, and for scenarios that have others."""
    files = sorted(_RECIPES.glob("*.toml"))
    return {path.stem.replace("released-", "released:"): read_toml(path, "recipe") for path in files}


def named_recipe(name: str, where: str) -> dict[str, Any]:
    """The settings of a named recipe for a dataset or a scenario. UsageError where there are none."""
    known = named_recipes()
    if name not in known:
        raise UsageError(f"unknown recipe {name!r}; {did_you_mean(name, known, cutoff=0.4)}")
    tables = tables_of(known[name])
    dataset = _dataset(where)
    if dataset not in tables:
        raise UsageError(f"recipe {name} has no settings for {dataset}; it has some for {', '.join(tables)}")
    return tables[dataset] | tables.get(where, {})


def tables_of(recipe: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of a named recipe by dataset and scenario."""
    return {name: table for name, table in recipe.items() if isinstance(table, dict)}


@cache
def _kinds() -> dict[str, Any]:
    """The kinds of the settings, with their ranges."""
    return get_type_hints(Recipe, include_extras=True)


def _checked(name: str, kind: Any, value: Any) -> Any:
    """A setting, text or typed, as its kind. UsageError where it is none."""
    if NoneType in get_args(kind):
        kind = get_args(kind)[0]
    kind, within = get_args(kind) if get_origin(kind) is Annotated else (kind, None)
    try:
        return parse_value(name, kind, value, within)
    except OptionError as error:
        raise UsageError(f"recipe: {error}") from None


def read_recipe_file(path: Path) -> dict[str, Any]:
    """The overrides in a TOML file of `setting = value` lines; `base = NAME` begins with a named recipe."""
    return read_toml(path, "recipe file")

"""Training recipes: the published ones by dataset, and how a user overrides them."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from issbench.errors import UsageError, did_you_mean
from issbench.files import read_toml
from issbench.methods.interface.options import OptionError, parse_value
from issbench.scenarios.datasets import dataset_class


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. The defaults are GSC's Section V and, where it is silent, the released codes."""

    epochs: int = 30
    """Epochs of a step."""
    first_epochs: int | None = None
    """Epochs of the first step; None: as the others."""
    lr: float = 1e-3
    """Initial learning rate of the steps after the first."""
    first_lr: float = 1e-2
    """Initial learning rate of the first step."""
    batch: int = 24
    """Images of a batch, over all processes."""
    crop: int = 512
    """Side of the training crop and of the centre crop at test, in pixels."""
    momentum: float = 0.9
    """Nesterov momentum."""
    weight_decay: float = 1e-4
    power: float = 0.9
    """Power of the polynomial decay of the learning rate, per iteration."""
    scale_min: float = 0.5
    scale_max: float = 2.0
    """Range of the area of the random-resized crop, relative to the image's, as torchvision defines it."""
    backbone: str = "resnet101"
    """A timm model with feature maps, or `tiny`."""
    weights: str = "imagenet"
    """`imagenet`, `none` (random), or a file with a state dict of the backbone."""
    output_stride: int = 16
    aspp_channels: int = 256
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Autocast; `auto` is bf16 on GPUs that have it, and fp32 elsewhere."""

    def __post_init__(self) -> None:
        for name in ("epochs", "first_epochs", "batch", "crop", "aspp_channels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"recipe: {name}={value}; it must be at least 1")
        for name in ("lr", "first_lr"):
            if not 0 < getattr(self, name) < inf:
                raise UsageError(f"recipe: {name}={getattr(self, name)}; a learning rate is above 0")
        if not (0 <= self.momentum < 1 and 0 <= self.weight_decay < inf and 0 <= self.power < inf):
            raise UsageError("recipe: momentum must lie in [0, 1), weight_decay and power must be at least 0")
        if self.batch < 2:
            raise UsageError("recipe: batch=1; batch normalisation needs at least 2 images in a batch")
        if self.output_stride not in (8, 16, 32):
            raise UsageError(f"recipe: output_stride={self.output_stride}; it is 8, 16 or 32")
        if not 0 < self.scale_min <= self.scale_max:
            raise UsageError("recipe: the crop's area range needs 0 < scale_min ≤ scale_max")

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


def make_recipe(dataset: str, overrides: Mapping[str, Any]) -> Recipe:
    """The dataset's recipe with `overrides` (text or typed values). Raises UsageError for an unknown setting."""
    hints = get_type_hints(Recipe)
    values = {}
    for name, value in {**dataset_class(dataset).recipe, **overrides}.items():
        if name not in hints:
            hint = did_you_mean(name, hints, f"settings: {', '.join(hints)}", cutoff=0.6)
            raise UsageError(f"unknown recipe setting {name!r}; {hint}")
        kind = hints[name]
        if isinstance(kind, types.UnionType):
            kind = next(k for k in get_args(kind) if k is not types.NoneType)
        try:
            values[name] = parse_value(name, kind, value)
        except OptionError as error:
            raise UsageError(f"recipe: {error}") from None
    return Recipe(**values)


def read_recipe_file(path: Path) -> dict[str, Any]:
    """The overrides in a TOML file of `setting = value` lines."""
    return read_toml(path, "recipe file")

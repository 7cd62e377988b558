"""An experiment: method × scenario × setting × order × seed × recipe."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

from issbench.bench.recipe import Recipe, make_recipe
from issbench.methods.interface.options import OptionError
from issbench.methods.interface.registry import method_info
from issbench.scenarios.orders import NATURAL
from issbench.scenarios.protocol import Protocol, get_protocol
from issbench.scenarios.scenario import check_setting, default_setting, parse_name


@dataclass(frozen=True)
class Experiment:
    """What is run. The defaults of the dataset are filled in, and every name is checked, on construction.

    `method` may carry options (`"gsc:lambda1=0.5,sg=off"`); `protocol` may be given by name, and `recipe` as the
    overrides of the dataset's recipe (`{"epochs": 3}`). Unknown names raise with the nearest known ones.
    """

    method: str
    scenario: str
    _: KW_ONLY
    setting: str = ""
    """`overlapped`, `disjoint` or `domain`; by default as the dataset is usually run."""
    order: str = NATURAL
    classes: tuple[str, ...] = ()
    """A subset of the dataset's classes, in learning order."""
    seed: int = 0
    protocol: Protocol = None  # type: ignore[assignment]  # filled in below
    recipe: Recipe = field(default_factory=dict)  # type: ignore[assignment]
    data: str | None = None
    """Directory of the dataset; no part of the experiment's identity."""

    def __post_init__(self) -> None:
        fill = partial(object.__setattr__, self)
        name, options = parse_method(self.method)
        fill("method", name + ":" * bool(options) + ",".join(f"{k}={v}" for k, v in sorted(options.items())))
        fill("setting", self.setting or default_setting(self.scenario))
        check_setting(self.setting)
        fill("classes", tuple(self.classes))
        if not isinstance(self.protocol, Protocol):
            fill("protocol", get_protocol(self.protocol, self.setting))
        if not isinstance(self.recipe, Recipe):
            fill("recipe", make_recipe(self.dataset, self.recipe))
        if self.data is not None:
            fill("data", str(self.data))

    @property
    def dataset(self) -> str:
        """The name of the dataset."""
        return parse_name(self.scenario)[0]

    @property
    def method_name(self) -> str:
        """The method without its options."""
        return parse_method(self.method)[0]

    @property
    def method_options(self) -> dict[str, str]:
        """The options that the user gave, as text."""
        return parse_method(self.method)[1]

    def describe(self) -> dict[str, Any]:
        """The experiment as plain values, for records."""
        return dataclasses.asdict(self) | {"dataset": self.dataset, "classes": list(self.classes)}

    @property
    def label(self) -> str:
        """The experiment in a line."""
        parts = (self.method, self.scenario, self.setting, self.order)
        return f"{' '.join(parts)} seed {self.seed}"

    @property
    def run_name(self) -> str:
        """The name of the run's folder: readable, and unique through a hash of everything but `data`."""
        identity = {key: value for key, value in self.describe().items() if key != "data"}
        digest = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=4).hexdigest()
        return f"{self.scenario}-{self.setting}-{self.method_name}-seed{self.seed}-{digest}"


def experiment_of(facts: Mapping[str, Any], data: str | None = None) -> Experiment:
    """The experiment that `describe` described; `data` in place of the directory that it names."""
    known = {key: facts[key] for key in ("method", "scenario", "setting", "order", "seed")}
    protocol, recipe = Protocol(**facts["protocol"]), Recipe(**facts["recipe"])
    return Experiment(
        **known, classes=tuple(facts["classes"]), protocol=protocol, recipe=recipe, data=data or facts["data"]
    )


def parse_method(spec: str) -> tuple[str, dict[str, str]]:
    """(`gsc`, {`lambda1`: `0.5`}) from `gsc:lambda1=0.5`; the method must exist. `mib+sg+pr` is `mib+pr+sg`."""
    name, _, text = spec.partition(":")
    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise OptionError(f"method {spec!r}: {part!r} is no option; write {name}:option=value")
        options[key.strip()] = value.strip()
    return method_info(name).name, options


def split_methods(text: str) -> list[str]:
    """The methods of `--methods gsc:sg=off,lambda1=0.5,plop`: a part with `=` but without a method's name
    continues the options of the method before it."""
    specs: list[str] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        if specs and "=" in part and ":" not in part:
            specs[-1] += ("," if ":" in specs[-1] else ":") + part
        else:
            specs.append(part)
    return specs

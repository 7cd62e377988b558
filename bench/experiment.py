"""An experiment: method × scenario × setting × order × seed × recipe. Needs no torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from issbench.bench.identity import what_differs
from issbench.bench.recipe import Recipe, make_recipe
from issbench.methods.interface.numbers import SEEDS
from issbench.methods.interface.options import OptionError, canonical_options, parse_value
from issbench.methods.interface.registry import method_info
from issbench.scenarios.draws import parse_share
from issbench.scenarios.orders import NATURAL, canonical_order
from issbench.scenarios.protocol import Protocol, get_protocol
from issbench.scenarios.scenario import canonical_setting, default_setting, parse_name


@dataclass(frozen=True, init=False)
class Experiment:
    """What is run. Every name is checked on construction, and everything is brought into one spelling: equal
    settings written in different ways are equal experiments."""

    method: str
    """Its name, with the options that differ from those of the scenario: `gsc:lambda1=0.5,sg=off`."""
    scenario: str
    setting: str
    order: str
    """`natural`, a name of the paper, `random:SEED`, or a list such as `3,1,2`."""
    classes: tuple[str, ...]
    """A subset of the dataset's classes, in learning order; empty for all."""
    images: str
    """How many of each step's training images are used: `1` for all, `0.3`, or `0.3:7` for another draw of them."""
    seed: int
    protocol: Protocol
    recipe: Recipe
    data: str | None
    """The directory of the dataset. What counts is its content, so this is not part of the identity."""
    metrics: tuple[str, ...]
    """Metrics that are computed beside the usual ones; they change no result, so they are not part of the
    identity."""
    allow_leak: bool
    """Whether training images may be test images, too. The images count, so this is not part of the identity."""

    def __init__(
        self,
        method: str,
        scenario: str,
        *,
        setting: str = "",
        order: str = NATURAL,
        classes: Iterable[str] = (),
        images: str | float = "1",
        seed: int = 0,
        protocol: Protocol | str | None = None,
        recipe: Recipe | Mapping[str, Any] | None = None,
        data: str | Path | None = None,
        metrics: Iterable[str] = (),
        allow_leak: bool = False,
    ) -> None:
        """`setting`: overlapped, disjoint, sequential, partitioned (`partitioned:3` is another draw) or domain, by
        default as the scenario is usually run. `images`: the fraction of each step's training images, 0.3, or
        `0.3:7` for another draw. `protocol`: a preset's name. `recipe`: overrides of the dataset's recipe
        (`{"epochs": 3}`), after `base`, the name of another. UsageError for unknown names, with the nearest known
        ones."""
        dataset = parse_name(scenario)[0]
        setting = canonical_setting(setting or default_setting(scenario))
        values: dict[str, Any] = {
            "method": canonical_method(method, scenario),
            "scenario": scenario,
            "setting": setting,
            "classes": tuple(classes),
            "order": canonical_order(order, dataset, setting, tuple(classes)),
            "images": str(parse_share(str(images))),
            "seed": parse_value("seed", int, seed, SEEDS),
            "protocol": protocol if isinstance(protocol, Protocol) else get_protocol(protocol, setting),
            "recipe": recipe if isinstance(recipe, Recipe) else make_recipe(scenario, recipe or {}),
            "data": None if data is None else str(data),
            "metrics": tuple(dict.fromkeys(metrics)),
            "allow_leak": allow_leak,
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

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
        """The options that differ from the scenario's, as text."""
        return parse_method(self.method)[1]

    def describe(self) -> dict[str, Any]:
        """The experiment as plain values, for records."""
        lists = {"classes": list(self.classes), "metrics": list(self.metrics)}
        differs = {"protocol": what_differs(self.protocol), "recipe": what_differs(self.recipe)}
        return dataclasses.asdict(self) | lists | {"dataset": self.dataset, "differs": differs}

    @property
    def identity(self) -> dict[str, Any]:
        """What tells experiments apart, but for the content of their data and what it makes of the order."""
        return {
            "method": self.method,
            "scenario": self.scenario,
            "setting": self.setting,
            "seed": self.seed,
            "protocol": what_differs(self.protocol),
            "recipe": what_differs(self.recipe),
            **({"images": self.images} if self.images != "1" else {}),
        }

    @property
    def label(self) -> str:
        """The experiment in a line."""
        parts = [self.method, self.scenario, self.setting, self.order]
        parts += [f"images {self.images}"] if self.images != "1" else []
        return f"{' '.join(parts)} seed {self.seed}"


def experiment_of(facts: Mapping[str, Any], data: str | None = None) -> Experiment:
    """The experiment that `describe` described; `data` in place of the directory that it names."""
    known = {key: facts[key] for key in ("method", "scenario", "setting", "order", "classes", "seed", "metrics")}
    protocol, recipe = Protocol(**facts["protocol"]), Recipe(**facts["recipe"])
    known |= {name: facts[name] for name in ("allow_leak", "images") if name in facts}  # older records lack them
    return Experiment(**known, protocol=protocol, recipe=recipe, data=data or facts["data"])


def parse_method(spec: str) -> tuple[str, dict[str, str]]:
    """(`gsc`, {`lambda1`: `0.5`}) from `gsc:lambda1=0.5`; the method must exist. `mib+sg+pr` is `mib+pr+sg`."""
    name, _, text = spec.partition(":")
    options = {}
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise OptionError(f"method {spec!r}: {part!r} is not an option; write {name}:option=value")
        if key.strip() in options:
            raise OptionError(f"method {spec!r}: {key.strip()} is given twice; give it once")
        options[key.strip()] = value.strip()
    return method_info(name).name, options


def canonical_method(spec: str, scenario: str) -> str:
    """A method in one spelling: only the options that differ from the scenario's. UsageError for unknown names."""
    name, options = parse_method(spec)
    return spec_of(name, canonical_options(method_info(name), scenario, options))


def spec_of(name: str, options: Mapping[str, str]) -> str:
    """`gsc:lambda1=0.5,sg=off`: a method with its options in alphabetic order."""
    return name + ":" * bool(options) + ",".join(f"{key}={value}" for key, value in sorted(options.items()))


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

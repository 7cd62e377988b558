"""Sweeps: the cross product of methods, scenarios, settings, orders, seeds and options. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from issbench.bench.experiment import Experiment, parse_method, spec_of
from issbench.errors import UsageError
from issbench.scenarios.orders import NATURAL


@dataclass(frozen=True)
class Axis:
    """The choices of options that a sweep tries for one method; `source` is how the user asked for them."""

    method: str
    choices: tuple[Mapping[str, str], ...]
    source: str

    @property
    def names(self) -> set[str]:
        """The options that any choice sets."""
        return {name for choice in self.choices for name in choice}


def grid(text: str) -> Axis:
    """The axis `METHOD:OPTION=VALUE,VALUE`; UsageError for anything else. The method must exist."""
    source = f"--grid {text}"
    method, colon, rest = text.partition(":")
    name, equals, listed = (part.strip() for part in rest.partition("="))
    values = tuple(dict.fromkeys(value.strip() for value in listed.split(",") if value.strip()))
    if not (colon and equals and name and values):
        raise UsageError(f"{source}: write --grid METHOD:OPTION=VALUE,VALUE, as in METHOD:weight=1,0.5")
    if any("=" in value for value in values):
        raise UsageError(f"{source}: one option for each --grid; repeat --grid for another, and all are combined")
    return Axis(parse_method(method.strip())[0], tuple({name: value} for value in values), source)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A cross product. Every field is one dimension, and so is each axis for the method that it names.

    `methods` may carry options; the setting `""` is the one in which a scenario's dataset is usually run.
    """

    methods: tuple[str, ...]
    scenarios: tuple[str, ...]
    settings: tuple[str, ...] = ("",)
    orders: tuple[str, ...] = (NATURAL,)
    seeds: tuple[int, ...] = (0,)
    axes: tuple[Axis, ...] = ()

    def specs(self) -> tuple[str, ...]:
        """The methods with each combination of their options. UsageError where an axis contradicts them."""
        names = [parse_method(spec)[0] for spec in self.methods]
        for axis in self.axes:
            if axis.method not in names:
                raise UsageError(
                    f"{axis.source}: {axis.method} is not among the methods {', '.join(self.methods)}; add it"
                )
        return tuple(dict.fromkeys(spec for method in self.methods for spec in self._variants(method)))

    def _variants(self, method: str) -> Iterator[str]:
        name, given = parse_method(method)
        taken = set(given)
        axes = [axis for axis in self.axes if axis.method == name]
        for axis in axes:
            if taken & axis.names:
                raise UsageError(
                    f"{axis.source}: {min(taken & axis.names)} of {method} is set already; give each option once"
                )
            taken |= axis.names
        for choices in product(*(axis.choices for axis in axes)):
            options = dict(given)
            for choice in choices:
                options |= choice
            yield spec_of(name, options)

    def experiments(self, **common: Any) -> list[Experiment]:
        """The experiments, each once; `common` is what they share. A whole table comes before its second seed."""
        places = product(self.seeds, self.scenarios, self.settings, self.orders)
        specs = self.specs()
        asked = (
            Experiment(spec, scenario, setting=setting, order=order, seed=seed, **common)
            for seed, scenario, setting, order in places
            for spec in specs
        )
        return list(dict.fromkeys(asked))


def union(sweeps: Iterable[Sweep], **common: Any) -> list[Experiment]:
    """The experiments of several sweeps; what two of them ask for is one."""
    return list(dict.fromkeys(each for sweep in sweeps for each in sweep.experiments(**common)))

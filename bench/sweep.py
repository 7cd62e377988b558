"""Sweeps: the cross product of methods, scenarios, settings, orders, seeds and options, and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from issbench.bench.experiment import Experiment, parse_method
from issbench.errors import UsageError
from issbench.files import read_json
from issbench.scenarios.orders import NATURAL

if TYPE_CHECKING:
    from issbench.bench.engine.plan import Plan
    from issbench.bench.engine.store import Store


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
            yield name + ":" * bool(options) + ",".join(f"{key}={value}" for key, value in options.items())

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


@dataclass(frozen=True)
class Count:
    """What a sweep costs. `steps` counts those of all runs; steps of one key are one of the `different` ones."""

    runs: int
    done: int
    steps: int
    different: int
    stored: int
    images: int
    """Images that the training of the missing steps goes through."""

    @property
    def shared(self) -> int:
        """How many trainings are saved because runs share steps."""
        return self.steps - self.different

    @property
    def to_train(self) -> int:
        """Steps that no run has trained yet."""
        return self.different - self.stored


def count(plans: Sequence[Plan], store: Store) -> Count:
    """Count the runs and the steps of a sweep, and those that the store has."""
    steps = [step for plan in plans for step in plan.steps]
    different = {step.key: step for step in steps}
    missing = [step for key, step in different.items() if not store.has_step(key)]
    done, stored = sum(is_done(plan, store) for plan in plans), len(different) - len(missing)
    images = sum(step.images_seen for step in missing)
    return Count(len(plans), done, len(steps), len(different), stored, images)


def is_done(plan: Plan, store: Store) -> bool:
    """Whether the store has the whole record of a run, made of just these steps, and the counts of its tests."""
    try:
        steps = read_json(store.run_dir(plan.experiment.run_name) / "run.json")["steps"]
        keys = [step["key"] for step in steps]
    except (OSError, ValueError, KeyError, TypeError):  # none, or one that cannot be read: it is written anew
        return False
    return keys == [step.key for step in plan.steps] and all(
        (store.step_dir(step.key) / f"{plan.evaluation_name(step)}.npz").is_file() for step in plan.steps
    )

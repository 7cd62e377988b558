"""From an experiment to its steps: data, recipe and key of each, before anything is trained."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from issbench.bench.engine.environment import has_bf16
from issbench.bench.engine.loading import BatchOrder
from issbench.bench.engine.store import hash_of
from issbench.bench.experiment import Experiment
from issbench.errors import UsageError
from issbench.methods.interface.options import parse_options
from issbench.methods.interface.registry import load_method
from issbench.methods.interface.source import code_of
from issbench.methods.method import Method, Step
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset, Split
from issbench.scenarios.presence import Presence, presence
from issbench.scenarios.protocol import Protocol
from issbench.scenarios.scenario import Scenario, make_scenario
from issbench.scenarios.views import StepData, View, step_data

NUMERICS = 2
"""Raised by hand when a change of the engine, the network or what methods share changes results."""

_FIRST_STEP = "cross-entropy"
"""The method of the first step, which all methods share."""

OnScan = Callable[[str, int, int], None]


@dataclass(frozen=True)
class StepPlan:
    """One step to compute. `key` names its result in the store, `previous` the step that it starts from."""

    key: str
    previous: str | None
    identity: dict[str, Any]
    data: StepData
    settings: dict[str, Any]
    """The recipe of this step."""
    seed: int
    method: str | None
    """The method that trains the step; None: the first step that all methods share."""
    options: Any
    test_view: str
    """A hash of the test images and how their labels read."""

    @property
    def index(self) -> int:
        """The number of the step in its scenario."""
        return self.data.index

    @property
    def images_seen(self) -> int:
        """Images that the training goes through, each counted as often as it is seen."""
        batch, epochs = self.settings["batch"], self.settings["epochs"]
        return batch * len(BatchOrder(len(self.data.train.ids), batch, epochs, self.seed, self.index))

    @property
    def channels_per_step(self) -> tuple[int, ...]:
        """Classifier channels that each step up to this one added; the first has the background."""
        first, *later = self.data.classes_per_step
        return (1 + first, *later)


@dataclass(frozen=True)
class Data:
    """A dataset and the class presence of its splits."""

    dataset: Dataset
    train: Presence
    test: Presence
    _steps: dict[Any, tuple[StepData, str, str]] = field(default_factory=dict, compare=False, repr=False)

    def step(
        self, scenario: Scenario, protocol: Protocol, index: int, cumulative: bool
    ) -> tuple[StepData, str, str]:
        """The data of a step, and hashes of what it trains on and of what it is tested on; worked out once for all
        runs of a sweep that share them."""
        asked = (scenario, protocol, index, cumulative)
        if asked not in self._steps:
            data = step_data(scenario, self.dataset, protocol, index, self.train, self.test, cumulative)
            self._steps[asked] = (data, _view_identity(data.train), _view_identity(data.test))
        return self._steps[asked]


@dataclass(frozen=True)
class Plan:
    """The steps of an experiment in order; `steps` lacks those that the method skips."""

    experiment: Experiment
    data: Data
    scenario: Scenario
    device: torch.device

    @property
    def run_name(self) -> str:
        """The name of the run's folder."""
        return self.experiment.run_name

    @property
    def dataset(self) -> Dataset:
        """The dataset."""
        return self.data.dataset

    @cached_property
    def method(self) -> type[Method]:
        """The class of the method."""
        return load_method(self.experiment.method_name)

    @cached_property
    def options(self) -> Any:
        """The method's options: its defaults, those published for the dataset, those of the user."""
        method = self.method
        published = method.published.get(self.dataset.name)
        return parse_options(method.name, method.Options, self.experiment.method_options, published)

    @cached_property
    def method_identity(self) -> dict[str, Any]:
        """What makes the method's result its own: name, options, and the code of its file."""
        options = dataclasses.asdict(self.options)
        return {"name": self.experiment.method_name, "options": options, "code": code_of(self.method)}

    @cached_property
    def steps(self) -> tuple[StepPlan, ...]:
        """The steps that the method trains."""
        last = len(self.scenario.steps) - 1
        plans: list[StepPlan] = []
        for index in range(last + 1):
            if index == 0 or self.method.trains(self.options, index, last):
                alone = index == 0 or self.method.cumulative
                plans.append(self._step(index, None if alone else plans[-1].key))
        return tuple(plans)

    def _step(self, index: int, previous: str | None) -> StepPlan:
        experiment, cumulative = self.experiment, index > 0 and self.method.cumulative
        data, view, test_view = self.data.step(self.scenario, experiment.protocol, index, cumulative)
        # Joint training starts afresh, so it follows the recipe of a first step.
        settings = experiment.recipe.for_step(0 if cumulative else index)
        if settings["precision"] == "auto":
            settings["precision"] = "bf16" if has_bf16(self.device) else "fp32"
        identity = {
            "numerics": NUMERICS,
            "previous": previous,
            "step": index,
            "method": _FIRST_STEP if index == 0 else self.method_identity,
            "dataset": self.dataset.name,
            "labels": [self.data.train.content, *([self.data.test.content] if data.domain else [])],
            "view": view,
            "classes_per_step": list(data.classes_per_step),
            "domain": data.domain,
            "recipe": settings | {"weights": _content(settings["weights"])},
            "seed": experiment.seed,
        }
        method = None if index == 0 else experiment.method_name
        options = None if index == 0 else self.options
        key, seed = hash_of(identity), experiment.seed
        return StepPlan(key, previous, identity, data, settings, seed, method, options, test_view)

    def evaluation_name(self, step: StepPlan) -> str:
        """Names a step's evaluation by the test images, how their labels read, and the crop."""
        view, labels, crop = step.test_view, self.data.test.content, step.settings["crop"]
        return f"evaluation-{hash_of({'view': view, 'labels': labels, 'crop': crop})}"

    def state_name(self) -> str:
        """Names the state that the method draws from the finished first step (`Method.end`)."""
        return f"state-{hash_of(self.method_identity)}"


def open_data(experiment: Experiment, on_scan: OnScan | None = None) -> Data:
    """The experiment's dataset; reads every label, unless the table of class presence is cached."""
    dataset = load_dataset(experiment.dataset, experiment.data)
    if experiment.setting == "domain":
        dataset = dataset.with_domains()

    def scan(split: Split) -> Presence:
        report = None if on_scan is None else (lambda done, total: on_scan(f"{dataset.name} {split}", done, total))
        return presence(dataset, split, report)

    return Data(dataset, scan("train"), scan("test"))


def make_plan(experiment: Experiment, data: Data, device: torch.device) -> Plan:
    """Lay out the steps of an experiment; every mistake of the user that is left shows here."""
    scenario = make_scenario(
        experiment.scenario, data.dataset, experiment.setting, experiment.order, experiment.classes
    )
    plan = Plan(experiment, data, scenario, device)
    for step in plan.steps:  # their making checks the options of the method
        if not step.data.train.ids:
            raise UsageError(
                f"step {step.index} of {scenario.name} has no training image in {data.dataset.name}: none holds "
                "its classes; choose --classes that the data have, or another split"
            )
    return plan


def step_of(plan: StepPlan, feature_channels: int, encoder_channels: int) -> Step:
    """The step as its method sees it."""
    data = plan.data
    return Step(data.index, data.classes_per_step, data.domain, feature_channels, encoder_channels)


def _content(weights: str) -> str:
    """First weights by what they are: a file by a hash of its bytes."""
    path = Path(weights)
    return _hash_of_file(path, path.stat().st_mtime_ns) if path.is_file() else weights


@lru_cache(maxsize=16)
def _hash_of_file(path: Path, changed: int) -> str:
    """A hash of a file as it was `changed` last; every step of a sweep asks for it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24]


def _view_identity(view: View) -> str:
    return hash_of([list(view.ids), np.asarray(view.table).tolist()])

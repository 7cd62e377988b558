"""From an experiment to its steps: data, recipe and key of each, before anything is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch

from issbench.bench import data as opening
from issbench.bench.data import Data, OnScan, StepView
from issbench.bench.engine import distributed, planned
from issbench.bench.engine.assemble import channels_per_step
from issbench.bench.engine.environment import has_bf16
from issbench.bench.engine.first_weights import weights_identity
from issbench.bench.engine.order import BatchOrder
from issbench.bench.engine.seeds import derive_seed
from issbench.bench.experiment import Experiment
from issbench.bench.fingerprint import class_fingerprint, fingerprint
from issbench.bench.identity import hash_of, what_differs
from issbench.bench.metrics import Metric, counters, metrics_for
from issbench.bench.recipe import Recipe
from issbench.errors import UsageError
from issbench.methods.interface.head import Classifier
from issbench.methods.interface.options import resolved_options
from issbench.methods.interface.registry import load_method, method_info
from issbench.methods.method import Exemplars, Method, NoOptions, Step
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.memory import NO_MEMORY, Memory
from issbench.scenarios.scenario import Scenario, check_split
from issbench.scenarios.soundness import unlearnable, unlearned, untested

_ENGINE = "issbench.bench.engine"
TRAINING = (
    (f"{_ENGINE}.assemble", "assemble"),
    (f"{_ENGINE}.order", "BatchOrder"),
    (f"{_ENGINE}.samples", "TrainingSamples"),
    (f"{_ENGINE}.samples", "Normalise"),
    (f"{_ENGINE}.loading", "Share"),
    (f"{_ENGINE}.training", "train"),
    ("issbench.methods.method", "Method"),
    ("issbench.scenarios.datasets.images", "read_image"),
    ("issbench.scenarios.decoded", "Pairs"),
)
"""The code that trains: with all that it names it is in the key of each step."""
TESTING = (
    (f"{_ENGINE}.evaluation", "count_images"),
    (f"{_ENGINE}.samples", "Samples"),
    (f"{_ENGINE}.samples", "Normalise"),
    ("issbench.scenarios.datasets.images", "read_image"),
    ("issbench.scenarios.decoded", "Pairs"),
)
"""The code that tests: it is in the name of each evaluation."""

_code_of = cache(fingerprint)

_FIRST_STEP = "cross-entropy"
"""The method of the first step, which all methods share."""


@dataclass(frozen=True)
class StepPlan:
    """One step to compute. `key` names its result in the store, `previous` the step that it starts from."""

    key: str
    previous: str | None
    identity: dict[str, Any]
    """What the key is a hash of."""
    view: StepView
    recipe: Recipe
    """The recipe of this step; its precision is decided."""
    seed: int
    method: str | None
    """The method that trains the step; None: the first step that all methods share."""
    method_class: type[Method]
    options: Any
    """What trains the step: of the shared first step plain fine-tuning, of an own one the method without parts."""
    memory: Memory
    """Images of earlier steps that it sees again."""
    evaluations: dict[str, str]
    """For each kind of counts the name of the test that gives them."""

    @property
    def index(self) -> int:
        """The number of the step in its scenario."""
        return self.view.data.index

    @property
    def place(self) -> Step:
        """Where in its scenario it is."""
        data = self.view.data
        return Step(data.index, data.classes_per_step, data.domain, old_labelled=data.old_labelled)

    @property
    def train_ids(self) -> tuple[str, ...]:
        """The images that the step trains on."""
        return self.view.data.train.ids

    @property
    def order(self) -> BatchOrder:
        """The order in which it sees them."""
        recipe, kept, wanted = self.recipe, len(self.memory.ids), self.method_class.exemplars(self.options)
        share = wanted.share if wanted else 0.0
        return BatchOrder(len(self.train_ids), recipe.batch, recipe.epochs, self.seed, self.index, kept, share)

    @property
    def images_seen(self) -> int:
        """Images that the training goes through, each counted as often as it is seen."""
        return self.recipe.batch * len(self.order)

    @property
    def channels_per_step(self) -> tuple[int, ...]:
        """Classifier channels that each step up to this one added; the first has the background."""
        return channels_per_step(self.view.data.classes_per_step)


@dataclass(frozen=True)
class Plan:
    """The steps of an experiment in order; `steps` lacks those that the method skips."""

    experiment: Experiment
    data: Data
    scenario: Scenario
    device: torch.device

    @property
    def needs_no_other(self) -> bool:
        """Whether each step starts from the recipe's first weights, as those of joint training do: then they can be
        carried out in any order, and beside each other."""
        return all(step.previous is None for step in self.steps)

    @property
    def dataset(self) -> Dataset:
        """What the images and labels are read from."""
        return self.data.dataset

    @cached_property
    def run_name(self) -> str:
        """The name of the run's folder."""
        return opening.run_name(self.experiment, self.data, self.scenario)

    @cached_property
    def method(self) -> type[Method]:
        """The class of the method."""
        return load_method(self.experiment.method_name)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """All options with their values: the method's defaults, those published for dataset and scenario, those
        of the user."""
        e = self.experiment
        return resolved_options(method_info(e.method_name), e.scenario, e.method_options)

    @cached_property
    def options(self) -> Any:
        """The options as the method takes them."""
        return self.method.Options(**self.resolved)

    def _trained_by(self, index: int) -> tuple[str | None, type[Method], Any]:
        """Name, class and options of what trains a step. The first step has no name where all methods share it;
        else it is the method without its parts, with the options that matter there."""
        if index:
            return self.experiment.method_name, self.method, self.options
        if not self.method.own_first_step:
            return None, Method, NoOptions()
        name = self.method.first_step_of or self.experiment.method_name.partition("+")[0]
        method, info = load_method(name), method_info(name)
        given = {k: v for k, v in self.experiment.method_options.items() if k in method.first_step_options}
        return name, method, method.Options(**resolved_options(info, self.experiment.scenario, given))

    @cached_property
    def metrics(self) -> list[Metric]:
        """What is measured: the usual metrics, and those that the experiment asks for."""
        return metrics_for(self.experiment.metrics)

    @cached_property
    def method_identity(self) -> dict[str, Any]:
        """What makes the method's result its own."""
        return _method_identity(self.experiment.method_name, self.method, self.options)

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

    @cached_property
    def sources(self) -> dict[str, Any]:
        """What the plan is worked out from, for those who want to know later whether it would be the same."""
        return planned.sources(self.experiment, self.data, self.device.type)

    @property
    def remarks(self) -> list[str]:
        """What of the data may be meant, but is worth a look before the training."""
        data, scenario = self.data, self.scenario
        absent = unlearned(data.dataset, scenario, data.train), untested(data.dataset, scenario, data.test)
        return [*data.remarks, *filter(None, absent)]

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The key of each step with the name of each of its evaluations."""
        return tuple((step.key, name) for step in self.steps for name in step.evaluations.values())

    def _step(self, index: int, previous: str | None) -> StepPlan:
        experiment, cumulative = self.experiment, index > 0 and self.method.cumulative
        view = self.data.view(self.scenario, experiment.protocol, index, cumulative)
        # Joint training starts afresh, so it follows the recipe of a first step.
        recipe = decided(experiment.recipe.for_step(0 if cumulative else index), self.device)
        name, method, options = self._trained_by(index)
        settings = what_differs(recipe)
        settings.pop("weights", None)  # their content counts, and of later steps only that of the step before
        identity: dict[str, Any] = {
            "code": _code_of(*TRAINING),
            "previous": previous,
            "step": index,
            "method": _method_identity(name, method, options) if name else _FIRST_STEP,
            "dataset": self.dataset.name,
            "data": view.train,
            "classes_per_step": list(view.data.classes_per_step),
            "domain": view.data.domain,
            "recipe": settings,
            "weights": None if previous else weights_identity(recipe.backbone, recipe.weights),
            "seed": experiment.seed,
        }
        if view.data.old_labelled:  # named only where it is so: other keys stay as they are
            identity["old_labelled"] = True
        if method.Head is not Classifier:
            identity["own_head"] = True  # so that who reads the weights knows where to look
        memory = self._memory(index, method.exemplars(options))
        if memory.ids:  # which labels are theirs, and their share of a batch, follow from the method's options
            identity["exemplars"] = [memory.ids, memory.steps]
        kinds = counters(self.metrics)
        evaluations = {kind: _evaluation_name(view, recipe, kind, metric) for kind, metric in kinds.items()}
        key, seed = hash_of(identity), experiment.seed
        return StepPlan(key, previous, identity, view, recipe, seed, name, method, options, memory, evaluations)

    def _memory(self, index: int, wanted: Exemplars | None) -> Memory:
        """The images of earlier steps that a step sees again."""
        if wanted is None:
            return NO_MEMORY
        seeds = [derive_seed(self.experiment.seed, "exemplars", step) for step in range(index)]
        own, protocol = wanted.labels == "own", self.experiment.protocol
        return self.data.memory(self.scenario, protocol, index, wanted.images, own, seeds)

    def state_name(self) -> str:
        """Names the state that the method draws from the finished first step (`Method.after_first_step`)."""
        return f"state-{hash_of(self.method_identity)}"


def _method_identity(name: str, method: type[Method], options: Any) -> dict[str, Any]:
    """Name, options that differ from the defaults, and code."""
    return {"name": name, "options": what_differs(options), "code": class_fingerprint(method)}


def decided(recipe: Recipe, device: torch.device) -> Recipe:
    """The recipe with the precision that `auto` is on a device."""
    if recipe.precision != "auto":
        return recipe
    return dataclasses.replace(recipe, precision="bf16" if has_bf16(device) else "fp32")


def make_plans(
    experiments: Sequence[Experiment], device: torch.device, on_scan: OnScan | None = None
) -> list[Plan]:
    """The plans of all experiments; what they read from the same directory is opened once."""
    with distributed.main_first():  # it leaves the tables of class presence in the cache
        opened = opening.open_all(experiments, on_scan)
    return [make_plan(experiment, data, device) for experiment, data in zip(experiments, opened, strict=True)]


def make_plan(experiment: Experiment, data: Data, device: torch.device) -> Plan:
    """Lay out the steps of an experiment; every mistake of the user that is left shows here."""
    plan = Plan(experiment, data, opening.scenario_of(experiment, data), device)
    check_split(plan.scenario)
    _ = plan.sources  # read now: a plug-in may be edited before the run is done
    for step in plan.steps:  # their making checks the options of the method
        if fault := unlearnable(data.dataset, plan.scenario, step.index, data.train):
            raise UsageError(fault)
        if not step.train_ids:
            raise UsageError(
                f"step {step.index} of {plan.scenario.name} has no training image in {data.dataset.name}: "
                "none is of its domains; choose another split, or order of domains"
            )
    return plan


def _evaluation_name(view: StepView, recipe: Recipe, kind: str, metric: type[Metric]) -> str:
    """Names a test by the content of its images and labels, the crop, and the code that counts."""
    return f"evaluation-{hash_of([view.test, recipe.crop, kind, _code_of(*TESTING), class_fingerprint(metric)])}"

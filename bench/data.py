"""A dataset that is opened for experiments: what each step reads, and the identity of that. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from issbench.bench.experiment import Experiment
from issbench.bench.identity import hash_of
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset, Split
from issbench.scenarios.decoded import Pairs
from issbench.scenarios.memory import NO_MEMORY, Memory, keep
from issbench.scenarios.presence import Presence, all_in_one, content_of, presence
from issbench.scenarios.protocol import Protocol
from issbench.scenarios.scenario import Scenario, make_scenario
from issbench.scenarios.soundness import label_fault, leak_fault, leaks, list_faults, remarks
from issbench.scenarios.views import StepData, View, step_data

OnScan = Callable[[str, int, int], None]
"""Called with what is scanned, and how many of how many files were read."""


@dataclass(frozen=True)
class StepView:
    """The data of a step, with hashes of what it trains on and is tested on: the content of the images and
    labels, and how the labels read."""

    data: StepData
    train: str
    test: str


@dataclass(frozen=True)
class Data:
    """A dataset and the class presence of its splits. What several runs ask for is worked out once."""

    dataset: Dataset
    train: Presence
    test: Presence
    _views: dict[tuple[object, ...], StepView] = field(default_factory=dict, compare=False, repr=False)
    _memories: dict[tuple[object, ...], Memory] = field(default_factory=dict, compare=False, repr=False)

    def view(self, scenario: Scenario, protocol: Protocol, index: int, cumulative: bool = False) -> StepView:
        """The data of a step; `cumulative` gives all images and labels seen so far."""
        asked = (scenario, protocol, index, cumulative)
        if asked not in self._views:
            data = step_data(scenario, self.dataset, protocol, index, self.train, self.test, cumulative)
            self._views[asked] = StepView(data, self._identity(data.train), self._identity(data.test))
        return self._views[asked]

    def memory(
        self, scenario: Scenario, protocol: Protocol, index: int, size: int, own_labels: bool, seeds: Sequence[int]
    ) -> Memory:
        """The exemplars that step `index` sees again, at most `size`: with the labels of the step in which each was
        drawn, or with those of all classes up to now. `seeds` has one for each step before."""
        memory = self._kept(scenario, protocol, size, tuple(seeds))
        if own_labels:
            return memory
        table = self.view(scenario, protocol, index, cumulative=True).data.train.table
        return replace(memory, tables=(table,) * index)

    def _kept(self, scenario: Scenario, protocol: Protocol, size: int, seeds: tuple[int, ...]) -> Memory:
        """What is kept after as many steps as there are seeds; each step chooses from what was kept before it."""
        asked = (scenario, protocol, size, seeds)
        if not seeds:
            return NO_MEMORY
        if asked not in self._memories:
            before = self._kept(scenario, protocol, size, seeds[:-1])
            earlier = [self.view(scenario, protocol, step).data for step in range(len(seeds))]
            self._memories[asked] = keep(size, before, earlier, (self.train, self.test), seeds[-1])
        return self._memories[asked]

    def _identity(self, view: View) -> str:
        return hash_of([content_of(view.ids, (self.train, self.test)), view.table.tolist()])

    @cached_property
    def content(self) -> str:
        """The identity of all images and labels of the dataset (16 hex digits), whether a step reads them or
        not."""
        return hash_of([[split.ids, split.images, split.labels] for split in (self.train, self.test)], 16)

    @cached_property
    def pairs(self) -> Pairs:
        """Its images and labels."""
        return Pairs(self.dataset, self.train, self.test)

    @cached_property
    def leaks(self) -> dict[str, str]:
        """Training images that are test images, too: the ids of both."""
        return leaks(self.train, self.test)

    @cached_property
    def remarks(self) -> list[str]:
        """What of the data may be meant, but is worth a look."""
        return remarks(self.dataset, self.train, self.test)

    def identity(self, scenario: Scenario, protocol: Protocol) -> str:
        """The identity of all images and labels that the steps of a scenario read (16 hex digits)."""
        views = [self.view(scenario, protocol, index) for index in range(len(scenario.steps))]
        return hash_of([[view.train, view.test] for view in views], 16)


def open_data(experiment: Experiment, on_scan: OnScan | None = None) -> Data:
    """The experiment's dataset; reads every file of it that has changed since it was read before.

    DataError where lists or labels as a whole are wrong, and where training images are test images, too, unless the
    experiment allows that.
    """
    dataset = load_dataset(experiment.dataset, experiment.data)
    if experiment.setting == "domain":
        dataset = dataset.with_domains()

    if faults := list_faults(dataset):
        raise all_in_one(faults)

    def scan(split: Split) -> Presence:
        report = None if on_scan is None else (lambda done, total: on_scan(f"{dataset.name} {split}", done, total))
        return presence(dataset, split, report)

    data = Data(dataset, scan("train"), scan("test"))
    leak = "" if experiment.allow_leak else leak_fault(data.train, data.leaks)
    if faults := [*filter(None, (label_fault(dataset, data.train, data.test), leak))]:
        raise all_in_one(faults)
    return data


def open_all(experiments: Iterable[Experiment], on_scan: OnScan | None = None) -> list[Data]:
    """The dataset of each experiment; what several of them read is opened once."""
    opened: dict[tuple[str, str | None, bool, bool], Data] = {}
    found = []
    for experiment in experiments:
        where = (experiment.dataset, experiment.data, experiment.setting == "domain", experiment.allow_leak)
        if where not in opened:
            opened[where] = open_data(experiment, on_scan)
        found.append(opened[where])
    return found


def scenario_of(experiment: Experiment, data: Data) -> Scenario:
    """The experiment's scenario on its dataset. UsageError for a split, an order or classes that do not fit."""
    e = experiment
    return make_scenario(e.scenario, data.dataset, e.setting, e.order, e.classes, e.images)


def run_name(experiment: Experiment, data: Data, scenario: Scenario) -> str:
    """The name of the run's folder: readable, and unique through a hash of the experiment, of the classes that each
    step learns, and of the content of the images and labels."""
    content = data.identity(scenario, experiment.protocol)
    digest = hash_of([experiment.identity, scenario.steps, content], 8)
    return f"{readable_name(experiment)}-{digest}"


def readable_name(experiment: Experiment) -> str:
    """The beginning of the name of the run's folder, which does not depend on the data."""
    return name_of(experiment.scenario, experiment.setting, experiment.method_name, experiment.seed)


def name_of(scenario: str, setting: str, method: str, seed: int) -> str:
    """The beginning of the name of a run's folder. No file of Windows may have the colon of `partitioned:3`."""
    return f"{scenario}-{setting.replace(':', '-')}-{method}-seed{seed}"

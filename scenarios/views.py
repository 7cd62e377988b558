"""What a step sees: its images, and how the dataset's labels read at that step.

The rules are those of the field (MiB, PLOP); `Protocol` holds the points in which code bases differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from issbench.scenarios.datasets.base import IGNORE, Dataset
from issbench.scenarios.draws import drawn
from issbench.scenarios.presence import Presence, classes_of
from issbench.scenarios.protocol import Protocol
from issbench.scenarios.scenario import Scenario


@dataclass(frozen=True)
class View:
    """Sample ids of a split, and the table (uint8 [256]) that maps a dataset label to a channel or 255."""

    ids: tuple[str, ...]
    table: np.ndarray


@dataclass(frozen=True)
class StepData:
    """The data of one step.

    `classes_per_step` counts the new foreground classes of each step up to this one; the network has one
    channel more, the background. In the setting `domain` there is one entry for all classes but the first.
    """

    index: int
    train: View
    test: View
    classes_per_step: tuple[int, ...]
    domain: bool
    old_labelled: bool = False
    """Whether the training labels hold the old classes, too (setting `sequential`)."""

    @property
    def num_classes(self) -> int:
        """Channels of the network after this step, background included."""
        return 1 + sum(self.classes_per_step)


def step_data(
    scenario: Scenario,
    dataset: Dataset,
    protocol: Protocol,
    step: int,
    train: Presence,
    test: Presence,
    cumulative: bool = False,
) -> StepData:
    """The data of step `step`. `cumulative` gives all images and labels seen so far (joint training)."""
    make = _domain_step if scenario.setting == "domain" else _class_step
    return make(scenario, dataset, protocol, step, train, test, cumulative)


def _class_step(
    scenario: Scenario,
    dataset: Dataset,
    protocol: Protocol,
    step: int,
    train: Presence,
    test: Presence,
    cumulative: bool,
) -> StepData:
    seen = scenario.learned[: sum(map(len, scenario.steps[: step + 1]))]
    rows = np.zeros(len(train.ids), bool)
    for t in range(0 if cumulative else step, step + 1):
        rows |= training_rows(scenario, t, train)
    sequential = scenario.setting == "sequential"
    labelled = seen if cumulative or sequential else scenario.steps[step]
    train_table = _table(seen, labelled, others=0)
    if protocol.void == "background":
        train_table[IGNORE] = 0
    test_table = _table(seen, seen, others=0 if protocol.future == "background" else IGNORE)
    for label in set(range(1, len(dataset.classes) + 1)) - set(scenario.learned):
        test_table[label] = 0  # a class outside the scenario is background for good
    return StepData(
        index=step,
        train=View(_pick(train.ids, rows), train_table),
        test=View(_pick(test.ids, _test_rows(scenario, dataset, protocol, seen, test.table)), test_table),
        classes_per_step=tuple(len(new) for new in scenario.steps[: step + 1]),
        domain=False,
        old_labelled=sequential and step > 0 and not cumulative,  # joint training has all labels in each setting
    )


def training_rows(scenario: Scenario, step: int, train: Presence) -> np.ndarray:
    """Which images (bool [images]) a class-incremental step trains on, from their class presence: the scenario's
    share of those of its setting."""
    rows = _rows_of_setting(scenario, step, train)
    if scenario.images.fraction < 1:
        places = np.flatnonzero(rows)
        held = train.table[places][:, list(scenario.steps[step])]
        rows[places] = scenario.images.of([train.ids[place] for place in places], held)
    return rows


def _rows_of_setting(scenario: Scenario, step: int, train: Presence) -> np.ndarray:
    """overlapped: at least one pixel of a new class; disjoint, sequential: besides, no pixel of a class to come;
    partitioned: an image is the step's where the class that it was given to is new.
    """
    if scenario.setting == "partitioned":
        return np.isin(given_to(scenario, train), scenario.steps[step])
    rows = _hold(train.table, scenario.steps[step])
    if scenario.setting in ("disjoint", "sequential"):
        future = [label for later in scenario.steps[step + 1 :] for label in later]
        rows &= ~_hold(train.table, future)
    return rows


def given_to(scenario: Scenario, train: Presence) -> np.ndarray:
    """The class (int [images]) to which the setting `partitioned` gives each image: one of those of the scenario
    that it holds, 0 where it holds none. The order in which they are learned does not matter."""
    held = np.zeros_like(train.table)
    held[:, sorted(scenario.learned)] = train.table[:, sorted(scenario.learned)]
    counts = held.sum(axis=1)
    places = drawn("partition", scenario.draw, train.ids) % np.maximum(counts, 1).astype(np.uint64)
    chosen = held & (held.cumsum(axis=1) == 1 + places[:, None])
    return np.where(counts > 0, chosen.argmax(axis=1), 0)


def _hold(table: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Which images (bool [images]) hold at least one of some labels."""
    return np.asarray(table[:, list(labels)].any(axis=1))


def _test_rows(
    scenario: Scenario, dataset: Dataset, protocol: Protocol, seen: tuple[int, ...], table: np.ndarray
) -> np.ndarray:
    if protocol.test_images == "seen":
        return _hold(table, seen)
    if len(scenario.learned) == len(dataset.classes):
        return np.ones(len(table), bool)
    return _hold(table, scenario.learned)  # of a subset of classes: images without any of them are left out


def _table(seen: tuple[int, ...], labelled: tuple[int, ...], others: int) -> np.ndarray:
    """Labels to channels: `labelled` keep their place in learning order, background 0, ignore 255."""
    table = np.full(256, others, np.uint8)
    table[0], table[IGNORE] = 0, IGNORE
    for label in labelled:
        table[label] = 1 + seen.index(label)
    return table


def _domain_step(
    scenario: Scenario,
    dataset: Dataset,
    protocol: Protocol,
    step: int,
    train: Presence,
    test: Presence,
    cumulative: bool,
) -> StepData:
    seen = tuple(item for items in scenario.steps[: step + 1] for item in items)
    # Without a background the classes 1 … N are the channels 0 … N-1.
    first = 0 if dataset.background is not None else 1
    table = np.full(256, IGNORE, np.uint8)
    table[first : len(dataset.classes) + 1] = np.arange(len(dataset.classes) + 1 - first)
    train_table = table.copy()
    if protocol.void == "background" and dataset.background is not None:
        train_table[IGNORE] = 0
    released = protocol.domain_split == "released"
    train_ids = _of_domains(dataset, seen if cumulative else scenario.steps[step])
    train_ids = _released_split(train_ids)[0] if released else train_ids
    if scenario.images.fraction < 1:
        # The released code splits what joint training sees as one list, not step by step.
        steps = scenario.steps[0 if cumulative else step : step + 1]
        parts = [train_ids] if released else [_of_domains(dataset, domains) for domains in steps]
        used = {sample for part in parts for sample in _share(scenario, part, (train, test))}
        train_ids = tuple(sample for sample in train_ids if sample in used)
    test_ids = _released_split(_of_domains(dataset, seen))[1] if released else test.ids
    return StepData(
        index=step,
        train=View(train_ids, train_table),
        test=View(test_ids, table),
        classes_per_step=(len(dataset.classes) - first,),
        domain=True,
    )


def _share(scenario: Scenario, ids: tuple[str, ...], splits: Sequence[Presence]) -> tuple[str, ...]:
    """The scenario's share of a domain-incremental step's images; some are of the test split."""
    return _pick(ids, scenario.images.of(ids, classes_of(ids, splits)[:, 1:]))


def _of_domains(dataset: Dataset, domains: tuple[int, ...]) -> tuple[str, ...]:
    wanted = {dataset.domains[index] for index in domains}
    return tuple(sample for sample in dataset.domain_ids() if dataset.domain(sample) in wanted)


def _released_split(ids: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The split of PLOP's and RCIL's released code: shuffle this very list with seed 1, cut at 80 %."""
    shuffled = list(ids)
    np.random.RandomState(1).shuffle(shuffled)
    cut = int(0.8 * len(shuffled))
    return tuple(shuffled[:cut]), tuple(shuffled[cut:])


def _pick(ids: tuple[str, ...], rows: np.ndarray) -> tuple[str, ...]:
    return tuple(ids[i] for i in np.flatnonzero(rows))

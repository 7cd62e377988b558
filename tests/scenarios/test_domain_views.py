"""What a domain-incremental step sees: the images of its domains, all labels given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset, Split
from issbench.scenarios.datasets.cityscapes import Cityscapes
from issbench.scenarios.datasets.shapes import Shapes
from issbench.scenarios.presence import Presence, presence
from issbench.scenarios.protocol import PROTOCOLS, Protocol, get_protocol
from issbench.scenarios.scenario import Scenario, make_scenario
from issbench.scenarios.views import StepData, step_data


def steps(
    dataset: Dataset, scenario: Scenario, protocol: str | Protocol | None = None, cumulative: bool = False
) -> list[StepData]:
    """All steps of a scenario."""
    if not isinstance(protocol, Protocol):
        protocol = get_protocol(protocol, scenario.setting)
    parts = presence(dataset, "train"), presence(dataset, "test")
    return [step_data(scenario, dataset, protocol, t, *parts, cumulative) for t in range(len(scenario.steps))]


def read(table: np.ndarray, *labels: int) -> list[int]:
    """What dataset labels become."""
    return table[np.array(labels, np.uint8)].tolist()


# Domains


def released(samples: Iterable[str]) -> tuple[list[str], list[str]]:
    """What the released code does with a list of samples: shuffle it with seed 1, train on the first 80 %."""
    shuffled = list(samples)
    np.random.RandomState(1).shuffle(shuffled)
    number = int(0.8 * len(shuffled))
    return shuffled[:number], shuffled[number:]


@pytest.fixture
def cityscapes(tree) -> Dataset:
    """Three images of each training city and four of each city of val, a few pixels each."""
    for index, city in enumerate(Cityscapes.domains):
        for number in range(3 if index < 18 else 4):
            stem = f"{'train' if index < 18 else 'val'}/{city}/{city}_{number:06}_000019"
            tree.image(f"leftImg8bit/{stem}_leftImg8bit.png")
            tree.label(f"gtFine/{stem}_gtFine_labelIds.png", range(34), size=(7, 5))
    return load_dataset("cityscapes", tree.root)


def cities(ids: Iterable[str]) -> list[str]:
    """The cities of samples, each once, in the order in which they come."""
    return list(dict.fromkeys(sample.split("/")[1] for sample in ids))


def test_official_domains_of_cityscapes(cityscapes: Dataset) -> None:
    found = steps(cityscapes, make_scenario("cityscapes_11-5", cityscapes, "domain"))
    names = Cityscapes.domains
    assert [set(cities(step.train.ids)) for step in found] == [set(names[:11]), set(names[11:16]), set(names[16:])]
    assert [len(step.train.ids) for step in found] == [33, 15, 2 * 3 + 3 * 4]
    assert all(step.test.ids == cityscapes.ids("test") and len(step.test.ids) == 12 for step in found)
    joint = steps(cityscapes, make_scenario("cityscapes_11-5", cityscapes, "domain"), cumulative=True)
    assert [len(step.train.ids) for step in joint] == [33, 48, 66]
    assert joint[-1].train.ids == cityscapes.domain_ids()
    assert all(step.test.ids == cityscapes.ids("test") for step in joint)


@pytest.mark.parametrize("cumulative", [False, True])
@pytest.mark.parametrize("protocol", ["official", "released"])
def test_all_labels_of_cityscapes_are_given_at_every_step(
    protocol: str, cumulative: bool, cityscapes: Dataset
) -> None:
    found = steps(cityscapes, make_scenario("cityscapes_1-1", cityscapes, "domain"), protocol, cumulative)
    assert len(found) == 21
    for index, step in enumerate(found):
        assert (step.index, step.domain, step.classes_per_step, step.num_classes) == (index, True, (18,), 19)
        for view in (step.train, step.test):
            assert read(view.table, *range(1, 20)) == list(range(19))
            assert read(view.table, 0, 20, 254, 255) == [255] * 4
    sample = found[0].train.ids[0]
    assert set(found[0].train.table[cityscapes.label(sample)].ravel().tolist()) == {*range(19), 255}


def test_domains_follow_the_order(cityscapes: Dataset) -> None:
    backwards = ",".join(Cityscapes.domains[::-1])
    found = steps(cityscapes, make_scenario("cityscapes_11-5", cityscapes, "domain", backwards))
    assert set(cities(found[2].train.ids)) == set(Cityscapes.domains[:5])
    (first, *_) = steps(cityscapes, make_scenario("cityscapes_1-1", cityscapes, "domain", "random:1"))
    assert len(cities(first.train.ids)) == 1


def test_released_domains_of_cityscapes(cityscapes: Dataset) -> None:
    scenario = make_scenario("cityscapes_11-5", cityscapes, "domain")
    samples = sorted(cityscapes.ids("train")) + sorted(cityscapes.ids("test"))
    names = Cityscapes.domains
    for cumulative in (False, True):
        for step, start, end in zip(
            steps(cityscapes, scenario, "released", cumulative), (0, 11, 16), (11, 16, 21), strict=True
        ):
            now = names[0 if cumulative else start : end]
            train, _ = released(s for s in samples if s.split("/")[1] in now)
            _, test = released(s for s in samples if s.split("/")[1] in names[:end])
            assert (list(step.train.ids), list(step.test.ids)) == (train, test)


class Counted(Cityscapes):
    """Cityscapes as a list of its 3,475 samples, without files."""

    counts = (174, 316, 85, 109, 196, 99, 365, 144, 142, 96, 154, 221, 248, 119, 94, 196, 95, 122, 267, 59, 174)

    def __init__(self) -> None:
        self._ids = {}

    def list_ids(self, split: Split) -> list[str]:
        which = slice(18) if split == "train" else slice(18, 21)
        pairs = zip(self.domains[which], self.counts[which], strict=True)
        return sorted(f"{split}/{city}/{number:06}" for city, count in pairs for number in range(count))


@pytest.mark.parametrize("name, share", [("11-5", 0.71), ("11-1", 0.72), ("1-1", 0.78)])
def test_the_released_split_tests_on_images_it_trained_on(name: str, share: float) -> None:
    """The size and the overlap of the test set that the released code's own lists lead to."""
    data = Counted()
    scenario = make_scenario(f"cityscapes_{name}", data, "domain")
    tables = [
        Presence(data.ids(split), np.zeros((0, 20), bool), (), (), "here", np.zeros(0, bool))
        for split in ("train", "test")
    ]
    found = [step_data(scenario, data, PROTOCOLS["released"], t, *tables) for t in range(len(scenario.steps))]
    trained = {sample for step in found for sample in step.train.ids}
    final = found[-1].test.ids
    assert len(final) == 695
    assert sum(sample in trained for sample in final) / len(final) == pytest.approx(share, abs=0.03)
    assert not set(found[0].test.ids) & set(found[0].train.ids)  # the first step alone is clean


def test_real_camvid(data_dir: Path) -> None:
    camvid = load_dataset("camvid", data_dir)
    scenario = make_scenario("camvid_1-1", camvid, "domain")
    official = steps(camvid, scenario)
    assert [len(step.train.ids) for step in official] == [62, 101, 204]
    assert [{camvid.domain(sample) for sample in step.train.ids} for step in official] == [
        {"0001TP"},
        {"0006R0"},
        {"0016E5"},
    ]
    for step in official:
        assert step.test.ids == camvid.ids("test")
        assert not set(step.train.ids) & set(step.test.ids)
        assert (step.num_classes, step.domain) == (11, True)
        label = camvid.label(step.train.ids[0])
        seen = step.train.table[label]
        assert np.array_equal(seen[label != 255], label[label != 255] - 1)
        assert (seen[label == 255] == 255).all()
    ids = camvid.ids("train")
    for t, step in enumerate(steps(camvid, scenario, "released")):
        drives = camvid.domains[: t + 1]
        assert list(step.train.ids) == released(s for s in ids if camvid.domain(s) == drives[t])[0]
        assert list(step.test.ids) == released(s for s in ids if camvid.domain(s) in drives)[1]


def test_classes_of_camvid_are_learned_beside_an_empty_background(data_dir: Path) -> None:
    camvid = load_dataset("camvid", data_dir)
    found = steps(camvid, make_scenario("camvid_6-5", camvid, "overlapped"))
    assert [step.num_classes for step in found] == [7, 12]
    assert read(found[1].train.table, 1, 6, 7, 11, 255) == [0, 0, 7, 11, 255]
    assert read(found[1].test.table, 1, 6, 7, 11, 255) == [1, 6, 7, 11, 255]


@pytest.mark.parametrize("split, sizes", [("14-1", (14, 1, 1, 1, 1, 1)), ("13-6", (13, 6)), ("17-2", (17, 2))])
@pytest.mark.parametrize("setting", ["overlapped", "disjoint", "sequential", "partitioned"])
def test_classes_of_cityscapes_are_learned_beside_an_empty_background(
    split: str, sizes: tuple[int, ...], setting: str, cityscapes: Dataset
) -> None:
    """Void stays void: class 0 holds the classes that are not labelled at a step, after the last one nothing."""
    found = steps(cityscapes, make_scenario(f"cityscapes_{split}", cityscapes, setting))
    assert [step.classes_per_step for step in found] == [sizes[: t + 1] for t in range(len(sizes))]
    base, last = sizes[0], found[-1]
    old = base if setting == "sequential" else 0
    assert read(found[0].train.table, 1, base, base + 1, 19, 255) == [1, base, 0, 0, 255]
    assert read(last.train.table, 1, base, 19, 255) == [min(old, 1), old, 19, 255]
    assert last.test.table[1:20].tolist() == [*range(1, 20)] and last.test.table[255] == 255
    assert last.test.ids == cityscapes.ids("test")
    assert {sample.split("/")[0] for step in found for sample in step.train.ids} <= {"train"}
    label = cityscapes.label(cityscapes.ids("test")[0])
    assert 0 not in last.test.table[label]


def test_shapes_in_other_light() -> None:
    shapes = Shapes().with_domains()
    scenario = make_scenario("shapes_3-1", shapes, "domain")
    # no label is read: the images of a domain step depend on the lists alone
    tables = [
        Presence(shapes.ids(split), np.zeros((0, 9), bool), (), (), "here", np.zeros(0, bool))
        for split in ("train", "test")
    ]
    for cumulative, sizes in ((False, [750, 250, 250]), (True, [750, 1000, 1250])):
        for protocol in ("official", "mib"):
            found = [step_data(scenario, shapes, PROTOCOLS[protocol], t, *tables, cumulative) for t in range(3)]
            assert [len(step.train.ids) for step in found] == sizes
            for step in found:
                assert step.test.ids == shapes.ids("test")
                assert not set(step.train.ids) & set(step.test.ids)
                # with a background, the labels are the channels; only training may turn void into it
                void = 0 if protocol == "mib" else 255
                assert read(step.train.table, *range(9), 255) == [*range(9), void]
                assert read(step.test.table, *range(9), 255) == [*range(9), 255]
                assert (step.classes_per_step, step.num_classes) == ((8,), 9)

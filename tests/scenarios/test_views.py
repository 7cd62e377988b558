"""What each step sees: its images, and what its labels become."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn import Drawn

from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.presence import presence
from issbench.scenarios.protocol import PROTOCOLS, Protocol, get_protocol
from issbench.scenarios.scenario import Scenario, make_scenario
from issbench.scenarios.views import StepData, step_data, training_rows


def steps(
    dataset: Dataset, scenario: Scenario, protocol: str | Protocol | None = None, cumulative: bool = False
) -> list[StepData]:
    """All steps of a scenario."""
    if not isinstance(protocol, Protocol):
        protocol = get_protocol(protocol, scenario.setting)
    scan = dataset.presence if isinstance(dataset, Drawn) else partial(presence, dataset)
    parts = scan("train"), scan("test")
    return [step_data(scenario, dataset, protocol, t, *parts, cumulative) for t in range(len(scenario.steps))]


def read(table: np.ndarray, *labels: int) -> list[int]:
    """What dataset labels become."""
    return table[np.array(labels, np.uint8)].tolist()


# All of VOC


@pytest.fixture(scope="module")
def voc(voc_aug_root: Path) -> Dataset:
    return load_dataset("voc", voc_aug_root)


@pytest.mark.parametrize(
    "name, setting, expected",
    [
        ("voc_15-1", "overlapped", [9568, 487, 299, 491, 500, 548]),
        ("voc_15-1", "disjoint", [8437, 378, 299, 420, 500, 548]),
        ("voc_10-1", "overlapped", [6139, 528, 1177]),
    ],
)
def test_published_counts(name: str, setting: str, expected: list[int], voc: Dataset) -> None:
    found = steps(voc, make_scenario(name, voc, setting))
    assert [len(step.train.ids) for step in found[: len(expected)]] == expected


@pytest.mark.parametrize("setting", ["overlapped", "disjoint"])
def test_test_images_of_voc(setting: str, voc: Dataset) -> None:
    scenario = make_scenario("voc_15-1", voc, setting)
    for protocol in ("plop", "mib"):
        found = [step.test.ids for step in steps(voc, scenario, protocol)]
        assert [len(ids) for ids in found] == [1240, 1277, 1329, 1353, 1421, 1449]
        assert found[-1] == voc.ids("test")
    assert all(step.test.ids == voc.ids("test") for step in steps(voc, scenario, "ssul"))


@pytest.mark.parametrize("cumulative", [False, True])
def test_the_order_of_the_list_is_kept(cumulative: bool, voc: Dataset) -> None:
    place = {sample: index for index, sample in enumerate(voc.ids("train") + voc.ids("test"))}
    for step in steps(voc, make_scenario("voc_10-5", voc, "overlapped", "B"), cumulative=cumulative):
        for view in (step.train, step.test):
            places = [place[sample] for sample in view.ids]
            assert places == sorted(set(places))


def test_all_steps_of_voc_share_its_images_as_their_setting_says(voc: Dataset) -> None:
    for order in ("A", "D"):
        disjoint = steps(voc, make_scenario("voc_10-1", voc, "disjoint", order))
        overlapped = steps(voc, make_scenario("voc_10-1", voc, "overlapped", order))
        taken = [sample for step in disjoint for sample in step.train.ids]
        # every image has a class, hence exactly one step in which the last of its classes is new
        assert sorted(taken) == sorted(voc.ids("train"))
        assert {sample for step in overlapped for sample in step.train.ids} == set(taken)
        for one, other in zip(disjoint, overlapped, strict=True):
            assert set(one.train.ids) <= set(other.train.ids)
        assert disjoint[-1].train.ids == overlapped[-1].train.ids


def test_every_image_of_voc_belongs_to_one_partitioned_step(voc: Dataset) -> None:
    partitioned, overlapped = (
        steps(voc, make_scenario("voc_15-1", voc, setting)) for setting in ("partitioned", "overlapped")
    )
    assert sorted(sample for step in partitioned for sample in step.train.ids) == sorted(voc.ids("train"))
    for one, other in zip(partitioned, overlapped, strict=True):
        assert {*one.train.ids} <= {*other.train.ids} and one.test.ids == other.test.ids
    counts = [len(step.train.ids) for step in partitioned]
    assert counts == [9063, 251, 264, 251, 434, 319]
    # another draw by the same rule: the files that the setting's authors released (CISS_partitioned, 7353b46)
    assert counts == pytest.approx([9031, 254, 266, 270, 434, 327], rel=0.08)


# Label tables of class-incremental steps

FIVE = ("ant", "bee", "cat", "dog", "elk")
ORDER = "4,2,5,1,3"  # so dog, bee | elk | ant | cat


@pytest.fixture
def zoo() -> Drawn:
    return Drawn(FIVE, [[0, label] for label in range(1, 6)], [[label] for label in range(1, 6)])


@pytest.mark.parametrize("setting", ["overlapped", "disjoint"])
@pytest.mark.parametrize("protocol, void", [("plop", 255), ("ssul", 255), ("mib", 0)])
def test_training_labels(protocol: str, void: int, setting: str, zoo: Drawn) -> None:
    found = steps(zoo, make_scenario("shapes_2-1", zoo, setting, ORDER), protocol)
    tables = [read(step.train.table, 0, 1, 2, 3, 4, 5, 255) for step in found]
    assert tables == [
        [0, 0, 2, 0, 1, 0, void],
        [0, 0, 0, 0, 0, 3, void],
        [0, 4, 0, 0, 0, 0, void],
        [0, 0, 0, 5, 0, 0, void],
    ]


@pytest.mark.parametrize("protocol, future", [("plop", 0), ("mib", 255), ("ssul", 255)])
def test_test_labels(protocol: str, future: int, zoo: Drawn) -> None:
    found = steps(zoo, make_scenario("shapes_2-1", zoo, "overlapped", ORDER), protocol)
    tables = [read(step.test.table, 0, 1, 2, 3, 4, 5, 255) for step in found]
    assert tables == [
        [0, future, 2, future, 1, future, 255],
        [0, future, 2, future, 1, 3, 255],
        [0, 4, 2, future, 1, 3, 255],
        [0, 4, 2, 5, 1, 3, 255],
    ]


@pytest.mark.parametrize("protocol, void", [("plop", 255), ("mib", 0)])
def test_joint_training_sees_all_labels_so_far(protocol: str, void: int, zoo: Drawn) -> None:
    scenario = make_scenario("shapes_2-1", zoo, "overlapped", ORDER)
    found = steps(zoo, scenario, protocol, cumulative=True)
    assert [read(step.train.table, 0, 1, 2, 3, 4, 5, 255) for step in found] == [
        [0, 0, 2, 0, 1, 0, void],
        [0, 0, 2, 0, 1, 3, void],
        [0, 4, 2, 0, 1, 3, void],
        [0, 4, 2, 5, 1, 3, void],
    ]
    assert [step.train.ids for step in found] == [
        ("train1", "train3"),
        ("train1", "train3", "train4"),
        ("train0", "train1", "train3", "train4"),
        ("train0", "train1", "train2", "train3", "train4"),
    ]
    for joint, usual in zip(found, steps(zoo, scenario, protocol), strict=True):
        assert joint.test.ids == usual.test.ids
        assert np.array_equal(joint.test.table, usual.test.table)


def test_counts_of_classes(zoo: Drawn) -> None:
    for cumulative in (False, True):
        found = steps(zoo, make_scenario("shapes_2-1", zoo, "disjoint", ORDER), cumulative=cumulative)
        assert [step.classes_per_step for step in found] == [(2,), (2, 1), (2, 1, 1), (2, 1, 1, 1)]
        assert [step.num_classes for step in found] == [3, 4, 5, 6]
        assert [step.index for step in found] == [0, 1, 2, 3]
        assert not any(step.domain for step in found)


def test_tables_are_made_for_labels_of_a_byte(zoo: Drawn) -> None:
    for step in steps(zoo, make_scenario("shapes_2-1", zoo, "disjoint")):
        for view in (step.train, step.test):
            assert (view.table.dtype, view.table.shape) == (np.uint8, (256,))
            assert view.table[: step.num_classes].max() < step.num_classes


def test_overlapped_and_disjoint_by_example() -> None:
    # classes 1, 2 | 3 | 4
    train = [[0, 1], [1, 3], [0, 3], [2, 3, 4], [0, 255], [4], [2, 255]]
    data = Drawn("abcd", train)

    def ids(setting: str, cumulative: bool = False) -> list[list[int]]:
        found = steps(data, make_scenario("shapes_2-1", data, setting), cumulative=cumulative)
        return [[int(sample.removeprefix("train")) for sample in step.train.ids] for step in found]

    assert ids("overlapped") == [[0, 1, 3, 6], [1, 2, 3], [3, 5]]
    assert ids("disjoint") == [[0, 6], [1, 2], [3, 5]]
    assert ids("overlapped", cumulative=True) == [[0, 1, 3, 6], [0, 1, 2, 3, 6], [0, 1, 2, 3, 5, 6]]
    assert ids("disjoint", cumulative=True) == [[0, 6], [0, 1, 2, 6], [0, 1, 2, 3, 5, 6]]
    assert ids("sequential") == ids("disjoint")
    assert ids("sequential", cumulative=True) == ids("disjoint", cumulative=True)


# Sequential and partitioned


@pytest.mark.parametrize("protocol, void", [("plop", 255), ("mib", 0)])
def test_sequential_steps_keep_the_labels_of_old_classes(protocol: str, void: int, zoo: Drawn) -> None:
    scenario = make_scenario("shapes_2-1", zoo, "sequential", ORDER)
    tables = [
        [0, 0, 2, 0, 1, 0, void],
        [0, 0, 2, 0, 1, 3, void],
        [0, 4, 2, 0, 1, 3, void],
        [0, 4, 2, 5, 1, 3, void],
    ]
    for cumulative in (False, True):
        found = steps(zoo, scenario, protocol, cumulative)
        assert [read(step.train.table, 0, 1, 2, 3, 4, 5, 255) for step in found] == tables
        assert [step.old_labelled for step in found] == [False, *[not cumulative] * 3]
    usual = steps(zoo, make_scenario("shapes_2-1", zoo, "disjoint", ORDER), protocol)
    assert not any(step.old_labelled for step in usual)
    for step, disjoint in zip(found, usual, strict=True):
        assert np.array_equal(step.test.table, disjoint.test.table)


def test_partitioned_steps_label_their_own_classes_alone(zoo: Drawn) -> None:
    one, other = (
        steps(zoo, make_scenario("shapes_2-1", zoo, setting, ORDER)) for setting in ("partitioned", "overlapped")
    )
    for step, usual in zip(one, other, strict=True):
        assert np.array_equal(step.train.table, usual.train.table) and not step.old_labelled
        assert step.train.ids == usual.train.ids  # each of its images holds one class


# Subsets of the classes


@pytest.mark.parametrize("setting", ["overlapped", "disjoint"])
@pytest.mark.parametrize("protocol", ["plop", "mib", "ssul"])
def test_classes_left_out_are_background_for_good(protocol: str, setting: str) -> None:
    images = [[0, 1], [1, 3], [0, 3], [2, 4], [0], [4], [1, 2, 3, 4]]
    data = Drawn("abcd", images, images)
    found = steps(data, make_scenario("shapes_1-1", data, setting, classes=("d", "a")), protocol)
    first = [3, 5] if setting == "disjoint" else [3, 5, 6]
    assert [step.train.ids for step in found] == [
        tuple(f"train{i}" for i in first),
        tuple(f"train{i}" for i in (0, 1, 6)),
    ]
    # images 2 and 4 hold neither class, so no protocol tests on them
    last = tuple(f"test{i}" for i in (0, 1, 3, 5, 6))
    seen = last if protocol == "ssul" else ("test3", "test5", "test6")
    assert [step.test.ids for step in found] == [seen, last]
    assert [read(step.train.table, 0, 1, 2, 3, 4) for step in found] == [[0, 0, 0, 0, 1], [0, 2, 0, 0, 0]]
    future = 0 if protocol == "plop" else 255
    tables = [read(step.test.table, 0, 1, 2, 3, 4, 255) for step in found]
    assert tables == [[0, future, 0, 0, 1, 255], [0, 2, 0, 0, 1, 255]]
    assert found[-1].num_classes == 3


def test_subset_of_voc(voc: Dataset, data_dir: Path) -> None:
    with np.load(data_dir / "voc_aug_labels/presence.npz") as stored:
        held = dict(zip(stored["ids"].tolist(), stored["present"], strict=True))
    dog, cat = 12, 8
    found = steps(voc, make_scenario("voc_1-1", voc, "disjoint", classes=("dog", "cat")))
    assert [step.train.ids for step in found] == [
        tuple(sample for sample in voc.ids("train") if held[sample][dog] and not held[sample][cat]),
        tuple(sample for sample in voc.ids("train") if held[sample][cat]),
    ]
    assert found[1].test.ids == tuple(s for s in voc.ids("test") if held[s][dog] or held[s][cat])


# Against a slow reference


def slow_channel(label: int, learned: list[int]) -> int:
    """The place of a label in learning order, counted from 1."""
    for place, item in enumerate(learned):
        if item == label:
            return place + 1
    raise AssertionError(label)


def slow_step(
    images: dict[str, list[int]],
    parts: list[list[int]],
    t: int,
    setting: str,
    protocol: Protocol,
    joint: bool,
    count: int,
) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Train and test images of a step with their labels as it sees them, from the words of the protocol."""
    learned = [item for part in parts for item in part]
    seen = [item for part in parts[: t + 1] for item in part]
    train: dict[str, list[int]] = {}
    test: dict[str, list[int]] = {}
    for sample, pixels in images.items():
        held = {p for p in pixels if p in learned}
        if sample.startswith("train"):
            chosen = False
            for s in range(t + 1):
                if s < t and not joint:
                    continue
                past = {item for part in parts[: s + 1] for item in part}
                has_new = any(p in parts[s] for p in held)
                chosen = chosen or (has_new and (setting == "overlapped" or held <= past))
            if not chosen:
                continue
            train[sample] = []
            for p in pixels:
                if p == 255:
                    value = 0 if protocol.void == "background" else 255
                elif p in (seen if joint or setting == "sequential" else parts[t]):
                    value = slow_channel(p, learned)
                else:
                    value = 0
                train[sample].append(value)
        else:
            enough = held & set(seen) if protocol.test_images == "seen" else held or len(learned) == count
            if not enough:
                continue
            test[sample] = []
            for p in pixels:
                if p == 255:
                    value = 255
                elif p in seen:
                    value = slow_channel(p, learned)
                elif p in learned and protocol.future == "ignore":
                    value = 255
                else:
                    value = 0
                test[sample].append(value)
    return train, test


@pytest.mark.parametrize("seed", range(60))
def test_views_equal_a_slow_reference(seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 9))
    pixels = [0, *range(1, count + 1), 255]
    lists = [
        [random.choice(pixels, size=random.integers(1, 6)).tolist() for _ in range(random.integers(0, 40))]
        for _ in range(2)
    ]
    data = Drawn([f"class{label}" for label in range(1, count + 1)], *lists)
    chosen = random.permutation(data.classes)[: random.integers(1, count + 1)] if seed % 4 == 0 else ()
    base = int(random.integers(1, (len(chosen) or count) + 1))
    name = f"shapes_{base}-{random.integers(1, 4)}"
    setting = ("overlapped", "disjoint", "sequential")[seed % 3]
    scenario = make_scenario(name, data, setting, f"random:{seed}", tuple(map(str, chosen)))
    images = {sample: data.label(sample)[0].tolist() for split in ("train", "test") for sample in data.ids(split)}
    parts = [list(step) for step in scenario.steps]
    for protocol in PROTOCOLS.values():
        for joint in (False, True):
            for t, step in enumerate(steps(data, scenario, protocol, joint)):
                expected = slow_step(images, parts, t, setting, protocol, joint, count)
                for view, wanted in zip((step.train, step.test), expected, strict=True):
                    assert list(view.ids) == list(wanted)
                    assert {s: view.table[data.label(s)][0].tolist() for s in view.ids} == wanted


def test_training_rows_are_those_of_the_view(zoo: Drawn) -> None:
    scenario = make_scenario("shapes_2-1", zoo, "disjoint", ORDER)
    part = zoo.presence("train")
    for t, step in enumerate(steps(zoo, scenario)):
        assert np.array(part.ids)[training_rows(scenario, t, part)].tolist() == list(step.train.ids)

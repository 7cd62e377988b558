"""What each step sees: its images, and what its labels become."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenarios.datasets import load_dataset
from scenarios.datasets.base import Dataset, Split
from scenarios.datasets.cityscapes import Cityscapes
from scenarios.datasets.shapes import Shapes
from scenarios.presence import Presence, presence
from scenarios.protocol import PROTOCOLS, Protocol, get_protocol
from scenarios.scenario import Scenario, make_scenario
from scenarios.views import StepData, step_data, training_rows


class Drawn(Dataset):
    """Images that each are one row of given labels."""

    name = "drawn"

    def __init__(self, classes: Sequence[str], train: Sequence[Iterable[int]], test: Sequence[Iterable[int]] = ()):
        self.classes = tuple(classes)
        self._labels = {f"train{i}": list(labels) for i, labels in enumerate(train)}
        self._labels |= {f"test{i}": list(labels) for i, labels in enumerate(test)}

    def ids(self, split: Split) -> tuple[str, ...]:
        return tuple(sample for sample in self._labels if sample.startswith(split))

    def image(self, sample: str) -> Image.Image:
        raise AssertionError("views must not read images")

    def label(self, sample: str) -> np.ndarray:
        return np.array([self._labels[sample]], np.uint8)

    def fingerprint(self, split: Split) -> str:
        raise AssertionError("nothing of this is to be cached")

    def presence(self, split: Split) -> Presence:
        """The presence table of a split, past the cache."""
        ids = self.ids(split)
        labels = range(len(self.classes) + 1)
        rows = [[label in self._labels[sample] for label in labels] for sample in ids]
        return Presence(ids, np.array(rows, bool).reshape(len(ids), len(labels)), "")


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
                elif p in (seen if joint else parts[t]):
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
    chosen = random.permutation(data.classes)[: random.integers(1, count + 1)] if seed % 3 == 0 else ()
    base = int(random.integers(1, (len(chosen) or count) + 1))
    name = f"shapes_{base}-{random.integers(1, 4)}"
    setting = ("overlapped", "disjoint")[seed % 2]
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
        assert np.array(part.ids)[training_rows(scenario, t, part.table)].tolist() == list(step.train.ids)


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
    tables = [Presence(data.ids(split), np.zeros((0, 20), bool), "") for split in ("train", "test")]
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


def test_shapes_in_other_light() -> None:
    shapes = Shapes().with_domains()
    scenario = make_scenario("shapes_3-1", shapes, "domain")
    # no label is read: the images of a domain step depend on the lists alone
    tables = [Presence(shapes.ids(split), np.zeros((0, 9), bool), "") for split in ("train", "test")]
    for cumulative, sizes in ((False, [750, 250, 250]), (True, [750, 1000, 1250])):
        for protocol in ("official", "mib"):
            found = [step_data(scenario, shapes, PROTOCOLS[protocol], t, *tables, cumulative) for t in range(3)]
            assert [len(step.train.ids) for step in found] == sizes
            for step in found:
                assert step.test.ids == shapes.ids("test")
                assert not set(step.train.ids) & set(step.test.ids)
                # with a background, the labels are the channels
                assert read(step.train.table, *range(9), 255) == [*range(9), 255]
                assert (step.classes_per_step, step.num_classes) == ((8,), 9)

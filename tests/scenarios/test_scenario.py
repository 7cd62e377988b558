"""Scenario names, settings and class subsets: what is learned at which step."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from issbench.scenarios.datasets import dataset_class, dataset_names
from issbench.scenarios.datasets.base import Dataset, Split
from issbench.scenarios.errors import ScenarioError
from issbench.scenarios.scenario import (
    Scenario,
    canonical_setting,
    check_split,
    default_setting,
    make_scenario,
    parse_name,
    published_scenarios,
)


class Standin(Dataset):
    """A dataset's names without its data: a scenario needs no more."""

    def __init__(self, name: str):
        real = dataset_class(name)
        self.name, self.classes, self.domains = name, real.classes, real.domains  # type: ignore[misc]
        self.orders = real.orders  # type: ignore[misc]

    def ids(self, split: Split) -> tuple[str, ...]:
        raise AssertionError("a scenario must not list the data")

    def image(self, sample: str) -> Image.Image:
        raise AssertionError("a scenario must not read the data")

    def label(self, sample: str) -> np.ndarray:
        raise AssertionError("a scenario must not read the data")

    def files(self, sample: str) -> tuple[Path, ...]:
        raise AssertionError("a scenario must not read the data")


def make(name: str, setting: str = "overlapped", order: str = "natural", *classes: str) -> Scenario:
    return make_scenario(name, Standin(name.partition("_")[0]), setting, order, classes)


def refused(call, *arguments: object) -> str:
    """The message of the error, which must end the command line with exit code 2."""
    with pytest.raises(ScenarioError) as info:
        call(*arguments)
    assert info.value.exit_code == 2
    return str(info.value)


# Names


@pytest.mark.parametrize(
    "name, sizes",
    [
        ("voc_15-1", [15, 1, 1, 1, 1, 1]),
        ("voc_19-1", [19, 1]),
        ("voc_10-1", [10] + [1] * 10),
        ("voc_13-4", [13, 4, 3]),
        ("voc_1-19", [1, 19]),
        ("voc_15-9", [15, 5]),
        ("voc_20-1", [20]),
        ("ade_100-50", [100, 50]),
        ("ade_50-50", [50, 50, 50]),
    ],
)
def test_steps_of_classes(name: str, sizes: list[int]) -> None:
    scenario = make(name)
    assert [len(step) for step in scenario.steps] == sizes
    assert scenario.learned == tuple(range(1, sum(sizes) + 1))
    assert (scenario.name, scenario.dataset, scenario.setting) == (name, name[:3], "overlapped")


@pytest.mark.parametrize(
    "name, sizes", [("11-5", [11, 5, 5]), ("11-1", [11] + [1] * 10), ("1-1", [1] * 21), ("2-8", [2, 8, 8, 3])]
)
def test_steps_of_domains(name: str, sizes: list[int]) -> None:
    scenario = make(f"cityscapes_{name}", "domain")
    assert [len(step) for step in scenario.steps] == sizes
    assert scenario.learned == tuple(range(21))


def test_steps_follow_the_order() -> None:
    backwards = ",".join(map(str, range(20, 0, -1)))
    assert make("voc_16-3", "disjoint", backwards).steps == (tuple(range(20, 4, -1)), (4, 3, 2), (1,))
    assert make("voc_15-1", "disjoint", "C").steps[1:] == ((12,), (14,), (6,), (1,), (2,))
    cities = dataset_class("cityscapes").domains
    assert make("cityscapes_19-1", "domain", ",".join(cities[::-1])).steps[1:] == ((1,), (0,))


def test_the_parts_of_a_name() -> None:
    assert parse_name("voc_15-1") == ("voc", 15, 1)
    assert parse_name("ade_100-50") == ("ade", 100, 50)
    assert parse_name("folder_3-2") == ("folder", 3, 2)


def test_published_scenarios_can_be_made() -> None:
    protocol = {
        "voc": "19-1 10-10 15-1 15-5 10-1",
        "ade": "100-50 100-10 50-50",
        "cityscapes": "11-5 11-1 1-1",
    }
    for dataset, splits in protocol.items():
        assert set(splits.split()) <= set(dataset_class(dataset).published_splits)
    for name in published_scenarios():
        scenario = make(name, default_setting(name))
        assert len(scenario.steps) > 1
        assert len(scenario.steps[0]) == int(name.partition("_")[2].partition("-")[0])


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("cityscape_11-5", "cityscapes_11-5"),
        ("voc15-1", "voc_15-1"),
        ("vco_15-1", "voc_15-1"),
        ("VOC_15-1", "voc_15-1"),
        ("ade20k_100-50", "ade_100-50"),
    ],
)
def test_unknown_dataset(name: str, nearest: str) -> None:
    assert refused(parse_name, name).startswith(f"unknown scenario {name!r}; did you mean {nearest}")


def test_a_name_like_no_other_lists_all() -> None:
    message = refused(parse_name, "###")
    assert message.startswith("unknown scenario '###'; known: voc_19-1, ")
    assert all(name in message for name in published_scenarios())


@pytest.mark.parametrize(
    "split",
    [
        "",
        "15",
        "15-",
        "-1",
        "0-1",
        "15-0",
        "15-1-1",
        "015-1",
        "15_1",
        "a-b",
        "15-1 ",
        "15-1\n",
        "1.5-1",
        "٣-1",
        "1-" + "9" * 5000,
    ],
)
def test_malformed_split(split: str) -> None:
    message = refused(parse_name, f"voc_{split}")
    assert message.startswith(f"scenario {f'voc_{split}'!r}: after voc_ comes BASE-INC")
    assert parse_name(message.split()[-1])[0] == "voc"  # the example is one
    assert re.search(r"as in folder_\d+-\d+$", refused(parse_name, f"folder_{split}"))


def test_splits_that_do_not_fit_are_told() -> None:
    assert check_split(make("voc_15-1")) == check_split(make("voc_1-19")) == ""
    for name, said in (("voc_13-4", "last of 3 steps has 3 of 4"), ("voc_15-9", "last of 2 steps has 5 of 9")):
        assert said in check_split(make(name)) and "there are 20" in check_split(make(name))
    assert refused(check_split, make("voc_20-1")).endswith("begin with fewer, as in voc_19-1")


def test_base_too_large() -> None:
    assert "voc_21-1 starts with 21 classes or domains, but there are 20" in refused(make, "voc_21-1")
    assert "there are 21" in refused(make, "cityscapes_22-1", "domain")
    assert "there are 3" in refused(make, "voc_4-1", "overlapped", "natural", "cat", "dog", "cow")


# Settings


def test_settings() -> None:
    for setting in ("overlapped", "disjoint", "sequential", "partitioned", "domain"):
        assert canonical_setting(setting) == setting
    assert [canonical_setting(f"partitioned:{draw}") for draw in ("0", "00", "3", "03")] == [
        "partitioned",
        "partitioned",
        "partitioned:3",
        "partitioned:3",
    ]
    drawn = make("voc_15-1", "partitioned:3")
    assert (drawn.setting, drawn.draw, make("voc_15-1", "partitioned").draw) == ("partitioned", 3, 0)


@pytest.mark.parametrize(
    "setting, said",
    [
        ("overlaped", "unknown setting 'overlaped'; did you mean overlapped?"),
        ("###", "unknown setting '###'; known: overlapped, disjoint, sequential, partitioned, domain"),
        ("partitoned:3", "unknown setting 'partitoned:3'; did you mean partitioned?"),
        ("overlapped:3", "setting 'overlapped:3': overlapped draws nothing; write overlapped"),
        *(
            (text, f"setting {text!r}: the draw must be a whole number of at most 18 digits, as in partitioned:3")
            for text in ("partitioned:", "partitioned:-1", "partitioned:٣", f"partitioned:{'9' * 19}")
        ),
    ],
)
def test_settings_that_do_not_exist(setting: str, said: str) -> None:
    for call in (canonical_setting, lambda setting: make("voc_15-1", setting)):
        assert refused(call, setting) == said


def test_default_settings() -> None:
    expected = dict.fromkeys(dataset_names(), "overlapped") | {"cityscapes": "domain"}
    assert {name: default_setting(f"{name}_1-1") for name in dataset_names()} == expected
    assert "unknown scenario" in refused(default_setting, "cityscape_1-1")
    by_class = ("14-1", "13-6", "17-2", "10-1")
    assert {default_setting(f"cityscapes_{split}") for split in by_class} == {"overlapped"}
    assert {default_setting(f"cityscapes_{split}") for split in ("11-5", "11-1", "1-1")} == {"domain"}


def test_a_dataset_without_domains() -> None:
    message = refused(make, "voc_15-1", "domain")
    assert message == "dataset voc has no domains; use --setting overlapped or disjoint"


def test_classes_of_a_dataset_with_domains() -> None:
    assert make("cityscapes_14-5").steps == (tuple(range(1, 15)), tuple(range(15, 20)))


# A subset of the classes


def test_subset_keeps_its_order() -> None:
    scenario = make("voc_2-1", "overlapped", "natural", "dog", "cat", "aeroplane", "horse")
    assert scenario.steps == ((12, 8), (1,), (13,))
    assert scenario.learned == (12, 8, 1, 13)


def test_an_order_within_a_subset() -> None:
    chosen = ("dog", "cat", "horse")
    for order in ("13,12,8", "horse dog cat", "0,13,12,8"):
        assert make("voc_1-1", "disjoint", order, *chosen).steps == ((13,), (12,), (8,))
    assert sorted(make("voc_1-1", "disjoint", "random:5", *chosen).learned) == [8, 12, 13]
    assert "it lacks 12; it has the unknown 1" in refused(make, "voc_1-1", "disjoint", "13,8,1", *chosen)
    assert "it has the unknown 1, 2, 3" in refused(make, "voc_1-1", "disjoint", "A", *chosen)


def test_wrong_subsets() -> None:
    message = refused(make, "voc_1-1", "overlapped", "natural", "cat", "hores")
    assert message == "unknown class of voc 'hores'; did you mean horse?"
    message = refused(make, "voc_1-1", "overlapped", "natural", "cat", "dog", "cat")
    assert message == "--classes cat,dog,cat names a class twice"
    message = refused(make, "cityscapes_1-1", "domain", "natural", "road")
    assert message.startswith("--classes chooses classes; in the setting domain every step has all of them")

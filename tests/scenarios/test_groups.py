"""Groups of classes: the ranges that the published tables print, and the three that are always there."""

from __future__ import annotations

from pathlib import Path

import pytest

from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.groups import class_groups
from issbench.scenarios.protocol import get_protocol
from issbench.scenarios.scenario import default_setting, make_scenario

Groups = dict[str, tuple[int, int]]
_EMPTY = {
    "ade": "{images,annotations}/{training,validation}",
    "cityscapes": "{leftImg8bit,gtFine}/{train,val}",
    "camvid": "{train,trainannot,test,testannot}",
}
"""Directories that make a dataset without samples: groups depend on no image."""


@pytest.fixture
def empty(tree):
    """Real datasets that list no image."""

    def load(name: str) -> Dataset:
        if name == "voc":
            (tree.root / "SegmentationClassAug").mkdir(exist_ok=True)
            for part in ("train_aug", "val"):
                tree.text(f"ImageSets/Segmentation/{part}.txt")
        elif name == "folder":
            tree.text("classes.txt", "rest", "cat", "dog", "cow")
            for part in ("images", "masks"):
                (tree.root / part).mkdir(exist_ok=True)
        elif name in _EMPTY:
            for path in _expand(tree.root, _EMPTY[name]):
                path.mkdir(parents=True, exist_ok=True)
        return load_dataset(name, tree.root)

    return load


def _expand(root: Path, pattern: str) -> list[Path]:
    """The directories that a shell would make of a pattern with braces."""
    paths = [root]
    for part in pattern.split("/"):
        paths = [path / name for path in paths for name in part.strip("{}").split(",")]
    return paths


def groups(
    empty, name: str, protocol: str | None = None, setting: str | None = None, classes: tuple[str, ...] = ()
) -> dict[str, Groups]:
    dataset, setting = empty(name.partition("_")[0]), setting or default_setting(name)
    dataset = dataset.with_domains() if setting == "domain" else dataset
    scenario = make_scenario(name, dataset, setting, classes=classes)
    return class_groups(scenario, dataset, get_protocol(protocol, setting))


@pytest.mark.parametrize(
    "split, base, new",
    [
        ("19-1", "0-19", "20"),
        ("15-1", "0-15", "16-20"),
        ("15-5", "0-15", "16-20"),
        ("10-10", "0-10", "11-20"),
        ("10-5", "0-10", "11-20"),
        ("5-3", "0-5", "6-20"),
        ("2-2", "0-2", "3-20"),
        ("5-1", "0-5", "6-20"),
        ("10-1", "0-10", "11-20"),
        ("1-1", "0-1", "2-20"),
    ],
)
def test_voc(split: str, base: str, new: str, empty) -> None:
    found = groups(empty, f"voc_{split}")
    assert list(found["printed"]) == [base, new, "all"]
    first, last = (int(base.split("-")[1]), 20)
    assert found["printed"] == {base: (0, first), new: (first + 1, last), "all": (0, last)}
    assert found["named"] == {"base": (0, first), "new": (first + 1, last), "all": (0, last)}


@pytest.mark.parametrize("protocol", ["plop", "mib", "ssul"])
def test_the_background_of_voc_is_in_the_mean_in_every_protocol(protocol: str, empty) -> None:
    assert groups(empty, "voc_15-1", protocol) == groups(empty, "voc_15-1")


@pytest.mark.parametrize(
    "split, printed",
    [
        ("100-50", ["1-100", "101-150"]),
        ("100-10", ["1-100", "101-110", "111-120", "121-130", "131-140", "141-150"]),
        ("50-50", ["1-50", "51-100", "101-150"]),
        ("140-4", ["1-140", "141-144", "145-148", "149-150"]),
        ("148-1", ["1-148", "149", "150"]),
        ("25-25", ["1-25", "26-50", "51-75", "76-100", "101-125", "126-150"]),
        ("100-5", ["1-100", "101-150"]),  # of eleven steps, tables print the new classes together
    ],
)
def test_ade_has_a_group_for_each_step(split: str, printed: list[str], empty) -> None:
    found = groups(empty, f"ade_{split}", "mib")
    assert list(found["printed"]) == [*printed, "all"]
    spans = [tuple(map(int, name.split("-"))) for name in printed]
    assert [found["printed"][name] for name in printed] == [(span[0], span[-1]) for span in spans]
    base = int(split.split("-")[0])
    assert found["named"] == {"base": (1, base), "new": (base + 1, 150), "all": (1, 150)}


@pytest.mark.parametrize("protocol, first", [("plop", 0), ("mib", 1), ("ssul", 0), (None, 0)])
def test_the_rest_class_of_ade_is_in_all_as_the_protocol_says(protocol: str | None, first: int, empty) -> None:
    found = groups(empty, "ade_100-50", protocol)
    assert found["named"] == {"base": (1, 100), "new": (101, 150), "all": (first, 150)}
    assert found["printed"] == {"1-100": (1, 100), "101-150": (101, 150), "all": (first, 150)}


@pytest.mark.parametrize("protocol", ["plop", "mib"])
def test_datasets_without_background_start_at_1(protocol: str, empty) -> None:
    found = groups(empty, "camvid_6-1", protocol)
    assert found["printed"] == {"1-6": (1, 6), "7-11": (7, 11), "all": (1, 11)}
    assert groups(empty, "camvid_1-1", protocol)["printed"] == {"1": (1, 1), "2-11": (2, 11), "all": (1, 11)}
    city = groups(empty, "cityscapes_14-1", protocol, "overlapped")
    assert city["printed"] == {"1-14": (1, 14), "15-19": (15, 19), "all": (1, 19)}
    assert list(groups(empty, "cityscapes_17-2", protocol)["printed"]) == ["1-17", "18-19", "all"]


def test_other_datasets_with_background(empty) -> None:
    assert groups(empty, "shapes_4-2")["printed"] == {"0-4": (0, 4), "5-8": (5, 8), "all": (0, 8)}
    assert groups(empty, "folder_2-1")["printed"] == {"0-2": (0, 2), "3": (3, 3), "all": (0, 3)}


def test_a_subset_counts_its_own_channels(empty) -> None:
    found = groups(empty, "voc_2-1", classes=("dog", "cat", "cow", "horse"))
    assert found["printed"] == {"0-2": (0, 2), "3-4": (3, 4), "all": (0, 4)}


@pytest.mark.parametrize("setting", ["overlapped", "disjoint"])
def test_a_single_step_has_no_new_classes(setting: str, empty) -> None:
    found = groups(empty, "voc_20-1", setting=setting)
    assert found["named"] == {"base": (0, 20), "all": (0, 20)}
    assert found["printed"] == {"0-20": (0, 20), "all": (0, 20)}


@pytest.mark.parametrize(
    "name, last", [("cityscapes_11-5", 18), ("cityscapes_1-1", 18), ("camvid_1-1", 10), ("shapes_1-1", 8)]
)
@pytest.mark.parametrize("protocol", ["official", "released", "mib"])
def test_domains_have_all_classes_in_one_group(name: str, last: int, protocol: str, empty) -> None:
    found = groups(empty, name, protocol, "domain")
    assert found == {"named": {"all": (0, last)}, "printed": {"all": (0, last)}}

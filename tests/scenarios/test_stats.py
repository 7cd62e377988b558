"""`scenario_stats`: the lines that `bench data stats` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from issbench.scenarios.datasets import dataset_class
from issbench.scenarios.errors import ScenarioError
from issbench.scenarios.stats import scenario_stats


def counts(lines: list[str]) -> list[tuple[str, int]]:
    """The lines of classes as (name, images)."""
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def test_classes(tiny_voc: Path) -> None:
    # train: b has class 1, a has 20, c has 15; test: v has 8
    lines = scenario_stats("voc_19-1", tiny_voc)
    assert lines[0] == "voc_19-1, overlapped, order natural, protocol plop"
    assert lines[1] == "step 0: 2 training images, 1 test images"
    assert lines[21] == "step 1: 1 training images, 1 test images"
    assert len(lines) == 23
    classes = dataset_class("voc").classes
    expected = dict.fromkeys(classes[:19], 0) | {"aeroplane": 1, "person": 1}
    assert counts(lines[2:21]) == list(expected.items())
    assert counts(lines[22:]) == [("tvmonitor", 1)]
    assert len({len(line) for line in lines[2:21]}) == 1 and lines[2].startswith("    ")  # aligned columns


def test_images_are_counted_once_for_each_class_of_the_step(tree, tiny_voc: Path) -> None:
    for sample, values in {"b": (1, 2, 20), "a": (2, 20), "c": (3, 255)}.items():
        tree.label(f"VOCdevkit/VOC2012/SegmentationClassAug/{sample}.png", values)
    for setting, base in (("overlapped", [1, 2, 1]), ("disjoint", [0, 0, 1])):
        lines = scenario_stats("voc_3-17", tiny_voc, setting)
        assert [n for _, n in counts(lines[2:5])] == base
        assert lines[1].startswith(f"step 0: {3 if setting == 'overlapped' else 1} training images, 0 test")
        assert counts(lines[-1:]) == [("tvmonitor", 2)]


def test_order_subset_and_protocol_are_followed(tiny_voc: Path) -> None:
    lines = scenario_stats(
        "voc_1-1",
        tiny_voc,
        "disjoint",
        order="15,20,1",
        classes=("aeroplane", "tvmonitor", "person"),
        protocol="ssul",
    )
    assert lines[0] == "voc_1-1, disjoint, order 15,20,1, protocol ssul"
    assert [line.split()[0] for line in lines[2::2]] == ["person", "tvmonitor", "aeroplane"]
    assert lines[1::2] == [f"step {step}: 1 training images, 0 test images" for step in range(3)]


def test_domains(tree) -> None:
    samples = ("train/0001TP_1", "train/0016E5_1", "train/0016E5_2", "train/0006R0_1", "test/Seq05VD_1")
    for sample in samples:
        tree.image(f"{sample}.png")
        tree.label(f"{sample.replace('/', 'annot/')}.png", (3,))
    assert scenario_stats("camvid_2-1", tree.root, "domain") == [
        "camvid_2-1, domain, order natural, protocol official",
        "step 0: 2 training images, 1 test images",
        "    0001TP, 0006R0",
        "step 1: 2 training images, 1 test images",
        "    0016E5",
    ]
    # without a setting, CamVid is class-incremental
    assert scenario_stats("camvid_2-9", tree.root)[0] == "camvid_2-9, overlapped, order natural, protocol plop"


def test_domains_of_a_dataset_that_shows_them_only_when_asked() -> None:
    lines = scenario_stats("shapes_3-1", None, "domain", protocol="released")
    assert lines[0] == "shapes_3-1, domain, order natural, protocol released"
    # 250 images a domain: 80 % of the step's own to train on, 20 % of all so far to test
    assert lines[1::2] == [
        "step 0: 600 training images, 150 test images",
        "step 1: 200 training images, 200 test images",
        "step 2: 200 training images, 250 test images",
    ]
    assert lines[2::2] == ["    day, dusk, night", "    fog", "    neon"]


def test_wrong_requests(tiny_voc: Path) -> None:
    for arguments, message in (
        (("voc_15", tiny_voc), "after voc_ comes BASE-INC"),
        (("voc_15-1", None), "dataset voc needs --data DIR"),
        (("voc_15-1", tiny_voc, "disjont"), "did you mean disjoint"),
        (("voc_15-1", tiny_voc, "domain"), "dataset voc has no domains"),
        (("voc_15-1", tiny_voc, None, "Z"), "'Z' is neither a number nor a known name"),
        (("voc_15-1", tiny_voc, None, "A", (), "plob"), "unknown protocol 'plob'; did you mean plop"),
    ):
        with pytest.raises(ScenarioError, match=message) as info:
            scenario_stats(*arguments)
        assert info.value.exit_code == 2


def test_progress(tiny_voc: Path) -> None:
    seen: list[tuple[int, int]] = []
    scenario_stats("voc_15-1", tiny_voc, on_progress=lambda *done: seen.append(done))
    assert seen == [(1, 3), (2, 3), (3, 3), (1, 1)]

"""Counts over the test images, and the metrics that follow from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from issbench.bench.engine.evaluation import count, count_batch, forgetting, metrics, pack, totals
from issbench.bench.engine.loading import Part
from issbench.methods.functional import confusion_matrix
from issbench.methods.method import Output
from issbench.scenarios.protocol import PROTOCOLS

SKIP, ZERO = PROTOCOLS["plop"], PROTOCOLS["ssul"]
GROUPS = {
    "named": {"base": (0, 1), "new": (2, 3), "all": (0, 3)},
    "printed": {"0-1": (0, 1), "2-3": (2, 3), "all": (0, 3)},
}


class Stub(nn.Module):
    """Its logits are the image itself at a quarter of the pixels."""

    def forward(self, images: Tensor, stages: bool = False) -> Output:
        return Output(images[:, :, ::2, ::2], images, images, (), (images.shape[2], images.shape[3]))


def test_count_agrees_with_counting_by_hand() -> None:
    generator = torch.Generator().manual_seed(0)
    choices = torch.tensor([0, 1, 2, 3, 255])  # class 3 is still to come
    batches = [
        Part(
            torch.randn(size, 3, 8, 6, generator=generator),
            choices[torch.randint(5, (size, 8, 6), generator=generator)],
            whole=size,
        )
        for size in (2, 2, 1)
    ]
    expected = np.zeros((5, 3, 3), int)  # images, (tp, fp, fn), classes
    image = 0
    for part in batches:
        images, labels = part.images, part.labels
        small = images[:, :, ::2, ::2]
        large = nn.functional.interpolate(small, (8, 6), mode="bilinear", align_corners=False).numpy()
        for (row, *pixel), true in np.ndenumerate(labels.numpy()):
            said = large[(row, slice(None), *pixel)].argmax()
            if true > 2:
                continue
            if said == true:
                expected[image + row, 0, true] += 1
            else:
                expected[image + row, 1, said] += 1
                expected[image + row, 2, true] += 1
        image += len(images)
    found = count(Stub(), iter(batches), 3)
    assert found.tolist() == expected.tolist()
    assert expected[:, :2].sum(axis=0).min() > 0
    assert totals(found) == dict(zip(("tp", "fp", "fn"), expected.sum(axis=0).tolist(), strict=True))


def test_counts_of_images_add_up_to_the_confusion_matrix() -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.tensor([0, 1, 2, 3, 6, 255])[torch.randint(6, (4, 9, 7), generator=generator)]
    prediction = torch.randint(5, (4, 9, 7), generator=generator)
    confusion = confusion_matrix(prediction, target, 5)
    hits = confusion.diagonal()
    found = totals(count_batch(prediction, target, 5).numpy())
    assert found["tp"] == hits.tolist()
    assert found["fp"] == (confusion.sum(dim=0) - hits).tolist()
    assert found["fn"] == (confusion.sum(dim=1) - hits).tolist()


def test_count_of_no_image() -> None:
    assert totals(count(Stub(), iter(()), 2)) == {"tp": [0, 0], "fp": [0, 0], "fn": [0, 0]}


def test_packed_counts_hold_the_classes_that_occur() -> None:
    images = np.zeros((3, 3, 4), np.int64)
    images[0, :, 1] = 5, 0, 2
    images[0, :, 3] = 0, 7, 0
    images[2, :, 0] = 9, 0, 0
    packed = {name: values.tolist() for name, values in pack(images).items()}
    assert packed == {
        "format": 1, "shape": [3, 4], "entries": [2, 0, 1], "classes": [1, 3, 0],
        "tp": [5, 0, 9], "fp": [0, 7, 0], "fn": [2, 0, 0],
    }  # fmt: skip


COUNTS = {"tp": [60, 10, 30, 0], "fp": [20, 10, 0, 0], "fn": [20, 0, 10, 0]}


def test_iou_and_the_means_of_groups() -> None:
    found = metrics(COUNTS, GROUPS, SKIP)
    assert found["iou"] == pytest.approx([60, 50, 75, None])
    assert found["miou"] == pytest.approx({"base": 55, "new": 75, "all": 185 / 3})
    assert found["groups"] == pytest.approx({"0-1": 55, "2-3": 75, "all": 185 / 3})
    assert found["pixel_accuracy"] == pytest.approx(100 * 100 / 130)


def test_an_absent_class_counts_zero_where_the_protocol_says_so() -> None:
    found = metrics(COUNTS, GROUPS, ZERO)
    assert found["iou"][3] is None
    assert found["groups"] == pytest.approx({"0-1": 55, "2-3": 37.5, "all": 185 / 4})


def test_a_class_that_is_only_predicted_is_absent_too() -> None:
    counts = COUNTS | {"fp": [20, 10, 0, 5]}
    assert metrics(counts, GROUPS, SKIP)["iou"][3] == 0
    assert metrics(counts, GROUPS, SKIP)["groups"]["2-3"] == pytest.approx(75)
    assert metrics(counts, GROUPS, ZERO)["groups"]["2-3"] == pytest.approx(37.5)


@pytest.mark.parametrize("protocol", [SKIP, ZERO])
def test_classes_to_come_have_no_part_in_a_mean(protocol: object) -> None:
    counts = {name: values[:2] for name, values in COUNTS.items()}
    found = metrics(counts, GROUPS, protocol)
    assert found["iou"] == pytest.approx([60, 50])
    assert found["groups"] == pytest.approx({"0-1": 55, "2-3": None, "all": 55})


def test_nothing_labelled_has_no_accuracy() -> None:
    nothing = {name: [0, 0, 0, 0] for name in COUNTS}
    found = metrics(nothing, GROUPS, SKIP)
    assert found["iou"] == [None] * 4
    assert found["groups"] == {"0-1": None, "2-3": None, "all": None}
    assert found["pixel_accuracy"] is None


def test_forgetting_is_measured_from_the_first_evaluation_of_a_class() -> None:
    ious = [[90.0, 80.0], [70.0, 85.0, 40.0], [60.0, None, 45.0, 30.0]]
    assert forgetting([0, 0, 1, 2], ious) == [30, None, -5, 0]
    assert forgetting([0, 0, 1, 2], [[None, 80.0], *ious[1:]]) == [None, None, -5, 0]

"""One pass over the test images, in which every metric counts what it is made of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from issbench.bench.engine.evaluation import count_images
from issbench.bench.engine.loading import Share
from issbench.bench.metrics import merge, metrics_for
from issbench.bench.metrics.confusion import count_pixels
from issbench.methods.functional import confusion_matrix
from issbench.methods.method import Output


class Stub(nn.Module):
    """Its logits are the image itself at a quarter of the pixels."""

    def forward(self, images: Tensor, stages: bool = False) -> Output:
        return Output(images[:, :, ::2, ::2], images, images, (), (images.shape[2], images.shape[3]))


@pytest.fixture
def batches() -> list[Share]:
    """Batches of two images, the last one smaller; class 3 is still to come."""
    generator = torch.Generator().manual_seed(0)
    choices = torch.tensor([0, 1, 2, 3, 255])
    return [
        Share(
            torch.randn(size, 3, 8, 6, generator=generator),
            choices[torch.randint(5, (size, 8, 6), generator=generator)],
            size,
        )
        for size in (2, 2, 1)
    ]


def test_counts_agree_with_counting_by_hand(batches: list[Share]) -> None:
    expected = np.zeros((5, 3, 3), int)  # images, (tp, fp, fn), classes
    image = 0
    for share in batches:
        images, labels = share.images, share.labels
        small = images[:, :, ::2, ::2]
        large = nn.functional.interpolate(small, (8, 6), mode="bilinear", align_corners=False).numpy()
        for (row, *pixel), true in np.ndenumerate(labels.numpy()):
            predicted = large[(row, slice(None), *pixel)].argmax()
            if true > 2:
                continue
            if predicted == true:
                expected[image + row, 0, true] += 1
            else:
                expected[image + row, 1, predicted] += 1
                expected[image + row, 2, true] += 1
        image += len(images)
    metrics = metrics_for(())
    found = count_images(Stub(), iter(batches), metrics, 3)
    assert list(found) == ["confusion"]
    assert found["confusion"].dtype == np.int64
    assert found["confusion"].tolist() == expected.tolist()
    assert expected[:, :2].sum(axis=0).min() > 0
    totals = dict(zip(("tp", "fp", "fn"), expected.sum(axis=0).tolist(), strict=True))
    assert merge(metrics, found) == {"confusion": totals}


def test_the_counts_of_all_metrics_come_from_one_pass(batches: list[Share]) -> None:
    passes = []

    def parts() -> Iterator[Share]:
        for share in batches:
            passes.append(share)
            yield share

    metrics = metrics_for(["boundary-iou"])
    found = count_images(Stub(), parts(), metrics, 3)
    assert len(passes) == len(batches)
    assert {kind: counts.shape for kind, counts in found.items()} == {"confusion": (5, 3, 3), "boundary": (5, 3, 3)}
    alone = count_images(Stub(), iter(batches), metrics_for(()), 3)
    assert np.array_equal(found["confusion"], alone["confusion"])
    # In images so small nearly every pixel is near a boundary.
    assert 0 < found["boundary"].sum() <= found["confusion"].sum()
    assert list(merge(metrics, found)) == ["confusion", "boundary"]


def test_counts_of_images_add_up_to_the_confusion_matrix() -> None:
    generator = torch.Generator().manual_seed(1)
    target = torch.tensor([0, 1, 2, 3, 6, 255])[torch.randint(6, (4, 9, 7), generator=generator)]
    prediction = torch.randint(5, (4, 9, 7), generator=generator)
    confusion = confusion_matrix(prediction, target, 5)
    hits = confusion.diagonal()
    tp, fp, fn = count_pixels(prediction, target, 5).sum(dim=0)
    assert tp.tolist() == hits.tolist()
    assert fp.tolist() == (confusion.sum(dim=0) - hits).tolist()
    assert fn.tolist() == (confusion.sum(dim=1) - hits).tolist()


@pytest.mark.parametrize("asked", [[], ["boundary-iou"]])
def test_no_image(asked: list[str]) -> None:
    """A test without images, and a process without a share of the last batch."""
    metrics = metrics_for(asked)
    nothing = {"tp": [0, 0], "fp": [0, 0], "fn": [0, 0]}
    for parts in ([], [Share(torch.zeros(0, 2, 8, 6), torch.zeros(0, 8, 6, dtype=torch.long), 1)]):
        found = count_images(Stub(), iter(parts), metrics, 2)
        assert all(counts.shape == (0, 3, 2) for counts in found.values())
        assert all(totals == nothing for totals in merge(metrics, found).values())

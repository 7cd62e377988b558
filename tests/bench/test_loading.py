"""From a view of a dataset to batches: their order, their content, and what is said about broken files."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from issbench.bench.engine.loading import Loader, Share
from issbench.bench.engine.order import BatchOrder
from issbench.bench.recipe import Recipe
from issbench.scenarios.datasets import load_dataset
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.decoded import Pairs
from issbench.scenarios.errors import DataError
from issbench.scenarios.transforms import evaluation_pair
from issbench.scenarios.views import View

CPU = torch.device("cpu")
AS_IS = np.arange(256, dtype=np.uint8)


def order(rows: int = 10, batch: int = 4, epochs: int = 3, seed: int = 0, step: int = 1) -> BatchOrder:
    return BatchOrder(rows, batch, epochs, seed, step)


def drawn(batches: BatchOrder) -> list[list[tuple[int, int]]]:
    return [batches[i] for i in range(len(batches))]


# The order of the batches


def test_an_epoch_is_a_permutation_without_its_incomplete_end() -> None:
    batches = order(rows=12)
    assert len(batches) == 9 and batches.per_epoch == 3
    for epoch in range(3):
        pairs = [pair for i in range(3) for pair in batches[3 * epoch + i]]
        assert {e for e, _ in pairs} == {epoch}
        assert sorted(row for _, row in pairs) == list(range(12))
    batches = order(rows=11)
    assert len(batches) == 6 and batches.per_epoch == 2
    for epoch in range(3):
        rows = [row for i in range(2) for _, row in batches[2 * epoch + i]]
        assert len(set(rows)) == 8


def test_exemplars_take_their_share_of_each_batch() -> None:
    """Evenly spread over the batch, permutation after permutation; the step's images keep their places."""
    plain, batches = order(rows=12), BatchOrder(12, 4, 3, 0, 1, exemplars=5, share=0.5)
    assert batches.replayed == (False, True, False, True) and len(batches) == len(plain)
    replayed = []
    for before, after in zip(drawn(plain), drawn(batches), strict=True):
        assert after[0::2] == before[0::2]
        replayed += after[1::2]
    assert len(replayed) == 18 and {row for _, row in replayed} == {*range(12, 17)}
    for first in range(0, 15, 5):
        assert sorted(row for _, row in replayed[first : first + 5]) == [*range(12, 17)]
    assert not any(BatchOrder(12, 4, 3, 0, 1, exemplars=0, share=0.5).replayed)


def test_rows_are_shuffled_anew_for_each_epoch_step_and_seed() -> None:
    rows = [[row for _, row in batch] for batch in drawn(order(rows=64, batch=64, epochs=2))]
    assert rows[0] != rows[1]
    assert rows[0] != list(range(64))
    first = {name: drawn(order(rows=64, **{name: 7}))[0] for name in ("seed", "step")}
    assert first["seed"] != first["step"] != drawn(order(rows=64))[0] != first["seed"]


def test_a_small_step_fills_its_batches() -> None:
    batches = order(rows=3, batch=8, epochs=2)
    assert len(batches) == 2 and batches.per_epoch == 1
    pairs = batches[0] + batches[1]
    assert [len(batches[0]), len(batches[1])] == [8, 8]
    assert len(set(pairs)) == 16  # a repeated row comes with another augmentation
    for start in range(0, 15, 3):
        assert sorted(row for _, row in pairs[start : start + 3]) == [0, 1, 2]


@pytest.mark.parametrize("rows", [10, 3])
def test_the_order_is_a_function_of_the_iteration(rows: int) -> None:
    wanted = drawn(order(rows))
    assert drawn(order(rows)) == wanted
    for start in range(len(wanted)):
        resumed = order(rows)
        assert [resumed[i] for i in range(start, len(wanted))] == wanted[start:]
    with pytest.raises(IndexError):
        order(rows)[len(wanted)]


# Batches of images


SETTINGS = {"crop": 32, "batch": 2}


@pytest.fixture(scope="module")
def shapes() -> Dataset:
    return load_dataset("shapes", None)


def loader(dataset: Dataset, workers: int = 0, **settings: Any) -> Loader:
    return Loader(Pairs(dataset), Recipe(**SETTINGS | settings), CPU, workers)


def view(dataset: Dataset, count: int = 5, table: np.ndarray = AS_IS) -> View:
    return View(dataset.ids("train")[:count], table)


def equal(one: Iterable[Share], other: Iterable[Share]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in pairs)


def test_batches_depend_on_neither_workers_nor_the_start(shapes: Dataset) -> None:
    batches = list(loader(shapes).training(view(shapes), order(5, 2), 0))
    assert len(batches) == 6
    torch.manual_seed(99)  # nor on torch's own generator
    assert equal(loader(shapes, workers=2).training(view(shapes), order(5, 2), 0), batches)
    assert equal(loader(shapes).training(view(shapes), order(5, 2), 4), batches[4:])


def test_augmentation_differs_by_epoch_seed_and_step(shapes: Dataset) -> None:
    def only(**names: int) -> list[Tensor]:  # the same image at every iteration
        return [share.images for share in loader(shapes).training(view(shapes, 1), order(1, 2, 2, **names), 0)]

    default = only()
    crops = [crop for images in default for crop in images]
    assert not any(torch.equal(a, b) for i, a in enumerate(crops) for b in crops[:i])
    assert not torch.equal(only(seed=1)[0], default[0])
    assert not torch.equal(only(step=2)[0], default[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_once_visits_each_image_once_in_order(shapes: Dataset, workers: int) -> None:
    batches = list(loader(shapes, workers).once(view(shapes)))
    assert [len(share.images) for share in batches] == [2, 2, 1]
    pairs = [evaluation_pair(*Pairs(shapes).pair(i), AS_IS, 32) for i in shapes.ids("train")[:5]]
    labels = torch.cat([share.labels for share in batches])
    assert labels.dtype == torch.int64
    assert torch.equal(labels, torch.stack([label for _, label in pairs]).long())
    images = torch.cat([share.images for share in batches])
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = (images * std[:, None, None] + mean[:, None, None]) * 255
    torch.testing.assert_close(pixels, torch.stack([image for image, _ in pairs]).float(), atol=1e-3, rtol=0)
    assert all(share.images.is_contiguous(memory_format=torch.channels_last) for share in batches)


def test_labels_go_through_the_table_of_the_view(shapes: Dataset) -> None:
    table = np.zeros(256, np.uint8)
    table[255], table[1] = 255, 7
    plain, mapped = (next(iter(loader(shapes).once(view(shapes, 2, t)))).labels for t in (AS_IS, table))
    assert set(mapped.unique().tolist()) <= {0, 7, 255}
    assert torch.equal(mapped == 7, plain == 1)
    assert torch.equal(mapped == 255, plain == 255)


def test_data_in_memory_need_no_workers(shapes: Dataset, tiny_voc: Path) -> None:
    assert Loader(Pairs(shapes), Recipe(), CPU, None).workers == 0
    assert 1 <= Loader(Pairs(load_dataset("voc", tiny_voc)), Recipe(), CPU, None).workers <= 8


# Broken files


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["size", "image", "label"])
def test_broken_files_are_told_in_one_line(tiny_voc: Path, damage: str, workers: int) -> None:
    if damage == "size":
        Image.new("RGB", (5, 3)).save(tiny_voc / "JPEGImages" / "c.jpg")
        wanted = "image c has 5×3 pixels, but its label map 4×3"
    elif damage == "image":
        (tiny_voc / "JPEGImages" / "c.jpg").write_bytes(b"no image")
        wanted = "c.jpg is not a readable image"
    else:
        Image.new("L", (4, 3), 77).save(tiny_voc / "SegmentationClassAug" / "c.png")
        wanted = "c.png holds 77"
    dataset = load_dataset("voc", tiny_voc)
    reading = loader(dataset, workers, crop=4)
    for batches in (reading.once(view(dataset)), reading.training(view(dataset), order(3, 2, 2), 0)):
        with pytest.raises(DataError, match=wanted) as info:
            list(islice(batches, 4))
        assert info.value.exit_code == 1
        assert "\n" not in str(info.value)
        assert "Traceback" not in str(info.value)
        assert not multiprocessing.active_children()  # no worker is left to be waited for

"""Medians of a stream: exactly those of all values together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.shared.medians import Passes, streaming_medians

CPU = torch.device("cpu")


def stream(values: Tensor, classes: Tensor, size: int) -> Passes:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(values.split(size), classes.split(size), strict=True)

    return batches


def check(values: Tensor, classes: Tensor, num_classes: int, size: int = 1000) -> Tensor:
    found = streaming_medians(stream(values, classes, size), num_classes, CPU)
    assert found.dtype == torch.float32 and found.shape == (num_classes,)
    assert torch.equal(found, fn.class_medians(values, classes, num_classes))
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("exponent", [1, 12])  # entropies near 1, and over many orders of magnitude
def test_random_values(seed: int, exponent: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.rand(997 + seed, generator=draw) ** exponent
    classes = torch.randint(6, values.shape, generator=draw)
    classes[torch.rand(values.shape, generator=draw) < 0.2] = 255
    check(values, classes, 5, size=100)  # class 5 is left out as 255 is


@pytest.mark.parametrize(
    "values, median",
    [
        ([0.3], 0.3),
        ([0.3, 0.1, 0.2], 0.2),
        ([0.25, 0.75], 0.5),
        ([0.5, 1e-6], 0.2500005),  # the two middle values are far apart
        ([0.0, 0.0, 1.0], 0.0),
        ([0.5, 0.5, 0.5, 0.7], 0.5),
        ([-0.0, 0.0, -0.0], 0.0),
        ([-0.0, 0.5], 0.25),
        ([1e-40, 3e-40], 2e-40),  # too small for normal floats
        ([0.2, 0.20000002, 0.20000003], 0.20000002),  # neighbours, which share their upper bits
    ],
)
def test_a_few_values(values: list[float], median: float) -> None:
    found = check(torch.tensor(values), torch.zeros(len(values), dtype=torch.long), 1)
    assert found.item() == pytest.approx(median, rel=1e-6)


def test_absent_classes_have_zero() -> None:
    found = check(torch.tensor([0.5, 0.7]), torch.tensor([2, 255]), 4)
    assert found.tolist() == [0, 0, 0.5, 0]
    nothing = streaming_medians(lambda: iter(()), 3, CPU)
    assert nothing.tolist() == [0, 0, 0]


def test_the_cut_into_batches_does_not_matter() -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(64, generator=draw).mul(20).floor().div(20)  # many ties
    classes = torch.randint(3, (64,), generator=draw)
    for size in (1, 7, 64):
        check(values, classes, 3, size)


def test_maps_of_pixels_and_half_precision() -> None:
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(4, 5, 6, generator=draw)
    classes = torch.randint(3, (4, 5, 6), generator=draw)
    found = streaming_medians(stream(values, classes, 2), 3, CPU)
    assert torch.equal(found, fn.class_medians(values.flatten(), classes.flatten(), 3))
    turned = streaming_medians(stream(values.mT, classes.mT, 2), 3, CPU)  # not contiguous
    assert torch.equal(turned, found)
    half = streaming_medians(stream(values.bfloat16(), classes, 2), 3, CPU)
    assert torch.equal(half, fn.class_medians(values.bfloat16().flatten(), classes.flatten(), 3))

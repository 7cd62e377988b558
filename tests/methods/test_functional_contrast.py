"""Properties of functional.pixel_contrast, against a naive reference."""

import math

import pytest
import torch
from torch import Tensor

from issbench.methods import functional as MF

N, M, D = 7, 12, 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def example(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Anchors, contrast set, labels of both, weights; label 4 has one pixel, 255 is none."""
    anchors, others = normal(N, D, seed=seed), normal(M - N, D, seed=seed + 1)
    own = torch.tensor([0, 1, 1, 2, 255, 0, 4])
    labels = torch.cat([own, torch.tensor([0, 2, 255, 1, 3])])
    return anchors, torch.cat([anchors, others]), own, labels, normal(N, M, seed=seed + 2).abs()


def slow(
    anchors: Tensor, contrast: Tensor, own: Tensor, labels: Tensor, weights: Tensor, temperature: float
) -> Tensor:
    costs = []
    for i in range(len(anchors)):
        s = torch.cosine_similarity(anchors[i][None], contrast, dim=1) / temperature
        known = labels != 255 if own[i] != 255 else torch.zeros_like(labels, dtype=torch.bool)
        negatives = s[known & (labels != own[i])].exp().sum()
        mine = [j for j in range(len(contrast)) if known[j] and labels[j] == own[i] and j != i]
        each = [-weights[i, j] * (s[j] - (s[j].exp() + negatives).log()) for j in mine]
        costs.append(torch.stack(each).mean() if each else torch.zeros((), dtype=torch.float64))
    return torch.stack(costs)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_of_each_pair(temperature: float) -> None:
    anchors, contrast, *rest = example()
    leaf = anchors.clone().requires_grad_()
    actual = MF.pixel_contrast(leaf, contrast, *rest, temperature)
    expected = slow(leaf, contrast, *rest, temperature)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)
    slopes = [torch.autograd.grad(value.sum(), leaf)[0] for value in (actual, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-12)
    assert actual[4] == actual[6] == 0 and (slopes[0][[4, 6]] == 0).all()  # no pixel, and no positive


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_stays_finite_at_the_lowest_temperature(dtype: torch.dtype) -> None:
    """Opposite positives and equal negatives: similarities of −100 and 100."""
    one = torch.tensor([[1.0, 0.0]], dtype=dtype)
    anchors = torch.cat([one, -one]).requires_grad_()
    contrast = torch.cat([one, -one, one])
    labels = torch.tensor([0, 0, 1])
    cost = MF.pixel_contrast(anchors, contrast, labels[:2], labels, torch.ones(2, 3, dtype=dtype), 0.01)
    torch.testing.assert_close(cost, torch.tensor([200.0, math.log(2)], dtype=dtype))
    cost.sum().backward()
    assert anchors.grad is not None and anchors.grad.isfinite().all()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_without_negatives_nothing_is_to_be_gained() -> None:
    anchors = normal(3, D).requires_grad_()
    labels = torch.zeros(3, dtype=torch.long)
    with torch.autograd.detect_anomaly(check_nan=True):
        cost = MF.pixel_contrast(anchors, anchors.detach(), labels, labels, torch.ones(3, 3).double())
        cost.sum().backward()
    assert (cost == 0).all() and anchors.grad is not None and (anchors.grad == 0).all()


@pytest.mark.parametrize("rows", [0, 4])
def test_no_anchors(rows: int) -> None:
    nothing, labels = normal(0, D), torch.zeros(0, dtype=torch.long)
    contrast, others = normal(rows, D), torch.zeros(rows, dtype=torch.long)
    assert MF.pixel_contrast(nothing, contrast, labels, others, normal(0, rows)).shape == (0,)


def test_ignored_pixels_are_as_if_they_were_not_there() -> None:
    anchors, contrast, own, labels, weights = example()
    rows, columns = own != 255, labels != 255
    whole = MF.pixel_contrast(anchors, contrast, own, labels, weights)
    kept = MF.pixel_contrast(
        anchors[rows], contrast[columns], own[rows], labels[columns], weights[rows][:, columns]
    )
    torch.testing.assert_close(whole[rows], kept)


def test_lengths_do_not_matter_and_a_feature_of_0_has_no_gradient() -> None:
    anchors, contrast, *rest = example()
    anchors[1] = contrast[1] = 0
    leaf = anchors.clone().requires_grad_()
    cost = MF.pixel_contrast(leaf, contrast, *rest)
    cost.sum().backward()
    assert cost.isfinite().all() and leaf.grad is not None and (leaf.grad[1] == 0).all()
    assert leaf.grad.isfinite().all() and leaf.grad[0].abs().max() > 0
    torch.testing.assert_close(MF.pixel_contrast(5 * anchors, contrast / 3, *rest), cost.detach())


def test_values_where_there_is_no_positive_are_not_read() -> None:
    """Also weights that are not finite."""
    anchors, contrast, own, labels, weights = example()
    wild = torch.where(own[:, None] == labels, weights, math.inf)
    actual = MF.pixel_contrast(anchors, contrast, own, labels, wild)
    torch.testing.assert_close(actual, MF.pixel_contrast(anchors, contrast, own, labels, weights))

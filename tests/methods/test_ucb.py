"""UCB's weights of pixels, on top of a method."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from method_examples import CLASSES, DOMAIN, batch, begun, cross_entropy
from torch import Tensor

from issbench.methods.method import Step


def by_hand(labels: Tensor, teacher: Tensor, shares: np.ndarray, step: Step, limit: float = 0.8) -> Tensor:
    """Pixel by pixel."""
    p = teacher.detach().double().softmax(1)
    entropy = -(p * p.log()).sum(1)
    entropy = (entropy - entropy.min()) / (entropy.max() - entropy.min())
    ratio = math.sqrt(step.num_new / step.num_old)
    low, high = min(ratio, 1 / ratio), max(ratio, 1 / ratio)
    named = shares[1:]
    weights = torch.zeros(labels.shape, dtype=torch.float64)
    for place in np.ndindex(*labels.shape):
        c = 0 if labels[place] == 255 else int(labels[place])
        h = 0.0 if c >= step.num_old else entropy[place].item()
        certain = 0.0 if h >= limit and c < step.num_old else math.exp(-(h - limit) / limit)
        rarity = 1.0 if c == 0 else named.sum() / ((named > 0).sum() * shares[c])
        weights[place] = certain * min(max(rarity, low), high)
    return weights / weights.mean()


def histogram(labels: Tensor, classes: int) -> np.ndarray:
    counts = np.bincount(torch.where(labels == 255, 0, labels).flatten().numpy(), minlength=classes)
    return counts / counts.sum()


def test_certain_pixels_and_rare_classes_count_more() -> None:
    method, shares = begun("ft+ucb", CLASSES), []
    for seed in (0, 1, 2):  # the shares of the classes are those of all batches so far
        example = batch(CLASSES, seed)
        shares.append(histogram(example.labels, 6))
        weights = method.pixel_weights(example, example.labels)
        wanted = by_hand(example.labels, example.teacher.logits, np.mean(shares, axis=0), CLASSES)
        torch.testing.assert_close(weights.double(), wanted, rtol=1e-4, atol=1e-5)
        assert weights.mean().item() == pytest.approx(1, rel=1e-5) and not weights.requires_grad
    assert (weights == 0).any()


def test_the_bounds_are_in_order_where_a_step_has_more_classes_than_were_known() -> None:
    """The released code's are not, and give every class the same weight."""
    step = Step(1, (1, 4), feature_channels=6, encoder_channels=7)  # 2 channels are old, 4 new
    example = batch(step)
    example.labels = torch.full_like(example.labels, 2)  # one new class nearly everywhere
    example.labels[:, 0, :6] = 3
    weights = begun("ft+ucb", step).pixel_weights(example, example.labels)
    assert (weights[example.labels == 3].mean() / weights[example.labels == 2].mean()).item() == pytest.approx(2)


def test_weights_lie_on_top_of_those_below() -> None:
    method, plain, example = begun("plop+ucb", CLASSES), begun("plop", CLASSES), batch(CLASSES)
    targets = plain.targets(example)
    factor = plain.pixel_weights(example, targets)
    own = by_hand(targets, example.teacher.logits, histogram(targets, 6), CLASSES)
    wanted = (factor * own.float() * cross_entropy(example, targets)).mean()
    torch.testing.assert_close(method.loss(example)["classification"], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("step", [DOMAIN, replace(CLASSES, old_labelled=True)], ids=["domain", "sequential"])
def test_where_no_label_is_in_doubt_nothing_changes(step: Step) -> None:
    with_it, without = begun("plop+ucb", step).loss(batch(step)), begun("plop", step).loss(batch(step))
    assert all(torch.equal(with_it[name], without[name]) for name in without)

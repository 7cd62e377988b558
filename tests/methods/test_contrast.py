"""UCD's contrast of pixels, and CoinSeg's of class means, on top of a method."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import CLASSES, DOMAIN, LOW, STEPS, batch, begun
from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.method import Batch, Step
from issbench.methods.parts.contrast import drawn
from issbench.methods.shared.background import nearest_labels

ALL = LOW[0] * LOW[1]
"""Cells of a feature map."""


def classes(example: Batch, step: Step) -> Tensor:
    """Ground truth where it is not background, else the old model's class; 255 where that is background, too."""
    labels = nearest_labels(example.labels, example.student.features)
    if step.domain:
        return labels.flatten()
    seen = torch.where(labels == 0, example.teacher.low_logits.argmax(1), labels)
    return torch.where(seen == 0, 255, seen).flatten()


def rows(maps: Tensor) -> Tensor:
    return maps.movedim(1, -1).flatten(0, 2)


@STEPS
def test_pixels_are_compared_with_the_students_and_the_old_ones(step: Step) -> None:
    example = batch(step)
    labels = classes(example, step)
    there, old = labels != 255, labels < step.num_old
    new = there & ~old
    student, teacher = rows(example.student.features), rows(example.teacher.features)
    sure = rows(example.teacher.low_logits).softmax(1)
    agree = (sure @ sure.T).masked_fill(new[:, None] & new, 1)
    costs = fn.pixel_contrast(
        student[there],
        torch.cat([student[there], teacher[old]]).detach(),
        labels[there],
        torch.cat([labels[there], labels[old]]),
        torch.cat([agree[there][:, there], agree[there][:, old]], 1).detach(),
    )
    assert there.any() and old.any() and not (there.all() and new.any())
    term = begun("mib+contrast", step, contrast_pixels=ALL).loss(example)["contrast"]
    torch.testing.assert_close(term, 0.01 * costs.mean())
    term.backward()
    slope = example.student.features.grad
    assert slope is not None and slope.isfinite().all() and slope.abs().max() > 0
    assert (rows(slope)[~there] == 0).all() and example.student.low_logits.grad is None
    assert example.teacher.features.grad is None


@STEPS
def test_means_of_classes_are_compared(step: Step) -> None:
    example = batch(step)
    labels = classes(example, step)
    present = [c for c in range(step.num_classes) if (labels == c).any()]
    means, known = (
        torch.stack([nnf.normalize(rows(one.features))[labels == c].mean(0) for c in present])
        for one in (example.student, example.teacher)
    )
    names, ones = torch.tensor(present), torch.ones(len(present), 2 * len(present))
    costs = fn.pixel_contrast(means, torch.cat([means, known]).detach(), names, torch.cat([names, names]), ones)
    assert (costs > 0).all()  # the old model's mean is the positive of each
    term = begun("mib+contrast", step, anchors="means").loss(example)["contrast"]
    torch.testing.assert_close(term, 0.01 * costs.mean())


def test_the_methods_own_terms_stay() -> None:
    with_it, without = (
        begun("plop+contrast", CLASSES).loss(batch(CLASSES)),
        begun("plop", CLASSES).loss(batch(CLASSES)),
    )
    assert with_it.pop("contrast") > 0
    assert with_it.keys() == without.keys()
    assert all(torch.equal(with_it[name], without[name]) for name in without)


def test_features_in_one_place_for_each_class_cost_less() -> None:
    method, mixed, sorted_by_class = begun("ft+contrast", CLASSES), batch(CLASSES), batch(CLASSES)
    labels = classes(mixed, CLASSES).clamp(max=6).view(2, *LOW)
    places = nnf.one_hot(labels, 7)[..., :6].movedim(-1, 1).float()
    for one in (sorted_by_class.student, sorted_by_class.teacher):
        one.features = places + 0.01
    assert method.loss(sorted_by_class)["contrast"] < 0.1 * method.loss(mixed)["contrast"]


def test_cells_are_drawn_from_those_with_a_class() -> None:
    labels = torch.full((2, 8, 8), 255)
    labels[0, :4], labels[1, 0, :3] = 1, 2
    torch.manual_seed(0)
    cells = drawn(labels, 8)
    assert cells.shape == (2, 8) and all(len(set(row)) == 8 for row in cells.tolist())
    assert (labels[0].flatten()[cells[0]] == 1).all()
    assert set(cells[1].tolist()) > {0, 1, 2}  # all that there are, and others that count nothing
    other = drawn(labels, 8)
    assert not torch.equal(cells, other)
    torch.manual_seed(0)
    assert torch.equal(drawn(labels, 8), cells)
    assert torch.equal(drawn(labels, 1000), torch.arange(64).expand(2, -1))


def test_every_cell_with_a_class_is_drawn_now_and_then() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(1, 4, 4, dtype=torch.long).index_fill(1, torch.tensor([3]), 255)
    counts = torch.stack([nnf.one_hot(drawn(labels, 3), 16).sum((0, 1)) for _ in range(400)]).sum(0)
    assert (counts[:12] > 60).all() and (counts[12:] == 0).all()  # 100 is expected


@pytest.mark.parametrize("anchors", ["pixels", "means"])
def test_a_batch_of_ignored_pixels_costs_nothing(anchors: str) -> None:
    example = batch(DOMAIN)
    example.labels = torch.full_like(example.labels, 255)
    assert begun("mib+contrast", DOMAIN, anchors=anchors).loss(example)["contrast"] == 0

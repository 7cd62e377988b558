"""LGKD on top of a method."""

from __future__ import annotations

import pytest
import torch
from method_examples import CLASSES, DOMAIN, batch, begun

from issbench.methods import functional as fn
from issbench.methods.shared.background import nearest_labels


def test_the_background_of_the_old_model_becomes_the_label() -> None:
    example = batch(CLASSES)
    labels = nearest_labels(example.labels, example.student.low_logits)
    q = torch.cat([example.teacher.low_logits.softmax(1), torch.zeros(2, 2, *labels.shape[1:])], 1).movedim(1, -1)
    log_p = example.student.low_logits.log_softmax(1).movedim(1, -1)
    costs = []
    for place in (labels != 255).nonzero().tolist():
        b, y, x = place
        wanted, weight = q[b, y, x].clone(), 10.0
        if labels[b, y, x] >= 4:
            wanted[labels[b, y, x]], wanted[0], weight = wanted[0].clone(), 0, 1.0
        costs.append(-weight * (wanted * log_p[b, y, x]).sum())
    term = begun("plop+lgkd", CLASSES).loss(example)["label-guided"]
    torch.testing.assert_close(term, torch.stack(costs).mean())
    term.backward()
    slope = example.student.low_logits.grad
    assert slope is not None and (slope.movedim(1, -1)[labels == 255] == 0).all()


def test_each_kind_of_pixel_has_its_weight() -> None:
    both, old, new, none = (
        begun("plop+lgkd", CLASSES, guided_old=a, guided_new=b).loss(batch(CLASSES))["label-guided"]
        for a, b in ((3, 2), (1, 0), (0, 1), (0, 0))
    )
    torch.testing.assert_close(both, 3 * old + 2 * new)
    assert none == 0 and old > 0 and new > 0


@pytest.mark.parametrize("base", ["mib", "plop", "lwf", "rcil"])
def test_it_takes_the_place_of_a_distillation_of_probabilities(base: str) -> None:
    mine, theirs = begun(f"{base}+lgkd", CLASSES).loss(batch(CLASSES)), begun(base, CLASSES).loss(batch(CLASSES))
    assert mine.keys() == {*theirs.keys() - {"distillation"}, "label-guided"}
    assert all(torch.equal(mine[name], theirs[name]) for name in mine.keys() - {"label-guided"})


def test_in_domains_it_is_the_cross_entropy_against_the_old_model() -> None:
    example = batch(DOMAIN)
    labels = nearest_labels(example.labels, example.student.low_logits)
    pixels = fn.logit_regulariser(example.student.low_logits, example.teacher.low_logits)
    term = begun("mib+lgkd", DOMAIN).loss(example)["label-guided"]
    torch.testing.assert_close(term, 10 * pixels[labels != 255].mean())

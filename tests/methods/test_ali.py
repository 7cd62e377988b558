"""ALIFE without its memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from method_examples import CLASSES, DOMAIN, batch, begun, cross_entropy

from issbench.methods import functional as fn
from issbench.methods.method import Step


def test_each_term_has_its_own_pixels() -> None:
    example = batch(CLASSES)
    student, teacher = example.student.logits, example.teacher.logits
    hidden, new = example.labels == 0, (example.labels >= 4) & (example.labels != 255)
    terms = begun("ali", CLASSES, regulariser=3, distillation=2).loss(example)
    assert set(terms) == {"classification", "regulariser", "distillation"}
    learned = cross_entropy(example, example.labels)[new].sum() / example.labels.numel()  # the mean over all pixels
    torch.testing.assert_close(terms["classification"], learned)
    torch.testing.assert_close(terms["regulariser"], 3 * fn.logit_regulariser(student, teacher)[hidden].mean())
    distance = fn.knowledge_distillation(student, teacher)[~hidden].mean()  # of ignored pixels, too
    torch.testing.assert_close(terms["distillation"], 2 * distance)


def test_the_background_is_not_learned_and_pushes_new_classes_down() -> None:
    method, example = begun("ali", CLASSES, distillation=0), batch(CLASSES)
    logits = example.student.logits.detach().requires_grad_()
    example.student.__dict__["logits"] = logits
    torch.stack([*method.loss(example).values()]).sum().backward()
    assert logits.grad is not None
    slope, hidden = logits.grad.movedim(1, -1), example.labels == 0
    known = torch.nn.functional.pad(example.teacher.logits.softmax(1).detach(), (0, 0, 0, 0, 0, 2))
    pull = (logits.detach().softmax(1) - known).movedim(1, -1)
    torch.testing.assert_close(slope[hidden], pull[hidden] / hidden.sum())
    assert (slope[hidden][:, 4:] > 0).all() and (slope[example.labels == 255] == 0).all()


@pytest.mark.parametrize("step", [DOMAIN, replace(CLASSES, old_labelled=True)], ids=["domain", "sequential"])
def test_where_nothing_hides_all_labels_are_learned(step: Step) -> None:
    example = batch(step)
    terms = begun("ali", step).loss(example)
    torch.testing.assert_close(terms["classification"], cross_entropy(example, example.labels).mean())
    assert terms["regulariser"] == 0
    distance = fn.knowledge_distillation(example.student.logits, example.teacher.logits)
    torch.testing.assert_close(terms["distillation"], distance.mean())

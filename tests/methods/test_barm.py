"""BARM: what a step may do to the background, what trains, and what each term is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import CLASSES, DOMAIN, batch, make, network, options_of
from torch import Tensor

from issbench.errors import UsageError
from issbench.methods.barm import BARMHead
from issbench.methods.method import Method
from issbench.methods.shared.background import nearest_labels


def prepared() -> tuple[Method, Any]:
    student, method = network(CLASSES, "barm"), make("barm", CLASSES)
    method.prepare(student)
    method.set_training_mode(student)
    return method, student


def test_a_step_only_takes_away_from_the_background() -> None:
    torch.manual_seed(0)
    old, new = BARMHead(6, (4,)).eval(), BARMHead(6, (4, 2, 3)).eval()
    new.load_state_dict(old.state_dict(), strict=False)
    features = torch.randn(2, 6, 5, 5)
    before, after = old(features), new(features)
    assert after.shape[1] == 4 + 2 + 3
    taken = before[:, 0] - after[:, 0]
    assert (taken >= 0).all() and (taken > 0).any()
    _, logits = new.parts(features)
    wanted = logits[0][:, 0] + logits[1][:, 0].clamp(max=0) + logits[2][:, 0].clamp(max=0)
    torch.testing.assert_close(after[:, 0], wanted)
    assert torch.equal(after[:, 1:4], before[:, 1:])


def test_while_a_step_trains_its_residual_alone_learns_the_background() -> None:
    torch.manual_seed(0)
    head = BARMHead(6, (4, 2, 3)).eval()
    head.training = True
    head(torch.randn(2, 6, 5, 5))[:, 0].sum().backward()
    gradients = [group.weight.grad for group in head.groups]
    assert not gradients[0].any() and not gradients[1].any()
    assert gradients[2][0].any() and not gradients[2][1:].any()


def test_old_classes_get_no_gradient_from_the_labels() -> None:
    method, example = prepared()[0], batch(CLASSES)
    method.loss(example)["classification"].backward()
    gradient = example.student.low_logits.grad
    assert gradient is not None and not gradient[:, 1:4].any()
    assert gradient[:, 0].any() and gradient[:, 4:].any()


def test_the_terms_of_a_later_step() -> None:
    method, student = prepared()
    example = batch(CLASSES)
    terms, head = method.loss(example), student.classifier
    features, old = example.student.features.detach(), example.teacher.features.detach()
    (first, last), logits = head.parts(features)
    first_old, logits_old = head.ears[0](old), head.groups[0](head.ears[0](old))
    labels, residual = nearest_labels(example.labels, features), logits[1][:, 0]
    nothing, shown = labels == 0, (labels > 0) & (labels < 255)
    assert torch.equal(first_old[0], head.ears[1](old)[0]), "a new convolution starts as the first"
    wanted = {
        "kept": 5 * (1 - 2 * residual.sigmoid()).clamp(min=0)[nothing].mean(),
        "taken": -(1 - residual.sigmoid()).log()[shown].mean(),
        "features": 4 * nnf.mse_loss(first * nothing[:, None], first_old * nothing[:, None]),
        "distillation": _distilled(logits[0], logits_old),
    }
    for name, value in wanted.items():
        torch.testing.assert_close(terms[name], value)
    assert terms.keys() == {"classification", *wanted} and last.shape == first.shape


def _distilled(new: Tensor, old: Tensor) -> Tensor:
    return nnf.binary_cross_entropy_with_logits(new, old.sigmoid(), reduction="none").sum(dim=1).mean()


def test_rates_and_frozen_norms() -> None:
    method, student = prepared()
    groups = method.parameter_groups(student)
    assert [group["scale"] for group in groups] == [1, 1, 0.1]
    head = student.classifier
    assert {*head.groups[1].parameters(), head.ears[1][0].weight} == {*groups[0]["params"]}
    norms = {p for m in student.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    assert norms and {p for group in groups for p in group["params"]} == {*student.parameters()} - norms
    assert head.training and not any(module.training for module in student.modules() if module is not head)
    options = options_of("barm", "ade")
    assert (options.rate, options.aspp_rate, options.old_rate) == (2.5, 0.25, 0.025)
    with pytest.raises(UsageError, match="method barm trains what new classes add to a network"):
        make("barm", DOMAIN)

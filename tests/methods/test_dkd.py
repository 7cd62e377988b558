"""DKD and DKD-M: when a pixel is background, what each term is, and what trains at which rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import CLASSES, DOMAIN, SEQUENTIAL, batch, labels, make, network, options_of
from torch import Tensor

from issbench.errors import UsageError
from issbench.methods.dkd import DKDHead
from issbench.methods.method import Batch, Method, Step

FIRST = Step(0, (5,), feature_channels=6, encoder_channels=7)


def one_hot(targets: Tensor, first: int, count: int) -> Tensor:
    return torch.stack([targets == first + channel for channel in range(count)], dim=1).float()


def prepared(name: str = "dkd", **options: Any) -> tuple[Method, Any]:
    student, method = network(CLASSES, "dkd"), make(name, CLASSES, **options)
    method.prepare(student)
    return method, student


def test_background_is_where_no_class_exceeds_one_half() -> None:
    logits = torch.tensor([[9.0, -1.0, -0.1], [9.0, -1.0, 0.1], [-9.0, 2.0, 0.1], [9.0, 0.0, -1.0]])
    scores = DKDHead.scores(logits[:, :, None, None])
    assert scores.argmax(dim=1).flatten().tolist() == [0, 2, 1, 0]
    assert scores.shape == (4, 3, 1, 1), "the auxiliary channel has no say"


def test_the_auxiliary_channel_does_not_reach_the_features() -> None:
    features = torch.randn(1, 6, 2, 2, requires_grad=True)
    head = DKDHead(6, (4, 2))
    head(features)[:, 0].sum().backward()
    assert not features.grad.any() and head.auxiliary.weight.grad.any()
    head(features)[:, 1:].sum().backward()
    assert features.grad.any()


def test_new_classes_start_as_the_auxiliary_one() -> None:
    _, student = prepared()
    logits = student.eval()(torch.randn(2, 3, 64, 64)).low_logits
    torch.testing.assert_close(logits[:, -2:], logits[:, :1].expand(-1, 2, -1, -1))


def test_the_first_step() -> None:
    example = Batch(labels(CLASSES), batch(CLASSES).student, None)
    terms, logits = make("dkd", FIRST).loss(example), example.student.logits
    wanted = one_hot(example.labels, 1, 5)
    cost = nnf.binary_cross_entropy_with_logits(
        logits[:, 1:], wanted, reduction="none", pos_weight=torch.tensor(2.0)
    )
    torch.testing.assert_close(terms["classification"], cost.sum(dim=1).mean())  # ignored pixels are a no
    torch.testing.assert_close(terms["auxiliary"], -(1 - logits[:, 0].sigmoid()).log().mean())
    assert terms.keys() == {"classification", "auxiliary"}


def test_the_terms_of_a_later_step() -> None:
    method, student = prepared()
    example = batch(CLASSES)
    terms, new, old = method.loss(example), example.student, example.teacher
    wanted = one_hot(example.labels, 4, 2)
    cost = nnf.binary_cross_entropy_with_logits(new.logits[:, 4:], wanted, reduction="none")
    torch.testing.assert_close(terms["classification"], cost.sum(dim=1).mean())

    def distilled(mine: Tensor, other: Tensor) -> Tensor:
        return 5 * nnf.binary_cross_entropy_with_logits(mine, other.sigmoid(), reduction="none").sum(dim=1).mean()

    torch.testing.assert_close(terms["distillation"], distilled(new.logits[:, 1:4], old.logits[:, 1:]))
    weight = student.classifier.groups[0].weight.detach().clone()
    for name, part in {"positive": weight.clamp(min=0), "negative": weight.clamp(max=0)}.items():
        maps = [torch.einsum("bdhw,cd->bchw", each.features, part[:, :, 0, 0]) for each in (new, old)]
        torch.testing.assert_close(terms[name], distilled(*maps))
    with torch.no_grad():
        student.classifier.groups[0].weight.neg_()  # the student's weights move, the teacher's do not
    assert not torch.isclose(method.loss(batch(CLASSES))["positive"], terms["positive"])


def test_labelled_old_classes_are_learned() -> None:
    example = batch(SEQUENTIAL)
    found = make("dkd", SEQUENTIAL).pixel_loss(example, example.labels)
    wanted = one_hot(example.labels, 1, 5)
    cost = nnf.binary_cross_entropy_with_logits(example.student.logits[:, 1:], wanted, reduction="none")
    torch.testing.assert_close(found, cost.sum(dim=1))


def test_rates_and_weight_decay() -> None:
    method, student = prepared()
    backbone, others, new = method.parameter_groups(student)
    assert (backbone["scale"], backbone["weight_decay"]) == (0.1, 0)
    assert others["weight_decay"] == 0 and others["scale"] == 1
    assert new.keys() == {"params", "scale"} and {*new["params"]} == {*student.classifier.groups[1].parameters()}
    trained = [p for group in (backbone, others, new) for p in group["params"]]
    norms = {p for m in student.modules() if isinstance(m, torch.nn.BatchNorm2d) for p in m.parameters()}
    assert norms and {*trained} == {*student.parameters()} - norms
    method.set_training_mode(student)
    assert not any(module.training for module in student.modules())
    first, student = make("dkd", FIRST), network(CLASSES, "dkd")
    assert {*student.parameters()} == {p for group in first.parameter_groups(student) for p in group["params"]}


def test_an_exemplar_teaches_what_its_labels_say() -> None:
    drawn = batch(CLASSES)
    drawn.labels[0][drawn.labels[0] > 3] = 2
    example = Batch(drawn.labels, drawn.student, drawn.teacher, replayed=torch.tensor([True, False]))
    weights = make("dkd-m", CLASSES).pixel_weights(example, example.labels)
    assert torch.equal(
        weights == 0, torch.stack([example.labels[0] == 0, torch.zeros_like(example.labels[1]).bool()])
    )
    assert (make("dkd-m", CLASSES, memory_labels="all").pixel_weights(example, example.labels) == 1).all()
    assert options_of("dkd-m").memory == 100 and options_of("dkd-m", "ade").memory == 300


def test_settings() -> None:
    options = options_of("dkd")
    assert (options.distillation, options.positive, options.negative, options.auxiliary) == (5, 5, 5, 1)
    assert (options.first_yes, options.yes) == (2, 1)
    assert (options_of("dkd", "ade").first_yes, options_of("dkd", "ade").yes) == (35, 35)
    with pytest.raises(UsageError, match="method dkd trains what new classes add to a network"):
        make("dkd", DOMAIN)

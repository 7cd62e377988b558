"""STAR: what is kept of a class, what stands for it in later steps, and what each term is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import CLASSES, DOMAIN, batch, labels, looks, make, network, options_of

from issbench.errors import UsageError
from issbench.methods.method import Batch, Method, Output, Step
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.heads import SigmoidClassifier
from issbench.methods.shared.replayed_features import drawn_features

FIRST = Step(0, (3,), feature_channels=6, encoder_channels=7)


def test_background_is_where_no_class_exceeds_one_half() -> None:
    head = SigmoidClassifier(1, (2, 1))
    with torch.no_grad():
        for group, weight in zip(head.groups, (1.0, -1.0), strict=True):
            group.weight.fill_(weight)
            group.bias.fill_(-1)
    logits = head(torch.tensor([-3.0, 0.0, 3.0]).view(1, 1, 1, 3))
    assert head.scores(logits).argmax(dim=1).flatten().tolist() == [2, 0, 1]


def seen() -> list[Batch]:
    """What a first step may show to the end of its training: few features, at the resolution of the labels."""
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        features = torch.randn(2, 6, 4, 4) + 1
        output = Output(torch.randn(2, 4, 4, 4), features, features, (), (4, 4))
        found.append(Batch(torch.tensor([0, 1, 2, 255])[torch.randint(4, (2, 4, 4))], output, None))
    return found


def after_first_step() -> Method:
    method, passes = make("star", FIRST), seen()
    method.end(network(FIRST, "star"), lambda: iter(passes))
    return method


def test_what_is_kept_of_a_class() -> None:
    method = after_first_step()
    features = torch.cat([each.student.features.movedim(1, -1).flatten(0, 2) for each in seen()])
    given = torch.cat([each.labels.flatten() for each in seen()])
    for number in (1, 2):
        own = features[given == number]
        direction = nnf.normalize(nnf.normalize(own).mean(dim=0), dim=0)
        torch.testing.assert_close(method.prototypes[number], direction)
        spread = (nnf.normalize(own) - direction).square().mean(dim=0).sqrt()
        torch.testing.assert_close(method.spread[number], spread)
        torch.testing.assert_close(
            method.lengths[number], torch.stack([own.norm(dim=1).mean(), own.norm(dim=1).std()])
        )
    assert method.cells.tolist() == [(given == number).sum() for number in range(3)] + [0], "class 3 is nowhere"
    assert method.state_dict().values() and all(value.isfinite().all() for value in method.state_dict().values())


def begun() -> tuple[Method, Any]:
    student, method = network(CLASSES, "star"), make("star", CLASSES)
    previous = after_first_step().state_dict()
    previous["cells"] = torch.tensor([2000.0, 100, 2, 0])
    method.prepare(student)
    with torch.no_grad():
        method.begin(student, lambda: iter(looks(CLASSES)), previous)
    return method, student


def test_what_the_images_of_a_step_show_is_not_replayed() -> None:
    method, _ = begun()
    hidden, cells = torch.zeros(4), 0
    for look in looks(CLASSES):
        low = look.teacher.low_logits
        found = low.argmax(dim=1)[nearest_labels(look.labels, low) == 0]
        hidden, cells = hidden + torch.bincount(found, minlength=4), cells + low[:, 0].numel()
    assert 2 < hidden[1] < 100 and hidden[2] > 2
    torch.testing.assert_close(method.missing, torch.tensor([0, 100 - hidden[1], 0, 0]) / cells)
    torch.testing.assert_close(method.more_background, 2000 * 0.98 / hidden[0] - 0.5)
    assert torch.equal(method.prototypes[:4], after_first_step().prototypes) and not method.prototypes[4:].any()
    torch.testing.assert_close(method.cells[:2], torch.tensor([hidden[0] / 2 + 1960, 100]))


def test_features_are_drawn_around_the_prototypes_of_what_is_missing() -> None:
    torch.manual_seed(0)
    prototypes = torch.eye(3)
    shares = torch.tensor([0.0, 0.3, 0.1])
    drawn = drawn_features(400, shares, prototypes, torch.full((3, 3), 0.01), torch.tensor([[5.0, 0.1]] * 3))
    nearest = drawn.argmax(dim=1)
    assert torch.bincount(nearest, minlength=3).tolist() == [0, 300, 100]
    assert abs(drawn.norm(dim=1).mean() - 5) < 0.1
    assert drawn_features(4, torch.zeros(3), prototypes, prototypes, torch.ones(3, 2)).isfinite().all()


def test_the_classification_has_what_the_images_lack() -> None:
    method, student = begun()
    example = batch(CLASSES)
    torch.manual_seed(1)
    found = method.loss(example)["classification"]
    low = example.student.low_logits.detach()
    plain = method.pixel_loss(example, example.labels).mean()
    nothing = (nearest_labels(example.labels, low) == 0) & (example.teacher.low_logits.argmax(dim=1) == 0)
    more = method.more_background * (nnf.softplus(low[:, 4:]).sum(dim=1) * nothing).mean()
    torch.manual_seed(1)
    features = drawn_features(1024, method.missing, method.prototypes[:4], method.spread[:4], method.lengths[:4])
    drawn = nnf.softplus(student.classifier.groups[1](features[:, :, None, None])).sum(dim=1).mean()
    missing = method.missing.sum()
    weight = 1 + method.more_background * nothing.float().mean() + missing
    assert nothing.any() and missing > 0
    torch.testing.assert_close(found, (plain + more + missing * drawn) / weight)


def test_the_other_terms() -> None:
    method, _ = begun()
    example = batch(CLASSES)
    terms = method.loss(example)
    features, old = example.student.features.detach(), example.teacher.features.detach()

    def shrunk(maps: torch.Tensor) -> torch.Tensor:
        return nnf.interpolate(maps[:, None].float(), features.shape[2:], mode="bilinear")

    hidden = shrunk((example.labels == 0) & (example.teacher.logits.argmax(dim=1) > 0))
    moved = ((features - old).square() * hidden).sum() / (hidden.sum() * 6)
    torch.testing.assert_close(terms["features"], 5 * moved)
    costs = []
    for number in (4, 5):
        centre = nnf.normalize(
            (nnf.normalize(features) * shrunk(example.labels == number)).sum(dim=(0, 2, 3)), dim=0
        )
        costs.append(1 / min((centre - prototype).norm() for prototype in method.prototypes[1:4]))
    torch.testing.assert_close(terms["contrast"], 0.05 * torch.stack(costs).mean())


def test_settings() -> None:
    assert (options_of("star").yes, options_of("star", "ade").yes) == (4, 30)
    example = Batch(labels(FIRST), batch(CLASSES).teacher, None)
    (term,) = make("star", FIRST).loss(example).values()
    wanted = torch.stack([example.labels == number for number in (1, 2, 3)], dim=1).float()
    cost = nnf.binary_cross_entropy_with_logits(
        example.student.logits[:, 1:], wanted, pos_weight=torch.tensor(4.0), reduction="none"
    )
    torch.testing.assert_close(term, cost.sum(dim=1).mean())
    with pytest.raises(UsageError, match="method star trains what new classes add to a network"):
        make("star", DOMAIN)

"""REMINDER: PLOP with a distillation weighted by the similarity of classes."""

from __future__ import annotations

import pytest
import torch
from method_examples import CLASSES, DOMAIN, STEPS, batch, begun, labels, make, options_of, output
from torch import Tensor, nn

from issbench.methods.method import Batch, Step
from issbench.methods.reminder import Reminder
from issbench.methods.shared.background import nearest_labels


def seen(step: Step) -> list[Batch]:
    """The batches of `end` and `after_first_step`."""
    return [Batch(labels(step, seed), output(step.num_classes, seed), None) for seed in (20, 21)]


def mean_feature(batches: list[Batch], c: int) -> Tensor:
    low = [nearest_labels(one.labels, one.student.features) for one in batches]
    picked = [one.student.features.movedim(1, -1)[at == c] for one, at in zip(batches, low, strict=True)]
    return torch.cat(picked).mean(0)


def with_prototypes(step: Step, **options: float) -> Reminder:
    method = begun("reminder", step, **options)
    assert isinstance(method, Reminder)
    method.prototypes.copy_(torch.randn(method.prototypes.shape, generator=torch.Generator().manual_seed(3)))
    return method


@STEPS
def test_without_its_term_it_is_plop(step: Step) -> None:
    mine, theirs = begun("reminder", step, similarity=0).loss(batch(step)), begun("plop", step).loss(batch(step))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert mine.keys() - theirs.keys() == (set() if step.domain else {"similarity"})  # domains have no new class


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_similar_old_classes_are_distilled_at_new_ones(least: float) -> None:
    method, example = with_prototypes(CLASSES, least_similarity=least), batch(CLASSES)
    low = nearest_labels(example.labels, example.student.features)
    costs, dropped = [], 0
    for b, y, x in ((low == 4) | (low == 5)).nonzero().tolist():
        own = mean_feature([example], int(low[b, y, x])).detach()
        weights = torch.cosine_similarity(own[None], method.prototypes[:4]).softmax(0)
        dropped += int((weights < least / 4).sum())
        weights = torch.where(weights < least / 4, 0, weights)
        q = (example.teacher.low_logits[b, :, y, x] / 3).softmax(0)
        log_p = (example.student.low_logits[b, :4, y, x] / 3).log_softmax(0)
        costs.append(-9 * (weights * q * log_p).sum())
    assert bool(dropped) == bool(least)
    term = method.loss(example)["similarity"]
    torch.testing.assert_close(term, 0.5 * torch.stack(costs).mean())
    term.backward()
    slope = example.student.low_logits.grad
    assert slope is not None and (slope[:, 4:] == 0).all() and example.student.features.grad is None
    assert (slope.movedim(1, -1)[(low < 4) | (low == 255)] == 0).all()


def test_prototypes_are_of_the_classes_that_each_step_labels() -> None:
    first = make("reminder", Step(0, (3,), feature_channels=6, encoder_channels=7))
    batches = seen(first.step)
    first.after_first_step(nn.Identity(), lambda: iter(batches))
    wanted = torch.stack([mean_feature(batches, c) for c in range(4)])
    torch.testing.assert_close(first.prototypes, wanted)
    second, batches = make("reminder", CLASSES), seen(CLASSES)
    with torch.no_grad():
        second.begin(nn.Identity(), lambda: iter(()), first.state_dict())
        second.end(nn.Identity(), lambda: iter(batches))
    assert torch.equal(second.prototypes[:4], first.prototypes)
    torch.testing.assert_close(second.prototypes[4:], torch.stack([mean_feature(batches, c) for c in (4, 5)]))


def test_domains_keep_the_prototypes() -> None:
    method = with_prototypes(DOMAIN)
    before = method.prototypes.clone()
    method.end(nn.Identity(), lambda: iter(seen(DOMAIN)))
    assert torch.equal(method.prototypes, before)


def test_published_settings() -> None:
    plop, ours = options_of("plop", "ade"), options_of("reminder", "ade")
    assert (ours.pod, ours.pod_logits, ours.least_similarity) == (plop.pod, plop.pod_logits, 1.0)
    assert options_of("reminder", "voc").least_similarity == 0

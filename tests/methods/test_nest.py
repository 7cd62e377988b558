"""NeST: what new classes start from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import CLASSES, DOMAIN, begun, looks, make, network
from torch import Tensor

from issbench.bench.engine.network import Network
from issbench.methods import functional as fn
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Batch
from issbench.methods.parts.nest import Transformation
from issbench.methods.shared.background import nearest_labels


def agreement(known: Tensor) -> Tensor:
    """Pixel by pixel: how sure the old model is of an old class, in the channels that speak for it."""
    seen: list[list[Tensor]] = [[], []]
    for one in looks(CLASSES):
        labels = nearest_labels(one.labels, one.teacher.features)
        sure = one.teacher.low_logits.softmax(1)
        for b, y, x in ((labels == 4) | (labels == 5)).nonzero().tolist():
            speaks = (one.teacher.features[b, :, y, x] * known > 0).float()
            seen[int(labels[b, y, x]) - 4].append(speaks * sure[b, :, y, x, None])
    return torch.stack([torch.stack(each).mean(0) for each in seen]).detach()


def old_weights(student: Network) -> tuple[Tensor, Tensor]:
    first = student.classifier[0]
    return first.weight.detach()[:, :, 0, 0].clone(), first.bias.detach().clone()


def test_new_classes_start_where_the_old_model_takes_them_for_old_ones() -> None:
    """With a rate of almost 0 the combination stays that of the agreement."""
    student = network(CLASSES)
    known, biases = old_weights(student)
    begun("mib+nest", CLASSES, student, pretuning_rate=1e-12)
    agree = agreement(known)
    wanted = torch.einsum("nc,ncd,cd->nd", agree.sum(2).softmax(1), agree, known)
    wanted *= known.norm(dim=1).mean() / wanted.norm(dim=1).mean()
    new = student.classifier[-1]
    torch.testing.assert_close(new.weight[:, :, 0, 0], wanted)
    torch.testing.assert_close(
        new.bias, torch.full((2,), biases[0].item()) * biases.norm() / (2**0.5 * biases[0].abs())
    )
    torch.testing.assert_close(old_weights(student)[0], known)
    torch.testing.assert_close(old_weights(student)[1], biases)  # not MiB's start


def telling() -> list[Batch]:
    """The batches of `begin`, whose features tell the class."""
    seen = looks(CLASSES)
    for one in seen:
        low = nearest_labels(one.labels, one.teacher.features).clamp(max=6)
        one.teacher.features = one.teacher.features.detach() / 10 + nnf.one_hot(low, 7)[..., :6].movedim(-1, 1)
    return seen


@pytest.mark.parametrize("base", ["mib", "plop"])
def test_tuning_lowers_the_unbiased_cross_entropy_and_changes_nothing_else(base: str) -> None:
    losses, seen = [], telling()
    for rate in (1e-12, 0.5):
        student = network(CLASSES)
        with torch.no_grad():
            student.classifier[0].weight *= 10
            untouched = {name: value.clone() for name, value in student.state_dict().items()}
            make(f"{base}+nest", CLASSES, pretuning=60, pretuning_rate=rate).begin(student, lambda: iter(seen), {})
        after = student.state_dict()
        changed = {name for name in after if not torch.equal(after[name], untouched[name])}
        assert changed <= {"classifier.0.weight", "classifier.1.weight", "classifier.1.bias"}
        assert torch.equal(after["classifier.0.weight"][1:], untouched["classifier.0.weight"][1:])
        total = torch.zeros(())
        for one in seen:
            logits = nnf.interpolate(student.classifier(one.teacher.features), one.teacher.size, mode="bilinear")
            total = total + fn.unbiased_cross_entropy(logits, one.labels, 4).mean()
        losses.append(total.item())
    assert losses[1] < 0.98 * losses[0]


def test_lengths_are_aligned() -> None:
    draw = torch.Generator().manual_seed(0)
    known, biases = torch.randn(4, 6, generator=draw), torch.randn(4, generator=draw)
    background, new, new_biases = Transformation(known, biases, torch.rand(2, 4, 6, generator=draw)).aligned()
    torch.testing.assert_close(background.norm(), known[0].norm())
    torch.testing.assert_close(new.norm(dim=1).mean(), known.norm(dim=1).mean())
    torch.testing.assert_close(new_biases.norm(), biases.norm())


def test_the_classifier_of_the_method_below_starts_at_random() -> None:
    assert load_method("mib").new_classifier == "background"
    assert load_method("mib+nest").new_classifier == "default"


def test_domains_have_no_new_classes() -> None:
    student = network(DOMAIN)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    begun("mib+nest", DOMAIN, student)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())

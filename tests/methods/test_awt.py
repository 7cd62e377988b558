"""AWT: which channels of the background's weight new classes start from."""

from __future__ import annotations

import pytest
import torch
from method_examples import CLASSES, DOMAIN, SIZE, begun, looks, network
from torch import Tensor

from issbench.methods.awt import AWT
from issbench.methods.shared.background import nearest_labels


def attributions(weight: Tensor, baseline: Tensor) -> Tensor:
    """By integrated gradients along the way from the grey image's features, as they are defined."""
    maps = []
    for one in looks(CLASSES):
        labels = nearest_labels(one.labels, one.teacher.features)
        for features, at in zip(one.teacher.features.detach(), labels, strict=True):
            slopes = []
            for share in (torch.arange(10) + 0.5) / 10:
                point = (baseline + share * (features - baseline)).requires_grad_()
                logit = torch.einsum("d,dhw->", weight, point)
                slopes.append(torch.autograd.grad(logit, point)[0])
            assert ((at == 4) | (at == 5)).any()
            maps.append(torch.stack(slopes).mean(0) * (features - baseline) * ((at == 4) | (at == 5)))
    return torch.stack(maps).mean(0).amax((1, 2))


@pytest.mark.parametrize("transferred, count", [(0.5, 3), (0.2, 1), (1.0, 6), (0.0, 0)])
def test_new_classes_get_the_most_attributed_channels_of_the_background(transferred: float, count: int) -> None:
    student = network(CLASSES)
    old, new = student.classifier
    before, random, biases = old.weight.clone(), new.weight.clone(), [old.bias.clone(), new.bias.clone()]
    with torch.no_grad():
        grey = student.eval()(torch.zeros(1, 3, *SIZE)).features[0]
    begun("awt", CLASSES, student.train(), transferred=transferred)
    chosen = attributions(before[0, :, 0, 0].detach(), grey).topk(count).indices
    wanted = random.clone()
    wanted[:, chosen] += before[0, chosen]
    torch.testing.assert_close(new.weight, wanted)
    assert torch.equal(old.weight, before) and student.training
    assert torch.equal(old.bias, biases[0]) and torch.equal(new.bias, biases[1])


def test_domains_have_no_new_classes() -> None:
    student = network(DOMAIN)
    before = student.classifier[-1].weight.clone()
    assert isinstance(begun("awt", DOMAIN, student), AWT)
    assert torch.equal(student.classifier[-1].weight, before)

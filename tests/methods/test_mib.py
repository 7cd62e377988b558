"""MiB: what its terms are, and that it is cross-entropy where nothing is hidden."""

from __future__ import annotations

import torch
from method_examples import CLASSES, DOMAIN, batch, cross_entropy, make, options_of

from issbench.methods import functional as fn
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Step


def test_mib_with_nothing_hidden_is_cross_entropy() -> None:
    for step in (DOMAIN, Step(0, (4,), feature_channels=6, encoder_channels=7)):
        example = batch(DOMAIN)
        found = make("mib", step).pixel_loss(example, example.labels)
        torch.testing.assert_close(found, cross_entropy(example, example.labels))


def test_mib_hides_old_classes_in_the_background() -> None:
    example = batch(CLASSES)
    found = make("mib", CLASSES).pixel_loss(example, example.labels)
    background = -example.student.logits.softmax(1)[:, :4].sum(1).log()
    at_background = example.labels == 0
    torch.testing.assert_close(found[at_background], background[at_background])
    others = ~at_background
    torch.testing.assert_close(found[others], cross_entropy(example, example.labels)[others])


def test_mib_weighs_its_distillation() -> None:
    example = batch(CLASSES)
    one, four = (make("mib", CLASSES, distillation=w).loss(example) for w in (1, 4))
    torch.testing.assert_close(four["distillation"], 4 * one["distillation"])
    wanted = fn.unbiased_knowledge_distillation(example.student.logits, example.teacher.logits).mean()
    torch.testing.assert_close(one["distillation"], wanted)
    assert load_method("mib").Options().distillation == 10


def test_published_weights_of_mib() -> None:
    """As published, 15-1 was distilled more; AWT's scripts did not."""
    weights = {name: options_of("mib", name).distillation for name in ("voc_15-5", "voc_15-1", "ade_100-10")}
    assert weights == {"voc_15-5": 10, "voc_15-1": 100, "ade_100-10": 10}
    assert options_of("awt", "voc_15-1").distillation == 10

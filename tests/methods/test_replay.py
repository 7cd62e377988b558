"""The part `memory`: what is learned from a replayed image."""

from __future__ import annotations

import pytest
import torch
from method_examples import CLASSES, SIZE, batch, begun, labels, make, output

from issbench.methods.interface.registry import load_method
from issbench.methods.method import Batch, Exemplars

REPLAYED = torch.tensor([True, False])


def replay(seed: int = 0) -> Batch:
    """A batch whose first image is replayed: it shows old classes."""
    shown = torch.tensor([0, 1, 2, 255])
    own = labels(CLASSES, seed)
    own[0] = shown[torch.randint(4, SIZE, generator=torch.Generator().manual_seed(seed))]
    return Batch(own, output(6, seed + 1), output(4, seed + 2), replayed=REPLAYED)


def test_the_current_classes_may_hide_in_a_replayed_background() -> None:
    example, method = replay(), begun("mib+memory", CLASSES)
    p = example.student.logits.detach().double().softmax(dim=1)[0]
    hidden = p[0] + p[4] + p[5]
    wanted = torch.zeros(SIZE, dtype=torch.float64)
    for label, chance in ((0, hidden), (1, p[1]), (2, p[2])):
        wanted = torch.where(example.labels[0] == label, -chance.log(), wanted)
    found = method.pixel_loss(example, method.targets(example))
    torch.testing.assert_close(found[0].detach(), wanted.float())
    plain = begun("mib", CLASSES)
    assert torch.equal(found[1], plain.pixel_loss(example, plain.targets(example))[1])


@pytest.mark.parametrize("name", ["plop", "gsc", "mib", "ft"])
def test_what_is_labelled_in_a_replayed_image_is_learned_as_it_is(name: str) -> None:
    example, method, below = replay(), begun(f"{name}+memory", CLASSES), begun(name, CLASSES)
    targets, others = method.targets(example), below.targets(example)
    labelled = example.labels[0] != 0
    assert torch.equal(targets[0][labelled], example.labels[0][labelled])
    assert torch.equal(targets[1], others[1])
    weights = method.pixel_weights(example, targets)
    assert weights is None or (weights.expand(2, *SIZE)[0] == 1).all()


@pytest.mark.parametrize("name", ["plop", "mib", "lwf"])
def test_a_batch_without_exemplars_is_as_ever(name: str) -> None:
    example = batch(CLASSES)
    with_memory, without = begun(f"{name}+memory", CLASSES).loss(example), begun(name, CLASSES).loss(example)
    assert {key: value.item() for key, value in with_memory.items()} == {k: v.item() for k, v in without.items()}


def test_mib_augm_is_mib_with_a_memory() -> None:
    example = replay()
    one, other = (begun(name, CLASSES).loss(example) for name in ("mib-augm", "mib+memory"))
    assert {key: value.item() for key, value in one.items()} == {key: value.item() for key, value in other.items()}
    method = load_method("mib-augm")
    assert method.exemplars(method.Options()) == Exemplars(images=100, labels="own", share=0.5)
    assert make("mib-augm", CLASSES, memory="7", memory_labels="all").exemplars(
        method.Options(memory=7, memory_labels="all")
    ) == Exemplars(images=7, labels="all", share=0.5)
    assert load_method("mib").exemplars(load_method("mib").Options()) is None

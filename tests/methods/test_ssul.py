"""SSUL and SSUL-M: what stays bit by bit, what the unknown is, and what an exemplar teaches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import CLASSES, DOMAIN, SEQUENTIAL, batch, labels, make, network, options_of

from issbench.errors import UsageError
from issbench.methods.method import Batch, Step
from issbench.methods.ssul import SSULHead

LATER = Step(2, (3, 2, 2), feature_channels=6, encoder_channels=7)


def updated(step: Step) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights of a network before and after an update."""
    student, method = network(step, "ssul"), make("ssul", step)
    method.prepare(student)
    method.set_training_mode(student)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    optimizer = torch.optim.SGD(method.parameter_groups(student), lr=0.1, weight_decay=0.1)
    student(torch.randn(2, 3, 64, 64)).logits.square().sum().backward()
    optimizer.step()
    return before, student.state_dict()


def test_old_heads_and_the_network_are_bit_identical_after_a_step() -> None:
    before, after = updated(LATER)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    heads = {0: "unknown", 1: "background", 4: "new"}
    assert changed == {
        f"classifier.groups.{head}.{part}" for head in heads for part in ("0.weight", "3.weight", "3.bias")
    }
    assert any(name.startswith("classifier.groups.3.") for name in before), "the head of the step before"


def test_in_the_first_step_everything_trains() -> None:
    first = Step(0, (3,), feature_channels=6, encoder_channels=7)
    student, method = network(first, "ssul"), make("ssul", first)
    method.prepare(student)
    method.set_training_mode(student)
    groups = method.parameter_groups(student)
    assert {*student.parameters()} == {parameter for group in groups for parameter in group["params"]}
    assert [group["scale"] for group in groups] == [0.1, 1]
    assert student.training and all(parameter.requires_grad for parameter in student.parameters())


def test_new_classes_start_as_the_unknown() -> None:
    student = network(CLASSES, "ssul")
    student.train()(torch.randn(2, 3, 64, 64))  # so that norms have statistics
    make("ssul", CLASSES).prepare(student)
    logits = student.eval()(torch.randn(2, 3, 64, 64)).low_logits
    assert logits.shape[1] == 1 + CLASSES.num_classes
    torch.testing.assert_close(logits[:, -2:], logits[:, :1].expand(-1, 2, -1, -1))


def test_the_unknown_is_background_to_the_test() -> None:
    logits = torch.tensor([0.0, 0.0, 1.0, -5.0]).view(1, 4, 1, 1)
    scores = SSULHead.scores(logits).flatten()
    torch.testing.assert_close(
        scores, torch.tensor([1.0, torch.sigmoid(torch.tensor(1.0)), torch.sigmoid(torch.tensor(-5.0))])
    )
    assert scores.argmax() == 0 and logits.argmax() == 2


def test_pseudo_labels_are_sure_old_classes_where_no_class_is_labelled() -> None:
    example, method = batch(CLASSES, name="ssul"), make("ssul", CLASSES)
    targets, old = method.targets(example), example.teacher.logits.sigmoid()
    probability, channel = old.max(dim=1)
    named = (example.labels == 0) & (channel >= 2) & (probability >= 0.7)
    assert named.any() and torch.equal(targets[named], channel[named] - 1)
    assert torch.equal(targets[~named], example.labels[~named])
    assert set(targets[named].tolist()) <= {1, 2, 3}
    assert torch.equal(make("ssul", SEQUENTIAL).targets(example), example.labels)
    assert torch.equal(make("ssul", CLASSES, threshold=1.0).targets(example), example.labels)


def test_the_loss_is_the_mean_of_binary_cross_entropies_over_labelled_pixels() -> None:
    first = Step(0, (5,), feature_channels=6, encoder_channels=7)
    example = Batch(labels(CLASSES), batch(CLASSES, name="ssul").student, None)
    (term,) = make("ssul", first).loss(example).values()
    logits, channel = example.student.logits, torch.where(example.labels > 0, example.labels + 1, 0)
    known = example.labels != 255
    wanted = nnf.one_hot(channel.clamp(max=6), 7).movedim(-1, 1).float()
    found = nnf.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dim=1)
    torch.testing.assert_close(term, found[known].mean())


def test_an_exemplar_is_ignored_where_a_new_class_may_hide() -> None:
    drawn = batch(CLASSES, name="ssul")
    given = drawn.labels.clone()
    given[0][given[0] > 3] = 2  # an exemplar has labels of its own step
    replayed = torch.tensor([True, False])
    example = Batch(given, drawn.student, drawn.teacher, replayed=replayed)
    plain, own = make("ssul", CLASSES).targets(example), make("ssul-m", CLASSES).targets(example)
    assert torch.equal(own[1], plain[1])
    silent = plain[0] == 0
    assert silent.any() and (own[0][silent] == 255).all() and torch.equal(own[0][~silent], plain[0][~silent])
    assert (own[0][given[0] == 2] == 2).all(), "class 2 is class 2, not another"
    assert torch.equal(make("ssul-m", CLASSES, memory_labels="all").targets(example), plain)


def test_settings() -> None:
    assert (options_of("ssul").rate, options_of("ssul", "ade").rate) == (10, 12.5)
    memory = make("ssul-m", CLASSES).exemplars(options_of("ssul-m", "ade"))
    assert memory is not None and (memory.images, memory.labels, memory.share) == (300, "own", 0.5)
    method = make("ssul", CLASSES)
    student = network(CLASSES, "ssul")
    method.prepare(student)
    assert [group["scale"] for group in method.parameter_groups(student)] == [10, pytest.approx(1e-3)]
    with pytest.raises(UsageError, match="method ssul trains what new classes add to a network"):
        make("ssul", DOMAIN)

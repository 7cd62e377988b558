"""What holds for every method and combination; fine-tuning, joint training, the first step."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from method_examples import (
    CLASSES,
    EVERYWHERE,
    METHODS,
    SEQUENTIAL,
    SIZE,
    STEPS,
    batch,
    begun,
    labels,
    make,
    network,
    output,
)
from torch.utils._python_dispatch import TorchDispatchMode

from issbench.bench.engine.network import start_new_classes
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Batch, Method, NoOptions, Step

# All methods


@EVERYWHERE
def test_a_loss_is_finite_scalars_that_reach_the_student(name: str, step: Step) -> None:
    method, example = begun(name, step), batch(step, name=name)
    if not method.uses_teacher:
        example = Batch(example.labels, example.student, None)
    terms = method.loss(example)
    assert "classification" in terms
    assert all(value.shape == () and value.isfinite() for value in terms.values())
    sum(terms.values()).backward()
    student = example.student
    assert student.low_logits.grad.isfinite().all() and student.low_logits.grad.any()
    assert any(stage.grad is not None and stage.grad.any() for stage in student.stages) == method.uses_stages


@EVERYWHERE
def test_with_networks_the_student_learns_and_the_teacher_does_not(name: str, step: Step) -> None:
    student = network(step, name).train()
    step = replace(step, encoder_channels=student.encoder_channels)
    teacher = network(step if step.domain else Step(0, step.classes_per_step[:1]), name)
    student.load_state_dict(teacher.state_dict(), strict=False)
    start_new_classes(student, "default" if step.domain else load_method(name).new_classifier)
    method = begun(name, step, student)
    teacher.requires_grad_(False).eval()
    before = copy.deepcopy(teacher.state_dict())
    images = torch.randn(2, 3, 64, 64)
    wanted = nnf.interpolate(labels(step)[:, None].float(), (64, 64))[:, 0].long()
    with torch.no_grad():
        old = teacher(images, method.uses_stages)
    example = Batch(wanted, student(images, method.uses_stages), old if method.uses_teacher else None)
    sum(method.loss(example).values()).backward()
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    assert trained and all(parameter.grad is not None for parameter in trained)
    assert all(parameter.grad.isfinite().all() for parameter in trained)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(teacher.state_dict()[key], value) for key, value in before.items())


@EVERYWHERE
def test_a_method_leaves_its_batch_alone(name: str, step: Step) -> None:
    method, example, untouched = begun(name, step), batch(step, name=name), batch(step, name=name)
    sum(method.loss(example).values()).backward()
    assert torch.equal(example.labels, untouched.labels)
    assert torch.equal(example.student.low_logits, untouched.student.low_logits)
    assert torch.equal(example.teacher.low_logits, untouched.teacher.low_logits)


@pytest.mark.parametrize("name", METHODS)
def test_labels_of_old_classes_are_learned_where_they_are_given(name: str) -> None:
    """In the setting sequential: nothing hides in the background, so no pseudo-label takes the place of a label."""
    method, example = begun(name, SEQUENTIAL), batch(SEQUENTIAL, name=name)
    old = (example.labels > 0) & (example.labels < SEQUENTIAL.num_old)
    assert old.any() and method.num_hidden == 1
    targets = method.targets(example)
    assert torch.equal(targets[old], example.labels[old])
    sum(method.loss(example).values()).backward()
    gradient = example.student.low_logits.grad
    changed = batch(SEQUENTIAL, name=name)
    changed.labels[old] = 0
    sum(method.loss(changed).values()).backward()
    assert gradient.isfinite().all() and not torch.equal(gradient, changed.student.low_logits.grad)


@pytest.mark.parametrize("name", METHODS)
def test_state_comes_back_from_a_checkpoint(name: str) -> None:
    method, fresh = begun(name, CLASSES), make(name, CLASSES)
    fresh.prepare(network(CLASSES, name))
    fresh.load_state_dict(method.state_dict())
    first, second = (each.loss(batch(CLASSES, name=name)) for each in (method, fresh))
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in second.items()}


# Fine-tuning, joint training, the first step


@STEPS
@pytest.mark.parametrize("name", ["ft", "joint"])
def test_fine_tuning_is_cross_entropy_over_all_pixels(name: str, step: Step) -> None:
    example = batch(step)
    (term,) = make(name, step).loss(example).values()
    total = nnf.cross_entropy(example.student.logits, example.labels, ignore_index=255, reduction="sum")
    assert (example.labels == 255).any()
    torch.testing.assert_close(term, total / example.labels.numel())


def test_the_first_step_is_cross_entropy() -> None:
    step = Step(0, (3,), feature_channels=6, encoder_channels=7)
    example = Batch(torch.randint(4, (2, *SIZE)), output(4, 0), None)
    terms = Method(NoOptions(), step).loss(example)
    assert list(terms) == ["classification"]
    torch.testing.assert_close(terms["classification"], nnf.cross_entropy(example.student.logits, example.labels))


def test_a_batch_names_what_it_lacks() -> None:
    example = batch(CLASSES)
    with pytest.raises(RuntimeError, match=r"no output of the teacher.*`uses_teacher = True`"):
        begun("lwf", CLASSES).loss(Batch(example.labels, example.student, None))
    with pytest.raises(RuntimeError, match="no output of the student; in `begin`"):
        begun("ft", CLASSES).loss(Batch(example.labels, None, example.teacher))


# What a step may cost


class Softmaxes(TorchDispatchMode):
    """Counts the softmax maps at the resolution of the images."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        kinds = (torch.ops.aten._softmax.default, torch.ops.aten._log_softmax.default)
        if func in kinds and tuple(result.shape[-2:]) == SIZE:
            self.count += 1
        return result


@EVERYWHERE
def test_softmax_at_full_resolution_is_made_at_most_once_per_network(name: str, step: Step) -> None:
    method, example = begun(name, step), batch(step, name=name)
    with Softmaxes() as made:
        sum(method.loss(example).values()).backward()
    assert made.count <= 1 + method.uses_teacher


@EVERYWHERE
def test_a_loss_reads_no_value(name: str, step: Step) -> None:
    """The meta device has shapes and no values, so whatever would wait for a device raises there."""
    method, student = make(name, step), network(step, name).to("meta")
    method.prepare(student)  # what `begin` would leave has the shapes of what is there before
    method, example = method.to("meta"), batch(step, name=name)
    for seen in (example.student, example.teacher):
        seen.low_logits, seen.features = seen.low_logits.to("meta"), seen.features.to("meta")
        seen.encoder, seen.stages = seen.encoder.to("meta"), tuple(stage.to("meta") for stage in seen.stages)
    example.labels = example.labels.to("meta")
    assert all(value.is_meta for value in method.loss(example).values())

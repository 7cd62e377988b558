"""What a method might be given: steps, labels, networks' outputs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as nnf
from torch import Tensor

from issbench.bench.engine.network import Network
from issbench.errors import UsageError
from issbench.methods.interface.options import resolved_options
from issbench.methods.interface.registry import available, load_method, method_info
from issbench.methods.method import Batch, Method, Output, Step

CLASSES = Step(1, (3, 2), feature_channels=6, encoder_channels=7)
DOMAIN = Step(1, (4,), domain=True, feature_channels=6, encoder_channels=7)
SEQUENTIAL = replace(CLASSES, old_labelled=True)
STEPS = pytest.mark.parametrize("step", [CLASSES, DOMAIN], ids=["classes", "domain"])
BUILT_IN = [
    name for name, info in available().items() if info.module.startswith("issbench.methods.") and not info.part
]
METHODS = [
    *BUILT_IN, "rcil+gsc", "mib+gsc", "lwf+sc", "ft+pr+sr", "lwf-mc+gsc",
    "mib+contrast", "plop+lgkd", "plop+ucb", "mib+nest",
]  # fmt: skip
SIZE, LOW = (16, 12), (8, 6)


def options_of(name: str, dataset: str = "", **given: Any) -> Any:
    """A method's options as the engine makes them."""
    return load_method(name).Options(**resolved_options(method_info(name), dataset, given))


def make(name: str, step: Step, **options: Any) -> Method:
    return load_method(name)(options_of(name, **options), step)


def takes(name: str, step: Step) -> bool:
    """Whether a method takes part in such a step; some refuse domain-incremental ones."""
    try:
        make(name, step)
    except UsageError:
        return False
    return True


EVERYWHERE = pytest.mark.parametrize(
    ("name", "step"),
    [
        pytest.param(name, step, id=f"{name}-{kind}")
        for name in METHODS
        for kind, step in {"classes": CLASSES, "domain": DOMAIN}.items()
        if takes(name, step)
    ],
)
"""Each method in each kind of step that it takes part in."""


def output(classes: int, seed: int) -> Output:
    """What a network might return; its maps are leaves that collect gradients."""
    draw = torch.Generator().manual_seed(seed)

    def leaf(channels: int, scale: float = 1.0) -> Tensor:
        return (scale * torch.randn(2, channels, *LOW, generator=draw)).requires_grad_()

    return Output(leaf(classes, 3.0), leaf(6), leaf(7), tuple(leaf(5) for _ in range(4)), SIZE)


def labels(step: Step, seed: int = 0) -> Tensor:
    """Labels as the step gives them: background, new classes (where all are labelled, old ones too), and ignored
    pixels."""
    shown = [0, 0, 255, *range(1 if step.all_labelled else step.num_old, step.num_classes)]
    draw = torch.randint(len(shown), (2, *SIZE), generator=torch.Generator().manual_seed(seed))
    return torch.tensor(shown)[draw]


def batch(step: Step, seed: int = 0, name: str = "ft") -> Batch:
    """A batch as the heads of a method give it."""
    more = channels(step, name) - step.num_classes
    student, teacher = output(step.num_classes + more, seed + 1), output(step.num_old + more, seed + 2)
    return Batch(labels(step, seed), student, teacher)


def looks(step: Step, count: int = 3, name: str = "ft") -> list[Batch]:
    """The batches that `begin` sees: no student."""
    seen = [batch(step, seed, name) for seed in range(10, 10 + count)]
    return [Batch(each.labels, None, each.teacher) for each in seen]


def network(step: Step, name: str = "ft") -> Network:
    """A network of the step's classes with the head of a method."""
    torch.manual_seed(0)
    groups = (step.num_classes,) if step.domain else (1 + step.classes_per_step[0], *step.classes_per_step[1:])
    return Network("tiny", "none", 16, 6, groups, load_method(name).Head)


@cache
def channels(step: Step, name: str) -> int:
    """How many the head of a method has."""
    count: int = network(step, name).eval().classifier(torch.zeros(1, 6, 4, 4)).shape[1]
    return count


def begun(name: str, step: Step, student: Network | None = None, **options: Any) -> Method:
    """A method that has prepared its student and looked at its step's data."""
    method, seen, student = make(name, step, **options), looks(step, name=name), student or network(step, name)
    method.prepare(student)
    with torch.no_grad():
        method.begin(student, lambda: iter(seen), {})
    return method


def gradients(method: Method, example: Batch) -> list[Tensor | None]:
    torch.stack([*method.loss(example).values()]).sum().backward()
    student = example.student
    return [leaf.grad for leaf in (student.low_logits, student.features, *student.stages)]


def cross_entropy(example: Batch, targets: Tensor) -> Tensor:
    """Per pixel, by torch, 0 where ignored."""
    return nnf.cross_entropy(example.student.logits, targets, ignore_index=255, reduction="none")

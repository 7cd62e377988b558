"""One update of the student: the innermost part of the engine, which `bench speed` measures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from methods.method import Batch, Method


@dataclass
class Training:
    """The state of a step in training: what a checkpoint holds."""

    student: nn.Module
    teacher: nn.Module | None
    method: Method
    optimizer: torch.optim.Optimizer
    plain: list[str]
    """Names of the student's tensors before the method changed its architecture."""
    iteration: int = 0
    seconds: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sums of the loss terms over the iterations of the current epoch, on the device."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Mean loss terms of each finished epoch."""

    def state(self) -> dict[str, Any]:
        """What a resumed step needs, as tensors and plain values."""
        return {
            "student": self.student.state_dict(),
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "seconds": self.seconds,
            "sums": self.sums,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue where `state` was taken."""
        self.student.load_state_dict(state["student"])
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.history = list(state["history"])


def make_optimizer(student: nn.Module, method: Method, settings: dict[str, Any]) -> torch.optim.Optimizer:
    """SGD as in `settings` over all that trains: the student, and what the method itself learns."""
    return torch.optim.SGD(
        [p for p in (*student.parameters(), *method.parameters()) if p.requires_grad],
        lr=settings["lr"],
        momentum=settings["momentum"],
        weight_decay=settings["weight_decay"],
        nesterov=settings["momentum"] > 0,
    )


def update(training: Training, images: Tensor, labels: Tensor, bf16: bool) -> dict[str, Tensor]:
    """Both networks' outputs, the loss, its gradient and the optimiser's step; returns the loss terms.

    Nothing in here waits for the device.
    """
    method, stages = training.method, training.method.uses_stages
    with autocast(images.device, bf16):
        student = training.student(images, stages)
        teacher = None
        if training.teacher is not None:
            with torch.no_grad():
                teacher = training.teacher(images, stages)
        terms = method.loss(Batch(labels, student, teacher))
    total = torch.stack([value.float() for value in terms.values()]).sum()
    training.optimizer.zero_grad(set_to_none=True)
    total.backward()
    method.after_backward(training.student)
    training.optimizer.step()
    return {name: value.detach().float() for name, value in terms.items()}


def autocast(device: torch.device, bf16: bool) -> torch.autocast:
    """Half precision where the recipe says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)

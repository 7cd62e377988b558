"""One update of the student: the innermost part of the engine, which `bench speed` measures."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from timm.models.hrnet import HighResolutionNetFeatures
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from issbench.bench.engine.backbones import undecayed
from issbench.bench.engine.network import Network
from issbench.bench.recipe import Recipe
from issbench.methods.method import Batch, Method
from issbench.methods.shared import collectives

_SECOND_BETA = 0.999
"""Of AdamW, whose first is the recipe's momentum."""


class Objective(nn.Module):
    """From the images of a batch to the terms of the loss: all that trains, what several processes do together."""

    def __init__(self, student: nn.Module, teacher: nn.Module | None, method: Method):
        super().__init__()
        self.student, self.method = student, method
        self._teacher = (teacher,)  # does not train, so it is no child

    def forward(self, images: Tensor, labels: Tensor, share: float, replayed: Tensor | None) -> dict[str, Tensor]:
        """Both networks' outputs, and what the method says of them."""
        stages = self.method.uses_stages
        student, (teacher,) = self.student(images, stages), self._teacher
        old = None
        if teacher is not None:
            with torch.no_grad():
                old = teacher(images, stages)
        return self.method.loss(Batch(labels, student, old, share, images, replayed))


@dataclass
class Training:
    """The state of a step in training: what a checkpoint holds."""

    student: Network
    teacher: Network | None
    method: Method
    optimizer: torch.optim.Optimizer
    recipe: Recipe
    plain_tensor_names: frozenset[str]
    """Of the student before the method changed its architecture."""
    iteration: int = 0
    seconds: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sums of the loss terms over the iterations of the current epoch, on the device."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Mean loss terms of each finished epoch."""

    @cached_property
    def objective(self) -> nn.Module:
        """What is called for a batch; among several processes its backward pass averages the gradients."""
        objective = Objective(self.student, self.teacher, self.method)
        if collectives.world_size() == 1:
            return objective
        # Norms have the same statistics everywhere, and methods keep theirs alike: no buffer needs to be sent.
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # the new name needs torch 2.13
            return DistributedDataParallel(
                objective,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
                # Of HRNet's weights some lead to its other maps alone, which most methods do not look at.
                find_unused_parameters=isinstance(self.student.backbone, HighResolutionNetFeatures),
            )

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add the loss terms of an iteration to the sums of the epoch."""
        for name, value in terms.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def end_epoch(self, iterations: int) -> dict[str, float]:
        """The mean loss terms of the epoch, which are kept in `history`. This waits for the device."""
        names = list(self.sums)
        means = (torch.stack([self.sums[n] for n in names]) / iterations).tolist()
        self.history.append(dict(zip(names, means, strict=True)))
        self.sums = {}
        return self.history[-1]

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
        for parameter, moments in self.optimizer.state.items():  # in the memory format of the weights, as before
            for name, value in moments.items():
                if isinstance(value, Tensor) and name != "step":  # AdamW's count of steps
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        self.iteration, self.seconds = state["iteration"], state["seconds"]
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}
        self.history = list(state["history"])


def make_optimizer(student: nn.Module, method: Method, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over what the method says that trains."""
    groups = [{"scale": 1.0} | group for group in method.parameter_groups(student)]
    if recipe.optimizer == "adamw":
        spared = undecayed(student, recipe.backbone)
        groups = [part for group in groups for part in _split(group, spared)]
        betas = recipe.momentum, _SECOND_BETA
        return torch.optim.AdamW(groups, lr=recipe.lr, betas=betas, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.momentum > 0,
    )


def _split(group: dict[str, Any], spared: Set[nn.Parameter]) -> Iterator[dict[str, Any]]:
    """A group in two: what decays, and what does not: norms, biases, and position tables (`spared`)."""
    still = [p for p in group["params"] if p.ndim <= 1 or p in spared]
    rest = [p for p in group["params"] if not (p.ndim <= 1 or p in spared)]
    yield from ({**group, "params": rest},) if rest else ()
    yield from ({**group, "params": still, "weight_decay": 0.0},) if still else ()


def set_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, iteration: int, iterations: int) -> None:
    """The polynomial decay of the learning rate, of each group on its own scale, after a linear start."""
    rate = recipe.lr * (1 - iteration / iterations) ** recipe.power
    if iteration + 1 < recipe.warmup * iterations:
        rate *= (iteration + 1) / (recipe.warmup * iterations)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def update(
    training: Training, images: Tensor, labels: Tensor, share: float = 1.0, replayed: Tensor | None = None
) -> dict[str, Tensor]:
    """Both networks' outputs, the loss, its gradient and the optimiser's step; returns the loss terms of the batch.

    `share` is the weight of this process's share of the batch; `replayed` (bool [B]) tells exemplars from other
    images. Nothing in here waits for the device.
    """
    with autocast(images.device, training.recipe):
        terms = training.objective(images, labels, share, replayed)
    terms = {name: value.float() for name, value in terms.items()}
    if share != 1:
        terms = {name: value * share for name, value in terms.items()}
    total = torch.stack(list(terms.values())).sum()
    training.optimizer.zero_grad(set_to_none=True)
    total.backward()
    training.method.after_backward(training.student)
    training.optimizer.step()
    training.method.after_update(training.student)
    # At once, not at the end of an epoch: so the sums do not depend on when a checkpoint is saved.
    whole = collectives.mean([value.detach() for value in terms.values()])
    return dict(zip(terms, whole, strict=True))


def autocast(device: torch.device, recipe: Recipe) -> torch.autocast:
    """Half precision where the recipe of a step says so."""
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")

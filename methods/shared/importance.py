"""What EWC, PI and RW share: parameters are held where they were, each as strongly as it was important.

The importance of a parameter is watched during training in the gradient of the loss without the penalty, and
normalised per tensor to [0, 1] when the next step uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.method import IGNORE, Batch, Batches, Method, Step
from issbench.methods.shared.collectives import mean

_EPS = 1e-8


class ParameterTable(nn.Module):
    """A tensor for each parameter of a network, saved with the state of a method."""

    def __init__(self, tensors: Mapping[str, Tensor], persistent: bool = True):
        super().__init__()
        for name, value in tensors.items():  # names of buffers have no dots
            self.register_buffer(name.replace(".", "/"), value, persistent=persistent)

    @property
    def tensors(self) -> list[Tensor]:
        """In the order of the parameters."""
        return list(self.buffers())

    def take(self, state: Mapping[str, Tensor], table: str, change: Callable[[Tensor], Tensor]) -> None:
        """Take over what a table of an earlier step holds, changed; other tensors stay as they are."""
        for name, tensor in self.named_buffers():
            old = state.get(f"{table}.{name}")
            if old is not None:
                tensor.copy_(change(old.to(tensor.device)))


def normalised(values: Tensor) -> Tensor:
    """To [0, 1] by minimum and maximum."""
    low, high = values.aminmax()
    return (values - low) / (high - low + _EPS)


class ImportancePenalty(Method):
    """Cross-entropy and `weight` · Σ importance · (parameter − its value after the previous step)²."""

    # A penalty of importance 1 has curvature 2·penalty, and Nesterov momentum of 0.9 diverges where learning rate ×
    # curvature exceeds 1.36: the rate of shapes, 0.02, is too high for 100.
    published = {"shapes": {"penalty": 10.0}}
    uses_teacher = False
    persistent_tables: ClassVar[set[str]]
    """The tables that the next step needs."""

    def __init__(self, options: Any, step: Step):
        super().__init__(options, step)
        self._student: list[Tensor] = []

    def after_first_step(self, network: nn.Module, batches: Batches) -> None:
        """The first step was trained without watching, so look through its data once more."""
        super().after_first_step(network, batches)
        self.prepare(network)
        self.look_back(batches)
        self._drop_tables()

    def prepare(self, network: nn.Module) -> None:
        super().prepare(network)
        named: dict[str, Tensor] = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self._student = list(named.values())
        self.anchors = ParameterTable({n: p.detach().clone() for n, p in named.items()}, persistent=False)
        # New parameters have no importance, so they are free.
        self.importances = ParameterTable({n: torch.zeros_like(p) for n, p in named.items()})
        self.make_tables(named)

    def make_tables(self, named: Mapping[str, Tensor]) -> None:
        """The statistics that are watched, as ParameterTables."""
        raise NotImplementedError

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """The penalty's value; its gradient is added in `after_backward`, once the other terms' was watched."""
        with torch.no_grad():
            penalty = fn.ewc_penalty(self._student, self.anchors.tensors, self.importances.tensors)
        return {**super().terms(batch, targets), "penalty": self.options.penalty * penalty}

    @torch.no_grad()
    def after_backward(self, network: nn.Module) -> None:
        super().after_backward(network)
        gradients = [parameter.grad for parameter in self._student if parameter.grad is not None]  # all have one
        self.watch(gradients)
        pulls = torch._foreach_sub(self._student, self.anchors.tensors)
        torch._foreach_mul_(pulls, self.importances.tensors)
        torch._foreach_add_(gradients, pulls, alpha=2 * self.options.penalty)

    def watch(self, gradients: list[Tensor]) -> None:
        """Update the statistics by the gradient of the loss without the penalty."""
        raise NotImplementedError

    def end(self, network: nn.Module, batches: Batches) -> None:
        super().end(network, batches)
        self.conclude()
        self._drop_tables()

    def conclude(self) -> None:
        """Turn what was watched into what the next step needs."""

    def look_back(self, batches: Batches) -> None:
        """The statistics after the first step."""
        raise NotImplementedError

    def _drop_tables(self) -> None:
        """Leave those that the next step needs."""
        tables = [name for name, child in self.named_children() if isinstance(child, ParameterTable)]
        for name in set(tables) - self.persistent_tables:
            delattr(self, name)

    def gradients(self, batch: Batch) -> list[Tensor]:
        """Of the first step's loss of the whole batch."""
        pixels = nnf.cross_entropy(batch.student.logits, batch.labels, ignore_index=IGNORE, reduction="none")
        loss = batch.share * pixels.sum() / max(1, pixels.numel())
        return mean(list(torch.autograd.grad(loss, self._student)))

"""RW: Chaudhry et al., Riemannian Walk for Incremental Learning, ECCV 2018, as the code of MiB released it for
segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from issbench.methods.ewc import EWC, EWCOptions
from issbench.methods.interface.numbers import Count
from issbench.methods.method import Batches, Step
from issbench.methods.shared.importance import ParameterTable, normalised

_EPS = 1e-8


@dataclass(frozen=True, kw_only=True)
class RWOptions(EWCOptions):
    """`interval`: iterations between two looks at how far a parameter went."""

    interval: Count = 10


class RW(EWC):
    """RW: EWC's importance, and how much the loss fell along a parameter's path, relative to the change it made."""

    name = "rw"
    title = "RW"
    table_order = 50
    colour, marker, dashes = "#009E73", "h", ":"
    cite = "chaudhry2018riemannian"
    Options = RWOptions
    # The sum of two importances reaches 2, which halves the penalty that a learning rate allows (importance.py).
    published = {"shapes": {"penalty": 10.0}, "ade": {"penalty": 50.0}, "cityscapes": {"penalty": 50.0}}
    persistent_tables = {"fisher", "score"}

    def __init__(self, options: RWOptions, step: Step):
        super().__init__(options, step)
        self._count = 0

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self._count)

    def set_extra_state(self, state: Any) -> None:
        self._count = int(state)

    def make_tables(self, named: Mapping[str, Tensor]) -> None:
        super().make_tables(named)
        self.score = ParameterTable({name: torch.zeros_like(value) for name, value in named.items()})
        self.old_score = ParameterTable({name: torch.full_like(value, -1) for name, value in named.items()})
        self.last = ParameterTable({name: value.detach().clone() for name, value in named.items()})

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        self.old_score.take(previous, "score", lambda score: score)
        scores = ParameterTable({n: torch.zeros_like(t) for n, t in self.importances.named_buffers()})
        scores.take(previous, "score", normalised)
        torch._foreach_add_(self.importances.tensors, scores.tensors)

    def watch(self, gradients: list[Tensor]) -> None:
        if self._count % self.options.interval == 0:
            tables = (self.score.tensors, gradients, self.last.tensors, self._student, self.fisher.tensors)
            for score, gradient, last, now, fisher in zip(*tables, strict=True):
                move = last - now
                score += gradient * move / (0.5 * fisher * move.square() + _EPS)
            torch._foreach_copy_(self.last.tensors, self._student)
        self._count += 1
        super().watch(gradients)

    def conclude(self) -> None:
        """Averaged with the earlier steps' score, where there is one."""
        for score, old in zip(self.score.tensors, self.old_score.tensors, strict=True):
            score.clamp_(min=0)
            score.copy_(torch.where(old >= 0, (score + old) / 2, score))

"""PI: Zenke et al., Continual Learning Through Synaptic Intelligence, ICML 2017, as the code of MiB released it for
segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batches
from issbench.methods.shared.importance import ImportancePenalty, ParameterTable, normalised

_EPS = 1e-20


@dataclass(frozen=True, kw_only=True)
class PIOptions:
    """`penalty`: its weight."""

    penalty: Weight = 100.0


class PI(ImportancePenalty):
    """PI: a parameter is important by how much the loss fell along its path, relative to the way it went."""

    name = "pi"
    title = "PI"
    table_order = 40
    colour, marker, dashes = "#56B4E9", "p", ":"
    cite = "zenke2017continual"
    Options = PIOptions
    persistent_tables = {"score"}

    def make_tables(self, named: Mapping[str, Tensor]) -> None:
        self.score = ParameterTable({name: torch.zeros_like(value) for name, value in named.items()})
        self.path = ParameterTable({name: torch.zeros_like(value) for name, value in named.items()})
        self.last = ParameterTable({name: value.detach().clone() for name, value in named.items()})

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        self.importances.take(previous, "score", normalised)
        self.score.take(previous, "score", lambda score: score)

    def watch(self, gradients: list[Tensor]) -> None:
        moves = torch._foreach_sub(self.last.tensors, self._student)
        torch._foreach_addcmul_(self.path.tensors, gradients, moves)
        torch._foreach_copy_(self.last.tensors, self._student)

    @torch.no_grad()
    def conclude(self) -> None:
        tables = (self.score.tensors, self.path.tensors, self._student, self.anchors.tensors)
        for score, path, now, start in zip(*tables, strict=True):
            score += (path / ((now - start).square() + _EPS)).clamp(min=0)

    def look_back(self, batches: Batches) -> None:
        """For a quadratic loss the score is half the curvature, so it starts as half the mean squared gradient: the
        path of the first step, which all methods share, was not watched."""
        count = 0
        for batch in batches():
            gradients = self.gradients(batch)
            torch._foreach_addcmul_(self.score.tensors, gradients, gradients, value=0.5)
            count += 1
        torch._foreach_div_(self.score.tensors, max(count, 1))

"""EWC: Kirkpatrick et al., Overcoming catastrophic forgetting in neural networks, PNAS 2017, as the code of MiB
released it for segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from issbench.methods.interface.numbers import Share, Weight
from issbench.methods.method import Batches
from issbench.methods.shared.importance import ImportancePenalty, ParameterTable, normalised


@dataclass(frozen=True, kw_only=True)
class EWCOptions:
    """`penalty`: its weight; `alpha`: weight of the newest squared gradient in the running average."""

    penalty: Weight = 100.0
    alpha: Share = 0.9


class EWC(ImportancePenalty):
    """EWC: important parameters are held by a running average of their squared gradient (Fisher information)."""

    name = "ewc"
    title = "EWC"
    table_order = 30
    colour, marker, dashes = "#CC79A7", "v", ":"
    cite = "kirkpatrick2017overcoming"
    Options = EWCOptions
    persistent_tables = {"fisher"}

    def make_tables(self, named: Mapping[str, Tensor]) -> None:
        self.fisher = ParameterTable({name: torch.ones_like(value) for name, value in named.items()})

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        self.importances.take(previous, "fisher", normalised)
        self.fisher.take(previous, "fisher", lambda fisher: fisher)

    def watch(self, gradients: list[Tensor]) -> None:
        fisher = self.fisher.tensors
        torch._foreach_mul_(fisher, 1 - self.options.alpha)
        torch._foreach_addcmul_(fisher, gradients, gradients, value=self.options.alpha)

    def look_back(self, batches: Batches) -> None:
        for batch in batches():
            self.watch(self.gradients(batch))

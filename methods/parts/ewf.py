"""EWF: Xiao et al., Endpoints Weight Fusion for Class Incremental Semantic Segmentation, CVPR 2023: a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from torch import Tensor, nn

from issbench.methods.method import Part


@dataclass(frozen=True, kw_only=True)
class EWFOptions:
    """`ewf`: the switch."""

    ewf: bool = True


class EWF(Part):
    """Endpoints weight fusion: old classifiers are frozen, and after a step the old weights are mixed in."""

    name = "ewf"
    title = "EWF"
    cite = "xiao2023endpoints"
    Options = EWFOptions

    def prepare(self, network: nn.Module) -> None:
        """The old groups of the classifier are frozen, after the background's was changed for the new classes."""
        super().prepare(network)
        if self.options.ewf and self.step.num_new:
            head: Any = network.classifier
            for group in [*head][:-1]:
                group.requires_grad_(False)

    def fuse(self, network: nn.Module, before: Mapping[str, Tensor]) -> None:
        """θ ← (1 − α)·θ before + α·θ now, with α = sqrt(new / all classes, the background among them)."""
        super().fuse(network, before)
        if not self.options.ewf or not self.step.num_new:  # without new classes α would be 0, and nothing learned
            return
        alpha = sqrt(self.step.num_new / self.step.num_classes)
        for name, now in network.state_dict().items():
            if name in before and now.is_floating_point():
                now.lerp_(before[name].to(now.device), 1 - alpha)

"""DFT*: Zhang et al., Revisiting Continual Semantic Segmentation with Pre-trained Vision Models, 2025."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from issbench.methods.interface.numbers import Positive
from issbench.methods.method import Method, Step
from issbench.methods.shared.frozen import freeze, need_new_classes


@dataclass(frozen=True, kw_only=True)
class DFTOptions:
    """`rate`: factor on the recipe's learning rate of later steps."""

    rate: Positive = 1.0


class DFT(Method):
    """DFT*: fine-tuning of the new classes' classifier alone, all else frozen."""

    name = "dft"
    title = "DFT*"
    table_order = 170
    colour, marker, dashes = "#7F7F7F", "X", "-"
    cite = "zhang2025revisiting"
    Options = DFTOptions
    # Learning rates of 5e-4 … 0.1, over those of our recipes: 1e-3, and 4e-3 on ADE20K.
    published = {
        "voc_15-1": {"rate": 0.5},
        "voc_10-1": {"rate": 0.5},
        "voc_19-1": {"rate": 5.0},
        "voc_15-5": {"rate": 20.0},
        "ade": {"rate": 25.0},
        "ade_100-5": {"rate": 12.5},
    }
    uses_teacher = False

    def __init__(self, options: DFTOptions, step: Step):
        super().__init__(options, step)
        need_new_classes(self.name, step)

    def prepare(self, network: nn.Module) -> None:
        super().prepare(network)
        parts: Any = network
        freeze(parts.backbone, parts.aspp, *[*parts.classifier][:-1])

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        return [group | {"scale": self.options.rate} for group in super().parameter_groups(network)]

    def set_training_mode(self, network: nn.Module) -> None:
        """What is frozen keeps the statistics of its norms."""
        network.eval()

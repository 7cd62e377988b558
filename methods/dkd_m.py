"""DKD-M: DKD (Baek et al., NeurIPS 2022) with a memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from issbench.methods.dkd import DKD, DKDOptions
from issbench.methods.method import Batch
from issbench.methods.parts.memory import MemoryOptions
from issbench.methods.shared.replay import Replay


@dataclass(frozen=True, kw_only=True)
class DKDMOptions(MemoryOptions, DKDOptions):
    """The options of DKD and of the memory."""


class DKDM(Replay, DKD):
    """DKD-M: DKD that sees images of earlier steps again."""

    name = "dkd-m"
    title = "DKD-M"
    table_order = 165
    colour, marker, dashes = "#56B4E9", "2", "-."
    cite = "baek2022decomposed"
    Options = DKDMOptions
    first_step_of = "dkd"
    published = {
        "ade": {"yes": 35.0, "first_yes": 35.0, "memory": 300},
        "shapes": {"backbone_rate": 1.0, "rate": 0.1, "yes": 4.0},
    }

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        """Where no one says what an exemplar shows, it may be a new class as well as none."""
        return torch.where(self.silent(batch, targets), 0.0, 1.0)

"""SSUL-M: SSUL (Cha et al., NeurIPS 2021) with a memory."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from issbench.methods.method import IGNORE, Batch
from issbench.methods.parts.memory import MemoryOptions
from issbench.methods.shared.replay import Replay
from issbench.methods.ssul import SSUL, SSULOptions


@dataclass(frozen=True, kw_only=True)
class SSULMOptions(MemoryOptions, SSULOptions):
    """The options of SSUL and of the memory."""


class SSULM(Replay, SSUL):
    """SSUL-M: SSUL that sees images of earlier steps again."""

    name = "ssul-m"
    title = "SSUL-M"
    table_order = 155
    colour, marker, dashes = "#CC79A7", "+", "-."
    cite = "cha2021ssul"
    Options = SSULMOptions
    first_step_of = "ssul"
    published = {"ade": {"rate": 12.5, "memory": 300}, "shapes": {"backbone_rate": 1.0}}

    def targets(self, batch: Batch) -> Tensor:
        """Where no one says what an exemplar shows, it may be a new class, which is not unknown."""
        targets = super().targets(batch)
        return targets.masked_fill(self.silent(batch, targets), IGNORE)

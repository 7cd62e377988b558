"""ILT: Michieli and Zanuttigh, Incremental Learning Techniques for Semantic Segmentation, ICCV Workshops 2019."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as nnf
from torch import Tensor

from issbench.methods.interface.numbers import Weight
from issbench.methods.lwf import LwF, LwFOptions
from issbench.methods.method import Batch


@dataclass(frozen=True, kw_only=True)
class ILTOptions(LwFOptions):
    """`encoder`: weight of the distance between the encoders' features."""

    encoder: Weight = 100.0


class ILT(LwF):
    """ILT: LwF, and the mean squared distance to the old encoder's features."""

    name = "ilt"
    title = "ILT"
    table_order = 80
    colour, marker, dashes = "#009E73", "^", "--"
    cite = "michieli2019incremental"
    Options = ILTOptions

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        distance = nnf.mse_loss(batch.student.encoder.float(), batch.teacher.encoder.float())
        return {**super().terms(batch, targets), "encoder": self.options.encoder * distance}

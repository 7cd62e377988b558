"""Losses on the parameters themselves."""

from collections.abc import Sequence

import torch
from torch import Tensor

from issbench.methods.equations.common import promote


def ewc_penalty(parameters: Sequence[Tensor], anchors: Sequence[Tensor], importances: Sequence[Tensor]) -> Tensor:
    """Cost of moving parameters away from where they were, by how much each of them mattered there.

    Σ importance·(parameter − anchor)², without the factor ½ of the paper.

    Args:
        parameters: at least one tensor, of any shape; gradients flow to them.
        anchors: their values after the previous step, same number and shapes.
        importances: their importances, ≥ 0 (EWC: the diagonal of the Fisher information), same shapes.

    Returns: scalar, ≥ 0.
    Source: EWC (Kirkpatrick et al., PNAS 2017), eq. 3.
    """
    groups = zip(parameters, anchors, importances, strict=True)
    return torch.stack([(promote(i) * (promote(p) - promote(a)).square()).sum() for p, a, i in groups]).sum()

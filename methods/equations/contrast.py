"""Losses on pairs of features."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from issbench.methods.equations.common import IGNORE_INDEX, full_precision, promote


def pixel_contrast(
    anchors: Tensor,
    contrast: Tensor,
    anchor_labels: Tensor,
    contrast_labels: Tensor,
    weights: Tensor,
    temperature: float = 0.07,
) -> Tensor:
    """How much nearer each feature is to those of other classes than to those of its own.

    Mean over the positives j of anchor i of −w_ij·[s_ij − log(exp s_ij + Σ_k exp s_ik)], s = cosine / temperature:
    positives are other pixels of its class, k are the negatives, the pixels of other classes.

    Args:
        anchors: `[N, D]`.
        contrast: `[M, D]`, the anchors first, in their order, so that an anchor is no positive of itself.
        anchor_labels, contrast_labels: `[N]` and `[M]`, integers; a pixel of label 255 is neither anchor nor
            positive nor negative.
        weights: w, `[N, M]`, ≥ 0.
        temperature: ≥ 0.01.

    Returns: `[N]`, ≥ 0; 0 for an anchor without positives. A feature of 0 has the cosine 0 and the gradient 0.
    Source: UCD (Yang et al., TPAMI 2022).
    """
    with full_precision(anchors.device.type):
        similarity = _directions(anchors) @ _directions(contrast).T / temperature
    same = anchor_labels[:, None] == contrast_labels
    counts = (anchor_labels != IGNORE_INDEX)[:, None] & (contrast_labels != IGNORE_INDEX)
    itself = torch.eye(len(anchors), len(contrast), dtype=torch.bool, device=same.device)
    positive = same & counts & ~itself
    # Not −inf, whose gradient is NaN where an anchor has no negatives at all.
    lowest = torch.finfo(similarity.dtype).min
    negatives = similarity.masked_fill(same | ~counts, lowest).logsumexp(1, keepdim=True)
    # log(exp s + exp n) − s = softplus(n − s): finite however large s is.
    costs = promote(weights) * F.softplus(negatives - similarity, threshold=40)
    return costs.masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp(min=1)


def _directions(features: Tensor) -> Tensor:
    features = promote(features)
    lengths = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / lengths.masked_fill(lengths == 0, math.inf)

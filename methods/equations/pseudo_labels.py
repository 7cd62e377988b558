"""Pseudo-labels: what the background pixels of this step are, as far as the teacher knows."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from issbench.methods.equations.common import IGNORE_INDEX, best_channel, entropy, log_softmax, promote


def prediction_entropy(logits: Tensor, *, normalised: bool = False) -> Tensor:
    """Uncertainty of a prediction: its entropy relative to that of the uniform distribution.

    Args:
        logits: `[B, C, H, W]`, `C ≥ 2`.

    Returns: `[B, H, W]` in `[0, 1]`: −Σ p·log p / log C.
    Source: GSC, μ of eq. 12; PLOP, the uncertainty of its pseudo-labels.
    """
    return (entropy(logits, normalised) / math.log(logits.shape[1])).clamp(max=1)


def class_medians(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """The exact median of the values of each class: the definition of what `shared/medians.py` computes, for which
    the values of a data set need not fit in memory.

    Args:
        values: `[N]`.
        classes: `[N]`, integers; an entry outside `0 … num_classes-1` belongs to no class.

    Returns: `[num_classes]`, the mean of the two middle values for an even count, 0 for an absent class.
    Source: GSC, τ of eq. 12; PLOP, its class-wise thresholds.
    """
    values, order = promote(values).sort()
    classes, by_class = classes[order].long().sort(stable=True)
    # Each class is now a sorted run. The extra 0 is there to be read for classes that have no run.
    runs = F.pad(values[by_class], (0, 1))
    labels = torch.arange(num_classes, device=classes.device)
    start = torch.searchsorted(classes, labels)
    count = torch.searchsorted(classes, labels, right=True) - start
    lower = runs[start + (count - 1).clamp(min=0) // 2]
    upper = runs[start + count // 2]
    return torch.where(count > 0, (lower + upper) / 2, 0)


def _confident_predictions(logits_old: Tensor, thresholds: Tensor, normalised: bool) -> tuple[Tensor, Tensor]:
    """The teacher's classes `[B, H, W]`, and where its entropy is below the threshold of that class."""
    predicted = best_channel(logits_old)
    return predicted, prediction_entropy(logits_old, normalised=normalised) < thresholds[predicted]


def _relabel_background(target: Tensor, num_old: int, labels: Tensor, accepted: Tensor) -> Tensor:
    """Background pixels take their label where it is accepted, else ignore; other pixels keep theirs."""
    labels = labels.to(target.dtype).masked_fill(~accepted, IGNORE_INDEX)
    return torch.where(target < num_old, labels, target)


@torch.no_grad()
def entropy_pseudo_labels(
    target: Tensor, logits_old: Tensor, thresholds: Tensor, num_old: int, *, normalised: bool = False
) -> Tensor:
    """Labels in which the teacher's confident predictions replace the background.

    Args:
        target: `[B, H, W]`, integers; `< num_old` is background.
        logits_old: teacher `[B, C_old, H, W]`.
        thresholds: `[C_old]`, in units of `prediction_entropy`; a prediction is confident strictly below.
        num_old: `C_old`.

    Returns: `[B, H, W]` of the target's dtype: background pixels become the teacher's class, or 255 where
        it is not confident; the others are kept.
    Source: PLOP, pseudo-labels by uncertainty.
    """
    return _relabel_background(target, num_old, *_confident_predictions(logits_old, thresholds, normalised))


@torch.no_grad()
def adaptive_factor(target: Tensor, logits_old: Tensor, thresholds: Tensor, num_old: int) -> Tensor:
    """Share of each image's background pixels that `entropy_pseudo_labels` labels. Same arguments. Methods have
    these labels at hand and call `labelled_share`.

    Returns: `[B]` in `[0, 1)`, 0 for an image without background.
    Source: PLOP, the factor of its pseudo-label loss.
    """
    labels = entropy_pseudo_labels(target, logits_old, thresholds, num_old)
    return labelled_share(target, labels, num_old, promote(logits_old).dtype)


def labelled_share(target: Tensor, labels: Tensor, num_old: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Share of each image's background pixels that pseudo-labels label.

    Args:
        target: `[B, H, W]`, integers; `< num_old` is background.
        labels: `[B, H, W]`, the pseudo-labels, 255 where there is none.

    Returns: `[B]` of `dtype` in `[0, 1)`, 0 for an image without background.
    """
    background = target < num_old
    labelled = (background & (labels != IGNORE_INDEX)).sum((1, 2)).to(dtype)
    return labelled / (background.sum((1, 2)).to(dtype) + 1e-6)


def class_prototypes(features: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """The mean feature of the pixels of each class.

    Args:
        features: `[B, D, H, W]`.
        classes: `[B, H, W]`, integers; a pixel outside `0 … num_classes-1` belongs to no class.

    Returns: `[num_classes, D]`, zeros for an absent class.
    Source: GSC eq. 11.
    """
    pixels = promote(features).movedim(1, -1).flatten(0, -2)
    index = classes.flatten().long()
    # Pixels of no class are summed into one more row, which is dropped: no selection, no sync.
    index = index.masked_fill((index < 0) | (index >= num_classes), num_classes)
    sums = pixels.new_zeros(num_classes + 1, pixels.shape[1]).index_add(0, index, pixels)
    counts = index.new_zeros(num_classes + 1).index_add(0, index, torch.ones_like(index))
    return (sums / counts.clamp(min=1).unsqueeze(1))[:-1]


def prototype_weights(features: Tensor, prototypes: Tensor, temperature: float = 1.0) -> Tensor:
    """How near each pixel is to each class prototype: softmax over classes of −‖f − η_c‖₂ / T.

    Args:
        features: `[B, D, H, W]`.
        prototypes: `[C_old, D]`; an all-zero one counts like any other.
        temperature: `T > 0`.

    Returns: `[B, C_old, H, W]` in `[0, 1]`, sums to 1 over classes.
    Source: GSC eq. 10, ζ.
    """
    pixels = promote(features).movedim(1, -1)
    # ‖f‖² + ‖η‖² − 2f·η would lose small distances to cancellation (and to TF32): sum the squares instead.
    distances = torch.cdist(pixels.flatten(0, -2), promote(prototypes), compute_mode="donot_use_mm_for_euclid_dist")
    weights = (-distances / temperature).softmax(-1)
    return weights.unflatten(0, pixels.shape[:-1]).movedim(-1, 1)


@torch.no_grad()
def prototypical_pseudo_labels(
    target: Tensor,
    logits_old: Tensor,
    weights: Tensor,
    thresholds: Tensor,
    num_old: int,
    *,
    normalised: bool = False,
) -> Tensor:
    """`entropy_pseudo_labels`, kept only where the prototypes lead to the same class.

    Args:
        target, logits_old, thresholds, num_old: as there.
        weights: ζ, `[B, C_old, H, W]`, from `prototype_weights`.

    Returns: `[B, H, W]` of the target's dtype: a background pixel becomes c = argmax p_old where the
        entropy is below τ_c and argmax(ζ·p_old) = c too, else 255; the others are kept.
    Source: GSC eq. 12.
    """
    log_p = log_softmax(logits_old, normalised)
    predicted, confident = _confident_predictions(log_p, thresholds, normalised=True)
    rectified = best_channel(log_p.exp().mul_(weights))
    return _relabel_background(target, num_old, predicted, confident & (rectified == predicted))

"""The mathematics of the methods, as pure functions on tensors.

No state, no modules, no I/O: a method composes these functions. They read like the equations they come
from, in this notation:

- `B` batch, `C` classes seen so far, `C_old` of them known to the teacher (the previous step's model), `D`
  feature channels, `H×W` pixels. Classes are numbered in learning order: 0 is the background, `0 … C_old-1`
  are the old classes. The ignore index is never a class.
- A pixel loss is a map `[B, H, W]`, non-negative unless said otherwise; the caller reduces it. The student
  comes first and the teacher second, and gradients flow to the student.
- Half precision is promoted to float32 before any logarithm, square or sum, and nothing here is a matrix
  product, so all of it may be called inside autocast.

Nothing here waits for the device: shapes never depend on values, and no value is read back.

Papers: MiB (Cermelli et al., CVPR 2020), PLOP (Douillard et al., CVPR 2021), GSC (Cong et al., gradient-
semantic compensation), RCIL (Zhang et al., CVPR 2022).
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE_INDEX = 255


def _promote(values: Tensor) -> Tensor:
    """float32 in place of half precision; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def _at_target(logits: Tensor, target: Tensor) -> Tensor:
    """`[B, H, W]`: the logit of each pixel's target class; arbitrary where the target is not a class."""
    index = target.long().clamp(0, logits.shape[1] - 1)
    return logits.gather(1, index.unsqueeze(1)).squeeze(1)


def _entropy(logits: Tensor) -> Tensor:
    """`[B, H, W]`: −Σ p·log p over the channels, in nats."""
    # From log p, not from p: log p stays finite where p underflows, so that 0·log 0 = 0, and a confident
    # pixel's small entropy keeps its digits, which logsumexp(x) − Σ p·x would cancel away.
    log_p = _promote(logits).log_softmax(1)
    return -(log_p.exp() * log_p).sum(1)


# Classification and distillation with a background that changes its meaning


def unbiased_cross_entropy(
    logits: Tensor, target: Tensor, num_old: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Cross-entropy in which the background stands for every old class.

    A pixel labelled background may show anything that is not new, so its probability is the sum over the
    old classes: −log Σ_{c < num_old} p_c. A pixel of a new class c costs −log p_c.

    Args:
        logits: `[B, C, H, W]`.
        target: `[B, H, W]`, integers; `< num_old` is background, `num_old … C-1` new, else `ignore_index`.
        num_old: `C_old`, in `1 … C`; with 1 this is the ordinary cross-entropy.

    Returns: `[B, H, W]`, ≥ 0 up to rounding; 0 at ignored pixels.
    Source: MiB, unbiased cross-entropy.
    """
    logits = _promote(logits)
    old, new = logits.split([num_old, logits.shape[1] - num_old], dim=1)
    background = old.logsumexp(1)
    total = torch.logaddexp(background, new.logsumexp(1))
    evidence = torch.where(target < num_old, background, _at_target(logits, target))
    return (total - evidence).masked_fill(target == ignore_index, 0)


def unbiased_knowledge_distillation(logits: Tensor, logits_old: Tensor, alpha: float = 1.0) -> Tensor:
    """Distillation in which the teacher's background may be the student's background or any new class.

    −1/C_old · Σ_c q_c·log p̂_c with q = softmax(α·teacher), p̂_0 = p_0 + Σ_{c ≥ C_old} p_c, and p̂_c = p_c for
    the other old classes. With no new class p̂ = p.

    Args:
        logits: student `[B, C, H, W]`.
        logits_old: teacher `[B, C_old, H, W]`, `C_old ≤ C`.
        alpha: sharpness of the teacher.

    Returns: `[B, H, W]`, ≥ 0 up to rounding.
    Source: MiB, unbiased knowledge distillation.
    """
    logits, logits_old = _promote(logits), _promote(logits_old)
    num_old = logits_old.shape[1]
    background = torch.logaddexp(logits[:, 0], logits[:, num_old:].logsumexp(1))
    student = torch.cat([background.unsqueeze(1), logits[:, 1:num_old]], dim=1)
    q = (alpha * logits_old).softmax(1)
    # Σ q = 1 turns −Σ q·log p̂ into the normaliser minus an expectation: no map of log p̂ is needed.
    return (student.logsumexp(1) - (q * student).sum(1)) / num_old


def fold_new_into_background(logits: Tensor, num_old: int) -> Tensor:
    """The student's logits over the teacher's channels, new classes added to the background.

    Args:
        logits: `[B, C, H, W]`.
        num_old: `C_old`, in `1 … C`.

    Returns: `[B, C_old, H, W]`, unbounded.
    Source: PLOP and RCIL, how logits enter their feature distillation.
    """
    logits = _promote(logits)
    background = logits[:, :1] + logits[:, num_old:].sum(1, keepdim=True)
    return torch.cat([background, logits[:, 1:num_old]], dim=1)


def local_pod(features: Tensor, features_old: Tensor, scales: Sequence[int] = (1, 2, 4)) -> Tensor:
    """Distance between multi-scale strip poolings of two feature maps.

    At scale s the squared map is cut into s×s regions of side k = W // s, each described by the means of its
    rows and of its columns. Regions end where the map ends; what lies beyond the s×s regions is unused.

    Args:
        features: student `[B, D, H, W]`.
        features_old: teacher, same shape.
        scales: each s needs `W ≥ s` and `H > (s-1)·(W // s)`.

    Returns: `[B]`, the L2 distance of the two descriptions, ≥ 0; its gradient is 0 where it is 0.
    Source: PLOP, local POD.
    """
    height, width = features.shape[-2:]
    # Pooling is linear: one pooled difference instead of the difference of two poolings.
    difference = _promote(features).square() - _promote(features_old).square()
    descriptions = []
    for s in scales:
        k = width // s
        if k == 0 or height <= (s - 1) * k:
            raise ValueError(f"local_pod: a {height}×{width} map has no {s}×{s} regions of side W // {s}")
        regions = difference[..., : s * k, : s * k]
        over_width = F.avg_pool2d(regions, (1, k))
        # The lowest regions may be cut off by the map: ceil_mode keeps them and averages what exists.
        over_height = F.avg_pool2d(regions, (k, 1), ceil_mode=True)
        descriptions += [over_width.flatten(1), over_height.flatten(1)]
    return torch.linalg.vector_norm(torch.cat(descriptions, dim=1), dim=1)


# Pseudo-labels: what the background pixels of this step are, as far as the teacher knows


def prediction_entropy(logits: Tensor) -> Tensor:
    """Uncertainty of a prediction: its entropy relative to that of the uniform distribution.

    Args:
        logits: `[B, C, H, W]`, `C ≥ 2`.

    Returns: `[B, H, W]` in `[0, 1]`: −Σ p·log p / log C.
    Source: GSC, μ of eq. 12; PLOP, the uncertainty of its pseudo-labels.
    """
    return (_entropy(logits) / math.log(logits.shape[1])).clamp(max=1)


def class_medians(values: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """The exact median of the values of each class.

    Args:
        values: `[N]`.
        classes: `[N]`, integers; an entry outside `0 … num_classes-1` belongs to no class.

    Returns: `[num_classes]`, the mean of the two middle values for an even count, 0 for an absent class.
    Source: GSC, τ of eq. 12; PLOP, its class-wise thresholds.
    """
    values, order = _promote(values).sort()
    classes, by_class = classes[order].long().sort(stable=True)
    # Each class is now a sorted run. The extra 0 is there to be read for classes that have no run.
    runs = F.pad(values[by_class], (0, 1))
    labels = torch.arange(num_classes, device=classes.device)
    start = torch.searchsorted(classes, labels)
    count = torch.searchsorted(classes, labels, right=True) - start
    lower = runs[start + (count - 1).clamp(min=0) // 2]
    upper = runs[start + count // 2]
    return torch.where(count > 0, (lower + upper) / 2, 0)


def _confident_predictions(logits_old: Tensor, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's classes `[B, H, W]`, and where its entropy is below the threshold of that class."""
    predicted = logits_old.argmax(1)
    return predicted, prediction_entropy(logits_old) < thresholds[predicted]


def _relabel_background(target: Tensor, num_old: int, labels: Tensor, accepted: Tensor) -> Tensor:
    """Background pixels take their label where it is accepted, else ignore; other pixels keep theirs."""
    labels = labels.to(target.dtype).masked_fill(~accepted, IGNORE_INDEX)
    return torch.where(target < num_old, labels, target)


@torch.no_grad()
def entropy_pseudo_labels(target: Tensor, logits_old: Tensor, thresholds: Tensor, num_old: int) -> Tensor:
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
    return _relabel_background(target, num_old, *_confident_predictions(logits_old, thresholds))


@torch.no_grad()
def adaptive_factor(target: Tensor, logits_old: Tensor, thresholds: Tensor, num_old: int) -> Tensor:
    """Share of each image's background pixels that `entropy_pseudo_labels` keeps. Same arguments.

    Returns: `[B]` in `[0, 1)`, 0 for an image without background.
    Source: PLOP, the factor of its pseudo-label loss.
    """
    _, confident = _confident_predictions(logits_old, thresholds)
    background = target < num_old
    dtype = _promote(logits_old).dtype
    kept = (confident & background).sum((1, 2)).to(dtype)
    return kept / (background.sum((1, 2)).to(dtype) + 1e-6)


def class_prototypes(features: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """The mean feature of the pixels of each class.

    Args:
        features: `[B, D, H, W]`.
        classes: `[B, H, W]`, integers; a pixel outside `0 … num_classes-1` belongs to no class.

    Returns: `[num_classes, D]`, zeros for an absent class.
    Source: GSC eq. 11.
    """
    pixels = _promote(features).movedim(1, -1).flatten(0, -2)
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
    pixels = _promote(features).movedim(1, -1)
    # ‖f‖² + ‖η‖² − 2f·η would lose small distances to cancellation (and to TF32): sum the squares instead.
    distances = torch.cdist(
        pixels.flatten(0, -2), _promote(prototypes), compute_mode="donot_use_mm_for_euclid_dist"
    )
    weights = (-distances / temperature).softmax(-1)
    return weights.unflatten(0, pixels.shape[:-1]).movedim(-1, 1)


@torch.no_grad()
def prototypical_pseudo_labels(
    target: Tensor, logits_old: Tensor, weights: Tensor, thresholds: Tensor, num_old: int
) -> Tensor:
    """`entropy_pseudo_labels`, kept only where the prototypes lead to the same class.

    Args:
        target, logits_old, thresholds, num_old: as there.
        weights: ζ, `[B, C_old, H, W]`, from `prototype_weights`.

    Returns: `[B, H, W]` of the target's dtype: a background pixel becomes c = argmax p_old where the
        entropy is below τ_c and argmax(ζ·p_old) = c too, else 255; the others are kept.
    Source: GSC eq. 12.
    """
    predicted, confident = _confident_predictions(logits_old, thresholds)
    rectified = (weights * _promote(logits_old).softmax(1)).argmax(1)
    return _relabel_background(target, num_old, predicted, confident & (rectified == predicted))


# Gradient and semantic compensation


@torch.no_grad()
def step_aware_weights(
    logits: Tensor, target: Tensor, classes_per_step: Sequence[int], ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Weights that even out the gradients of the steps: |G| relative to the mean |G| of the pixel's step.

    |G| = 1 − sigmoid(logit of the target class). The background is a group of its own.

    Args:
        logits: `[B, C, H, W]`.
        target: `[B, H, W]`, (pseudo-)labels in `0 … C-1`, or `ignore_index`.
        classes_per_step: foreground classes that each step added, the current step last; they sum to C-1.

    Returns: `[B, H, W]`, ≥ 0: mean 1 over the pixels of each earlier step and of the background (0 if their
        mean |G| is exactly 0), 1 at pixels of the current step, 0 at ignored pixels.
    Source: GSC eq. 2–5, ψ.
    """
    # sigmoid(−x), because 1 − sigmoid(x) rounds to 0 long before |G| does.
    gradient = torch.sigmoid(-_promote(_at_target(logits, target)))
    weights = torch.ones_like(gradient)
    first = 0
    for size in (1, *classes_per_step[:-1]):
        members = (target >= first) & (target < first + size)
        mean = (gradient * members).sum() / members.sum().clamp(min=1)
        weights = torch.where(members, gradient / mean.masked_fill(mean == 0, math.inf), weights)
        first += size
    return weights.masked_fill(target == ignore_index, 0)


def soft_relation(logits: Tensor, logits_old: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against soft labels: the teacher's sigmoid for old classes, the truth for new ones.

    −Σ_c ȳ_c·log p_c with ȳ_c = sigmoid(teacher)_c for c < C_old and ȳ_c = [target = c] for the new classes.

    Args:
        logits: student `[B, C, H, W]`.
        logits_old: teacher `[B, C_old, H, W]`.
        target: `[B, H, W]`, integers; a pixel that is of no new class (255 too) has the teacher's part only.

    Returns: `[B, H, W]`, ≥ 0 up to rounding.
    Source: GSC eq. 7.
    """
    logits = _promote(logits)
    num_old, num_classes = logits_old.shape[1], logits.shape[1]
    log_total = logits.logsumexp(1)
    surprise_old = log_total.unsqueeze(1) - logits[:, :num_old]
    soft = (_promote(logits_old).sigmoid() * surprise_old).sum(1)
    is_new = (target >= num_old) & (target < num_classes)
    return soft + (log_total - _at_target(logits, target)).masked_fill(~is_new, 0)


def sharp_confidence(logits: Tensor) -> Tensor:
    """Entropy of the prediction in nats, to be minimised.

    Args:
        logits: `[B, C, H, W]`.

    Returns: `[B, H, W]` in `[0, log C]`: −Σ p·log p.
    Source: GSC eq. 8.
    """
    return _entropy(logits)


# Metrics


def confusion_matrix(
    prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Counts of (true class, predicted class) pairs.

    Args:
        prediction: any shape, integers in `0 … num_classes-1`.
        target: same shape, integers; `ignore_index` and whatever is not in `0 … num_classes-1` is dropped.

    Returns: `[num_classes, num_classes]` int64, rows are the ground truth.
    """
    prediction, target = prediction.flatten().long(), target.flatten().long()
    dropped = (target == ignore_index) | (target < 0) | (target >= num_classes)
    cells = num_classes * num_classes
    index = (target * num_classes + prediction).masked_fill(dropped, cells)
    counts = index.new_zeros(cells + 1).index_add(0, index, torch.ones_like(index))
    return counts[:-1].reshape(num_classes, num_classes)


def iou_per_class(confusion: Tensor) -> Tensor:
    """Intersection over union of each class.

    Args:
        confusion: `[C, C]`, rows are the ground truth.

    Returns: `[C]` float64 in `[0, 1]`: tp / (tp + fp + fn), NaN for a class neither present nor predicted.
    """
    confusion = confusion.double()
    intersection = confusion.diagonal()
    return intersection / (confusion.sum(0) + confusion.sum(1) - intersection)

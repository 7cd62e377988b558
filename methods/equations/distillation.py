"""Losses against the previous step's model: its predictions, and its features."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from issbench.errors import UsageError
from issbench.methods.equations.common import IGNORE_INDEX, at_target, joined_background, log_softmax, promote
from issbench.methods.equations.windows import channel_distance, window_distance


class MapTooSmall(UsageError):
    """A feature map that cannot be cut into as many regions as a distance needs."""


def _expectation(student: Tensor, logits_old: Tensor, alpha: float, normalised: bool) -> Tensor:
    """`[B, H, W]`: Σ_c softmax(α·teacher)_c·student_c."""
    # Sharpened log-probabilities do not add up to 1 any more.
    q = log_softmax(alpha * promote(logits_old), normalised and alpha == 1).exp()
    return (q * student).sum(1)


def knowledge_distillation(
    logits: Tensor, logits_old: Tensor, alpha: float = 1.0, *, normalised: bool = False
) -> Tensor:
    """Distillation among the classes that the teacher knows, as if there were no others.

    −1/C_old · Σ_c q_c·log p_c with q = softmax(α·teacher) and p = softmax(student's first C_old logits).

    Args:
        logits: student `[B, C, H, W]`.
        logits_old: teacher `[B, C_old, H, W]`, `C_old ≤ C`.
        alpha: sharpness of the teacher.

    Returns: `[B, H, W]`, ≥ 0 up to rounding.
    Source: LwF (Li & Hoiem, ECCV 2016), as released with MiB and PLOP.
    """
    num_old = logits_old.shape[1]
    student = promote(logits[:, :num_old])
    # Σ q = 1 turns −Σ q·log p into the normaliser minus an expectation: no map of log p is needed.
    return (student.logsumexp(1) - _expectation(student, logits_old, alpha, normalised)) / num_old


def unbiased_knowledge_distillation(
    logits: Tensor, logits_old: Tensor, alpha: float = 1.0, *, normalised: bool = False
) -> Tensor:
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
    num_old = logits_old.shape[1]
    student = joined_background(logits, num_old)
    # What was added to the background is normalised as the whole was.
    total = 0 if normalised else student.logsumexp(1)
    return (total - _expectation(student, logits_old, alpha, normalised)) / num_old


def logit_regulariser(logits: Tensor, logits_old: Tensor, *, normalised: bool = False) -> Tensor:
    """Cross-entropy against the teacher's probabilities over all classes, those that it does not know at 0.

    log Σ_c exp x_c − Σ_{c < C_old} q_c·x_c = −Σ_{c < C_old} q_c·log p_c with q = softmax(teacher).

    Args:
        logits: student `[B, C, H, W]`.
        logits_old: teacher `[B, C_old, H, W]`, `C_old ≤ C`.

    Returns: `[B, H, W]`, ≥ 0.
    Source: ALIFE (Oh et al., NeurIPS 2022), adaptive logit regulariser.
    """
    log_p = log_softmax(logits, normalised)
    return -_expectation(log_p[:, : logits_old.shape[1]], logits_old, 1.0, normalised)


def label_guided_distillation(
    logits: Tensor,
    logits_old: Tensor,
    target: Tensor,
    ignore_index: int = IGNORE_INDEX,
    *,
    normalised: bool = False,
) -> Tensor:
    """Distillation from a teacher that was told the labels: where one names a new class, what the teacher takes for
    background is that class.

    −Σ_c q_c·log p_c with q = softmax(teacher), and q_0 as the probability of class y at a pixel with a new label y.

    Args:
        logits: student `[B, C, H, W]`.
        logits_old: teacher `[B, C_old, H, W]`, `C_old ≤ C`.
        target: `[B, H, W]`, integers; those of new classes, `C_old … C-1`, and `ignore_index` matter.

    Returns: `[B, H, W]`, ≥ 0, summed over the classes; 0 at ignored pixels.
    Source: LGKD (Yang et al., ICCV 2023).
    """
    log_p = log_softmax(logits, normalised)
    num_old, num_classes = logits_old.shape[1], logits.shape[1]
    is_new = (target >= num_old) & (target < num_classes)
    background = torch.where(is_new, at_target(log_p, target), log_p[:, 0])
    student = torch.cat([background.unsqueeze(1), log_p[:, 1:num_old]], dim=1)
    return -_expectation(student, logits_old, 1.0, normalised).masked_fill(target == ignore_index, 0)


def sigmoid_distillation(logits: Tensor, logits_old: Tensor) -> Tensor:
    """Distillation of one yes-or-no question per old class, with the teacher's answers σ(teacher) as labels.

    −Σ_c [q_c·log p_c + (1 − q_c)·log(1 − p_c)] over the old classes, q = σ(teacher) and p = σ(student).

    Args:
        logits: student `[B, C, H, W]`.
        logits_old: teacher `[B, C_old, H, W]`, `C_old ≤ C`.

    Returns: scalar, ≥ 0, the mean over all pixels of the sum over the old classes.
    Source: LwF-MC, as iCaRL (Rebuffi et al., CVPR 2017) distils.
    """
    num_old = logits_old.shape[1]
    student = promote(logits[:, :num_old])
    return num_old * F.binary_cross_entropy_with_logits(student, promote(logits_old).sigmoid())


def fold_new_into_background(logits: Tensor, num_old: int) -> Tensor:
    """The student's logits over the teacher's channels, new classes added to the background.

    Args:
        logits: `[B, C, H, W]`.
        num_old: `C_old`, in `1 … C`.

    Returns: `[B, C_old, H, W]`, unbounded.
    Source: PLOP and RCIL, how logits enter their feature distillation.
    """
    logits = promote(logits)
    background = logits[:, :1] + logits[:, num_old:].sum(1, keepdim=True)
    return torch.cat([background, logits[:, 1:num_old]], dim=1)


def _difference_of_squares(features: Tensor, features_old: Tensor) -> Tensor:
    """Pooling is linear: one pooled difference instead of the difference of two poolings."""
    return promote(features).square() - promote(features_old).square()


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
    difference = _difference_of_squares(features, features_old)
    norms = []
    for s in scales:
        k = width // s
        if k == 0 or height <= (s - 1) * k:
            raise MapTooSmall(
                f"local POD: a feature map of {height}×{width} cannot be cut into {s}×{s} regions; raise the crop "
                "(--set crop=…) or lower the output stride"
            )
        regions = difference[..., : s * k, : s * k]
        over_width = F.avg_pool2d(regions, (1, k))
        # The lowest regions may be cut off by the map: ceil_mode keeps them and averages what exists.
        over_height = F.avg_pool2d(regions, (k, 1), ceil_mode=True)
        norms += [torch.linalg.vector_norm(part, dim=(1, 2, 3)) for part in (over_width, over_height)]
    # The norm of the norms is that of all entries; to line them up would copy every map to another layout.
    return torch.linalg.vector_norm(torch.stack(norms, dim=1), dim=1)


def pooled_cube_spatial(
    features: Tensor, features_old: Tensor, sizes: Sequence[int] = (4, 8, 12, 16, 20, 24)
) -> Tensor:
    """Distance between the means of two squared feature maps over windows of several sizes.

    For each size: average pooling with stride 1 and zero padding size // 2, which counts in the mean; the
    L2 distance of the pooled maps of each sample.

    Args:
        features: student `[B, D, H, W]`.
        features_old: teacher, same shape.
        sizes: sides of the windows, ≥ 1, odd or even; may exceed the map.

    Returns: scalar, ≥ 0, the mean over the batch and the sizes; a distance that is 0 has gradient 0.
    Source: RCIL (Zhang et al., CVPR 2022), pooled cube distillation, spatial.
    """
    return window_distance(_difference_of_squares(features, features_old), sizes)


def pooled_cube_channel(features: Tensor, features_old: Tensor, size: int = 3) -> Tensor:
    """Distance between the means of two squared feature maps over neighbouring channels.

    Average pooling along the channels with stride 1 and zero padding size // 2, which counts in the mean;
    the L2 distance of the pooled maps of each sample.

    Args:
        features: student `[B, D, H, W]`.
        features_old: teacher, same shape.
        size: channels in a window, ≥ 1, odd or even; small, because the cost is proportional to it.

    Returns: scalar, ≥ 0, the mean over the batch; a distance that is 0 has gradient 0.
    Source: RCIL (Zhang et al., CVPR 2022), pooled cube distillation, channel.
    """
    return channel_distance(_difference_of_squares(features, features_old), size)

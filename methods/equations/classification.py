"""Losses against labels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from issbench.methods.equations.common import IGNORE_INDEX, at_target, joined_background, promote


def unbiased_cross_entropy(
    logits: Tensor,
    target: Tensor,
    num_old: int,
    ignore_index: int = IGNORE_INDEX,
    *,
    normalised: bool = False,
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
    logits = promote(logits)
    old, new = logits.split([num_old, logits.shape[1] - num_old], dim=1)
    background = old.logsumexp(1)
    loss = -torch.where(target < num_old, background, at_target(logits, target))
    if not normalised:
        loss = loss + torch.logaddexp(background, new.logsumexp(1))
    return loss.masked_fill(target == ignore_index, 0)


def unbiased_memory_cross_entropy(
    logits: Tensor,
    target: Tensor,
    num_old: int,
    ignore_index: int = IGNORE_INDEX,
    *,
    normalised: bool = False,
) -> Tensor:
    """Cross-entropy on images of an earlier step, whose background may hide the current step's classes.

    A pixel of an old class c costs −log p_c. One that is labelled background, or with a class that its step did not
    know, costs −log(p_0 + Σ_{c ≥ num_old} p_c).

    Args:
        logits: `[B, C, H, W]`.
        target: `[B, H, W]`, integers; `1 … num_old-1` is an old class, 0 or `≥ num_old` background, else
            `ignore_index`.
        num_old: `C_old`, in `1 … C`; with C this is the ordinary cross-entropy.

    Returns: `[B, H, W]`, ≥ 0 up to rounding; 0 at ignored pixels.
    Source: MiB-AugM (Kwak, Cha and Moon, 2024).
    """
    joined = joined_background(logits, num_old)
    loss = -at_target(joined, torch.where(target < num_old, target, 0))
    if not normalised:
        loss = loss + joined.logsumexp(1)
    return loss.masked_fill(target == ignore_index, 0)


def sigmoid_cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """Cross-entropy of one yes-or-no question per class: is the pixel of this class?

    −log σ(x_t) − Σ_{c ≠ t} log(1 − σ(x_c)) for the target class t.

    Args:
        logits: `[B, C, H, W]`.
        target: `[B, H, W]`, integers in `0 … C-1`, or `ignore_index`.

    Returns: `[B, H, W]`, ≥ 0 up to rounding, summed over the classes; 0 at ignored pixels.
    Source: LwF-MC, as iCaRL (Rebuffi et al., CVPR 2017) trains it.
    """
    logits = promote(logits)
    # −log(1 − σ(x)) = softplus(x) and −log σ(x) = softplus(x) − x: no one-hot map is needed. Beyond its
    # default threshold of 20 softplus drops e⁻ˣ, which float64 still sees.
    loss = F.softplus(logits, threshold=40).sum(1) - at_target(logits, target)
    return loss.masked_fill(target == ignore_index, 0)


def sigmoid_membership(logits: Tensor, target: Tensor, first: int, positive: float = 1.0) -> Tensor:
    """Binary cross-entropies of some of the classes, for pixels of which most may show none of them.

    −Σ_c [w·y_c·log σ(x_c) + (1 − y_c)·log(1 − σ(x_c))] over the classes first … first+K-1, with y_c = [target = c].

    Args:
        logits: of these classes, `[B, K, H, W]`.
        target: `[B, H, W]`, integers; what is none of these classes, an ignored pixel too, is a no to each of them.
        first: the class of the first channel.
        positive: the weight w of a yes.

    Returns: `[B, H, W]`, ≥ 0, summed over the classes.
    Source: DKD (Baek et al., NeurIPS 2022), multiple binary cross-entropy.
    """
    logits = promote(logits)
    own = at_target(logits, target - first)
    is_one = (target >= first) & (target < first + logits.shape[1])
    change = positive * F.softplus(-own, threshold=40) - F.softplus(own, threshold=40)
    return F.softplus(logits, threshold=40).sum(1) + torch.where(is_one, change, 0)

"""Gradient and semantic compensation."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from issbench.methods.equations.common import IGNORE_INDEX, at_target, entropy, log_softmax, promote


@torch.no_grad()
def step_aware_weights(
    logits: Tensor,
    target: Tensor,
    classes_per_step: Sequence[int],
    ignore_index: int = IGNORE_INDEX,
    *,
    total: Callable[[Tensor], Tensor] = lambda values: values,
) -> Tensor:
    """Weights that even out the gradients of the steps: |G| relative to the mean |G| of the pixel's step.

    |G| = 1 − sigmoid(logit of the target class). The background is a group of its own.

    Args:
        logits: `[B, C, H, W]`.
        target: `[B, H, W]`, (pseudo-)labels in `0 … C-1`, or `ignore_index`.
        classes_per_step: foreground classes that each step added, the current step last; they sum to C-1.
        total: the sum over all parts of the batch, where this is one of several.

    Returns: `[B, H, W]`, ≥ 0: mean 1 over the pixels of each earlier step and of the background (0 if their
        mean |G| is exactly 0), 1 at pixels of the current step, 0 at ignored pixels.
    Source: GSC eq. 2–5, ψ.
    """
    gradient, groups = gradient_size(logits, target), class_groups(target, (1, *classes_per_step[:-1]))
    sums = total(torch.stack([torch.stack([(gradient * group).sum(), group.sum()]) for group in groups]))
    means = sums[:, 0] / sums[:, 1].clamp(min=1)
    weights = torch.ones_like(gradient)
    for group, mean in zip(groups, means.masked_fill(means == 0, math.inf), strict=True):
        weights = torch.where(group, gradient / mean, weights)
    return weights.masked_fill(target == ignore_index, 0)


def gradient_size(logits: Tensor, target: Tensor) -> Tensor:
    """|G| = 1 − sigmoid(logit of the target class): `[B, H, W]` of logits `[B, C, H, W]`; GSC eq. 2."""
    # sigmoid(−x), because 1 − sigmoid(x) rounds to 0 long before |G| does.
    return torch.sigmoid(-promote(at_target(logits, target)))


def class_groups(target: Tensor, sizes: Iterable[int]) -> list[Tensor]:
    """Which pixels are of each group of classes, bool like `target`: the first `sizes[0]` classes, the next …"""
    groups, first = [], 0
    for size in sizes:
        groups.append((target >= first) & (target < first + size))
        first += size
    return groups


def soft_relation(
    logits: Tensor,
    logits_old: Tensor,
    target: Tensor,
    released: bool = False,
    *,
    normalised: bool = False,
) -> Tensor:
    """Cross-entropy against soft labels: the teacher's sigmoid for old classes, the truth for new ones.

    −Σ_c ȳ_c·log p_c with ȳ_c = sigmoid(teacher)_c for c < C_old and ȳ_c = [target = c] for the new classes.

    Args:
        logits: student `[B, C, H, W]`.
        logits_old: teacher `[B, C_old, H, W]`.
        target: `[B, H, W]`, integers; a pixel that is of no new class (255 too) has the teacher's part only.
        released: take softmax(ȳ) over all C channels in place of ȳ, and the mean over them in place of the sum.

    Returns: `[B, H, W]`, ≥ 0 up to rounding; not 0 at ignored pixels.
    Source: GSC eq. 7; `released`: as the same authors' FISS (CVPR 2023) and RDP (CIKM 2023) compute it.
    """
    log_p, sigmoids = log_softmax(logits, normalised), promote(logits_old).sigmoid()
    num_old, num_classes = logits_old.shape[1], logits.shape[1]
    is_new = ((target >= num_old) & (target < num_classes)).to(sigmoids.dtype)
    if not released:
        return -_weighted(log_p, sigmoids, 0, target, is_new)
    # softmax(ȳ) without a map of ȳ: a new channel has weight 1, and that of the label e.
    weights, extra = sigmoids.exp(), (math.e - 1) * is_new
    total = weights.sum(1) + (num_classes - num_old) + extra
    return -_weighted(log_p, weights, 1, target, extra) / (num_classes * total)


def _weighted(log_p: Tensor, old: Tensor, new: float, target: Tensor, extra: Tensor) -> Tensor:
    """`[B, H, W]`: Σ_c w_c·log p_c, where w is `old` `[B, C_old, H, W]`, then `new` for each other class, and more
    by `extra` `[B, H, W]` at the target."""
    return cast(Tensor, _Weighted.apply(log_p, old, new, target.long().clamp(0, log_p.shape[1] - 1), extra))


class _Weighted(Function):
    """The sum of `_weighted`, with its gradient written into one map: autograd's own makes three, and adds them."""

    @staticmethod
    def forward(ctx: Any, log_p: Tensor, old: Tensor, new: float, target: Tensor, extra: Tensor) -> Tensor:
        ctx.save_for_backward(log_p, old, target, extra)
        ctx.new = new
        num_old = old.shape[1]
        found = (old * log_p[:, :num_old]).sum(1) + extra * at_target(log_p, target)
        return found + new * log_p[:, num_old:].sum(1) if new else found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        log_p, old, target, extra = ctx.saved_tensors
        found, each = torch.empty_like(log_p), gradient.unsqueeze(1)
        num_old = old.shape[1]
        torch.mul(old, each, out=found[:, :num_old])
        found[:, num_old:] = ctx.new * each
        found.scatter_add_(1, target.unsqueeze(1), (extra * gradient).unsqueeze(1))
        return found, None, None, None, None


def sharp_confidence(logits: Tensor, *, normalised: bool = False) -> Tensor:
    """Entropy of the prediction in nats, to be minimised.

    Args:
        logits: `[B, C, H, W]`.

    Returns: `[B, H, W]` in `[0, log C]`: −Σ p·log p.
    Source: GSC eq. 8.
    """
    return entropy(logits, normalised)

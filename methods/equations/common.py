"""What several equations share."""

import torch
from torch import Tensor

IGNORE_INDEX = 255


def promote(values: Tensor) -> Tensor:
    """float32 in place of half precision; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def at_target(logits: Tensor, target: Tensor) -> Tensor:
    """`[B, H, W]`: the logit of each pixel's target class; arbitrary where the target is not a class."""
    index = target.long().clamp(0, logits.shape[1] - 1)
    return logits.gather(1, index.unsqueeze(1)).squeeze(1)


def log_softmax(logits: Tensor, normalised: bool) -> Tensor:
    """log p over the channels; logits that are `normalised` are that already."""
    return promote(logits) if normalised else promote(logits).log_softmax(1)


def entropy(logits: Tensor, normalised: bool) -> Tensor:
    """`[B, H, W]`: −Σ p·log p over the channels, in nats."""
    # From log p, not from p: log p stays finite where p underflows, so that 0·log 0 = 0, and a confident
    # pixel's small entropy keeps its digits, which logsumexp(x) − Σ p·x would cancel away.
    log_p = log_softmax(logits, normalised)
    return -(log_p.exp() * log_p).sum(1)

"""What several equations share."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

IGNORE_INDEX = 255


def promote(values: Tensor) -> Tensor:
    """float32 in place of half precision; float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def at_target(logits: Tensor, target: Tensor) -> Tensor:
    """`[B, H, W]`: the logit of each pixel's target class; arbitrary where the target is not a class."""
    index = target.long().clamp(0, logits.shape[1] - 1)
    return logits.gather(1, index.unsqueeze(1)).squeeze(1)


def best_channel(values: Tensor) -> Tensor:
    """`[B, H, W]`: the channel of the largest value of each pixel, the first of several."""
    channels = values.shape[1]
    if values.device.type != "cpu" or not values.is_contiguous() or channels > 256:
        return values.argmax(1)
    # torch's argmax over maps that lie one after the other takes six times as long on the CPU.
    after = torch.arange(channels - 1, -1, -1, dtype=torch.uint8)[:, None, None]
    return (channels - 1) - (after * (values == values.amax(1, keepdim=True))).amax(1).long()


def joined_background(logits: Tensor, num_old: int) -> Tensor:
    """`[B, C_old, H, W]`: logits in which the background stands for the new classes, too: channel 0 becomes
    log(exp x_0 + Σ_{c ≥ C_old} exp x_c), so that their normaliser is that of all C channels."""
    logits = promote(logits)
    background = torch.logaddexp(logits[:, 0], logits[:, num_old:].logsumexp(1))
    return torch.cat([background.unsqueeze(1), logits[:, 1:num_old]], dim=1)


def log_softmax(logits: Tensor, normalised: bool) -> Tensor:
    """log p over the channels; logits that are `normalised` are that already."""
    return promote(logits) if normalised else promote(logits).log_softmax(1)


def entropy(logits: Tensor, normalised: bool) -> Tensor:
    """`[B, H, W]`: −Σ p·log p over the channels, in nats."""
    # From log p, not from p: log p stays finite where p underflows, so that 0·log 0 = 0, and a confident
    # pixel's small entropy keeps its digits, which logsumexp(x) − Σ p·x would cancel away.
    return cast(Tensor, _Entropy.apply(log_softmax(logits, normalised)))


class _Entropy(Function):
    """−Σ p·log p of log p, with its gradient in two passes over the map: autograd's own takes five."""

    @staticmethod
    def forward(ctx: Any, log_p: Tensor) -> Tensor:
        p = log_p.exp()
        ctx.save_for_backward(log_p, p)
        return -(p * log_p).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        log_p, p = ctx.saved_tensors
        return torch.addcmul(p, p, log_p).mul_(-gradient.unsqueeze(1))


def full_precision(device_type: str) -> AbstractContextManager:
    """Matrix products are what autocast halves the precision of."""
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()

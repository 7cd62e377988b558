"""Sums over all processes that train together; with one process everything is itself.

The engine splits each batch among the processes and lets them descend the mean of their losses, each weighted by
its share of the batch. So the mean of a loss over pixels needs nothing from here. What relates the pixels of a
batch or a data set to each other, such as the mean of a class, does.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def total(values: Tensor) -> Tensor:
    """The sum of `values` over all processes, in each of them; differentiable. Every process must call it."""
    return values if _alone(values) else _Sum.apply(values)


def mean(values: list[Tensor]) -> list[Tensor]:
    """The mean of each tensor over all processes, in one exchange; not differentiable."""
    if not values or _alone(values[0]):
        return values
    flat = torch.cat([value.detach().flatten() for value in values])
    dist.all_reduce(flat)
    parts = (flat / world_size()).split([value.numel() for value in values])
    return [part.view_as(value) for part, value in zip(parts, values, strict=True)]


def maximum(values: Tensor) -> Tensor:
    """The maximum of `values` over all processes, entry by entry; its gradient goes in equal parts to the processes
    that have it."""
    if _alone(values):
        return values
    highest = values.detach().clone()
    dist.all_reduce(highest, dist.ReduceOp.MAX)
    has_it = values.detach() == highest
    owners = total(has_it.to(values.dtype))
    return total(torch.where(has_it, values, 0) / owners)


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """The mean of `values` over those entries of all processes for which `where` holds, 0 without any; scalar,
    differentiable. Other entries are not read."""
    sums = total(torch.stack([values.masked_fill(~where, 0).sum(), where.sum().to(values.dtype)]))
    return sums[0] / sums[1].clamp(min=1)


def others(values: Tensor, share: float, fill: float) -> Tensor:
    """What the other processes have for their images of a batch: [images here, …] → [rows, …]; not differentiable.

    `share` is `Batch.share`. Each process gives as many rows as the one with most images, filled up with `fill`, so
    that shapes are known without asking. Alone, there are none.
    """
    if _alone(values):
        return values[:0].detach()
    world, own = world_size(), dist.get_rank()
    most = -(-round(len(values) * world / share) // world)
    padded = values.new_full((most, *values.shape[1:]), fill)
    padded[: len(values)] = values.detach()
    everyone = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(everyone, padded)
    return torch.cat(everyone[:own] + everyone[own + 1 :])


def _alone(values: Tensor) -> bool:
    """Whether there is nothing to exchange: one process, or no values (steps are tried on the meta device)."""
    return world_size() == 1 or values.is_meta


class _Sum(torch.autograd.Function):
    """Each process's sum goes into that process's loss, so its gradient is the sum of all of theirs."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        result = values.detach().clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        result = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(result)
        return result

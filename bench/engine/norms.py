"""Batch norms whose statistics are those of all processes that train together."""

from __future__ import annotations

from functools import partial
from typing import Any, cast
from weakref import proxy

import torch
import torch.nn.functional as nnf
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from issbench.bench.engine.network import Network
from issbench.methods.shared import collectives


def synchronise_norms(network: Network, device: torch.device) -> Network:
    """Let the batch norms of a network see the batches of all processes, where there are several.

    PyTorch has such norms for GPUs alone. On CPUs they are computed here: norms of a process's own share would
    train another network under the key of the same step.
    """
    if collectives.world_size() == 1 or device.type == "meta":
        return network
    if device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm

        return cast(Network, convert_sync_batchnorm(network))
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            # A norm that held itself would live on until the next garbage collection.
            module.forward = partial(_norm_of_all, cast(_BatchNorm, proxy(module)))  # type: ignore[method-assign]
    return network


def _norm_of_all(norm: _BatchNorm, maps: Tensor) -> Tensor:
    """A batch norm of maps [B, D, H, W] of which each process has some."""
    if not norm.training:
        result = nnf.batch_norm(maps, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
    else:
        values = maps.float()
        count, mean, variance = _moments(values)
        scale = norm.weight * (variance + norm.eps).rsqrt()
        result = (values - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
        result = result.to(maps.dtype)
        _update(norm, mean, (variance * count / (count - 1)).float())
    own: Any = norm  # timm's norms have the activation in them
    return own.act(own.drop(result)) if hasattr(norm, "act") else result


@torch.no_grad()
def _update(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """The running statistics of a norm, which every norm of our networks has."""
    momentum = norm.momentum
    assert norm.num_batches_tracked is not None and norm.running_mean is not None and momentum is not None
    assert norm.running_var is not None
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean, momentum)
    norm.running_var.lerp_(variance, momentum)


def _moments(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each channel of the maps of all processes: how many values there are, their mean and variance."""
    own = maps.mean(dim=(0, 2, 3))
    spread = (maps - own[:, None, None]).square().sum(dim=(0, 2, 3))
    # One exchange, in double precision: in single the mean square less the squared mean would lose digits.
    count, mean = maps.numel() // maps.shape[1] * torch.ones_like(own, dtype=torch.float64), own.double()
    moments = torch.stack([count, count * mean, spread + count * mean.square()])
    count, sums, squares = collectives.total(moments)
    mean = sums / count
    return count, mean.float(), (squares / count - mean.square()).float()

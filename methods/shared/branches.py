"""RCIL's two branches: a convolution and its batch norm, once frozen and once trained, and their exact merge."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from issbench.errors import UsageError


class ConvNorm(NamedTuple):
    """A module, and the names of its convolution and of the batch norm that follows."""

    parent: nn.Module
    conv: str
    norm: str


class NoPairs(UsageError):
    """A backbone without anything that could be doubled."""


class TwoBranches(nn.Module):
    """Stands in the place of a convolution and the batch norm after it; both branches start as these.

    In training each channel is, with probability 1/3 each, that of the frozen branch, that of the trained one, or
    their mean; in evaluation their mean.
    """

    def __init__(self, conv: nn.Conv2d, norm: _BatchNorm):
        super().__init__()
        self.trained = copy.deepcopy(conv)
        device = conv.weight.device
        self.trained_norm = nn.BatchNorm2d(norm.num_features, norm.eps, norm.momentum, device=device)
        self.trained_norm.load_state_dict(norm.state_dict())
        self.norm = norm.requires_grad_(False)  # not called: it has the statistics for the merge
        self.biased = conv.bias is not None
        # The frozen branch never changes, so its norm is folded into its kernel.
        scale, shift = _affine(norm, conv)
        with torch.no_grad():
            conv.weight.mul_(scale[:, None, None, None])
        conv.bias = nn.Parameter(shift.to(conv.weight.dtype))
        self.frozen = conv.requires_grad_(False)
        self.train(conv.training)

    def forward(self, maps: Tensor) -> Tensor:
        """[B, D, H, W] → [B, D', H', W']."""
        frozen, trained = self.frozen(maps), self.trained_norm(self.trained(maps))
        trained = trained.to(frozen.dtype)
        if not self.training:
            return torch.lerp(frozen, trained, 0.5)
        share = torch.randint(3, (frozen.shape[1], 1, 1), device=maps.device).to(frozen.dtype) / 2
        return torch.lerp(frozen, trained, share)

    @torch.no_grad()
    def merged(self) -> tuple[nn.Conv2d, _BatchNorm]:
        """The convolution and norm, as they were before (with a bias or without), of which the output in
        evaluation is the mean of the branches'.

        How the norm shares the work with the kernel is free; the statistics are chosen as the convolution's
        output has them if both branches' outputs vary together, so that training can go on from there.
        """
        scale, shift = _affine(self.trained_norm, self.trained)
        old, new = self.norm, self.trained_norm
        kernel = (self.frozen.weight.double() + scale[:, None, None, None] * self.trained.weight.double()) / 2
        frozen_bias = self.frozen.get_parameter("bias")
        bias = (frozen_bias.double() + shift) / 2
        (old_mean, old_variance), (new_mean, new_variance) = _statistics(old), _statistics(new)
        old_scale = old.weight.double() / (old_variance.double() + old.eps).sqrt()
        mean = (old_scale * old_mean.double() + scale * new_mean.double()) / 2
        deviation = (old_scale * old_variance.double().sqrt() + scale * new_variance.double().sqrt()) / 2
        old_mean.copy_(mean)
        old_variance.copy_(deviation.square())
        old.weight.copy_((old_variance.double() + old.eps).sqrt())
        old.bias.copy_(bias + mean)
        self.frozen.weight.copy_(kernel)
        self.frozen.bias = nn.Parameter(torch.zeros_like(frozen_bias)) if self.biased else None
        return self.frozen.requires_grad_(True), old.requires_grad_(True)


def _affine(norm: _BatchNorm, conv: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A norm in evaluation, after a convolution with its bias, as scale and shift of what its kernel gives."""
    mean, variance = _statistics(norm)
    scale = norm.weight.detach().double() / (variance.double() + norm.eps).sqrt()
    bias = 0.0 if conv.bias is None else conv.bias.detach().double()
    return scale, norm.bias.detach().double() + scale * (bias - mean.double())


def _statistics(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Running mean and variance [D]: the norm's own buffers."""
    return norm.get_buffer("running_mean"), norm.get_buffer("running_var")


def add_branches(network: nn.Module) -> None:
    """Double every 3×3 convolution–norm pair of `network.backbone`, and the four convolutions of `network.aspp`
    that see the encoder's features. Raises NoPairs if the backbone has none."""
    pairs = [
        pair
        for pair in _pairs(network.get_submodule("backbone"))
        if getattr(pair.parent, pair.conv).kernel_size == (3, 3)
    ]
    if not pairs:
        raise NoPairs(
            "RCIL doubles 3×3 convolutions with a batch norm after them, and this backbone has none; take a "
            "ResNet, RegNet or EfficientNet"
        )
    *branches, _pooling = network.get_submodule("aspp.convs").children()
    for parent, conv, norm in [*pairs, *(pair for branch in branches for pair in _pairs(branch))]:
        old = getattr(parent, norm)
        # timm's norms have their activation in them; it follows the mean of the branches.
        after = nn.Sequential(old.drop, old.act) if hasattr(old, "act") else nn.Identity()
        setattr(parent, conv, TwoBranches(getattr(parent, conv), old))
        setattr(parent, norm, after)


def merge_branches(network: nn.Module) -> None:
    """Undo `add_branches`: the same modules with the same names, and in evaluation the same output."""
    for parent in list(network.modules()):
        for (conv, first), (norm, _) in pairwise(list(parent.named_children())):
            if isinstance(first, TwoBranches):
                merged, merged_norm = first.merged()
                setattr(parent, conv, merged)
                setattr(parent, norm, merged_norm)


def _pairs(module: nn.Module) -> Iterator[ConvNorm]:
    for parent in module.modules():
        for (conv, first), (norm, second) in pairwise(list(parent.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, _BatchNorm):
                yield ConvNorm(parent, conv, norm)

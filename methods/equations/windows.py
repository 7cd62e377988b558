"""Norms of the means of all windows of a map: squares of several sizes, and neighbouring channels.

Both find the gradient together with the value, while the sums are at hand. Autograd would keep the windows of every
size (six times the features, by default), and fill and add a full map for every slice.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from issbench.methods.equations.common import full_precision


def window_distance(maps: Tensor, sizes: Sequence[int]) -> Tensor:
    """The L2 norm of all means over size×size windows at stride 1, averaged over the batch and the sizes.

    The map is padded with size // 2 zeros on every side, which count in the means; an even size gives one
    more window than there are rows (and columns), an odd size as many.

    Args:
        maps: `[B, D, H, W]`, float32 or float64.
        sizes: each ≥ 1; may exceed the map.

    Returns: scalar, ≥ 0; a sample whose norm is 0 has gradient 0.
    """
    return _WindowDistance.apply(maps, tuple(sizes))


class _WindowDistance(torch.autograd.Function):
    """The sums over all windows of a row are S·x, with S of zeros and ones, so ‖S_h·X·S_wᵀ‖² = ⟨X, A_h·X·A_w⟩ with
    A = SᵀS: two small matrix products instead of all windows, and half the gradient of the square at once."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, sizes: tuple[int, ...]) -> Tensor:
        batch, _, height, width = maps.shape
        # Channels last, as networks are trained: both products then run along them.
        rows = maps.permute(0, 2, 3, 1).contiguous()
        gradient = torch.zeros_like(rows)
        total = maps.new_zeros(())
        with full_precision(maps.device.type):
            for size in sizes:
                over = _overlaps(height, size, maps) @ rows.view(batch, height, -1)
                over = _overlaps(width, size, maps) @ over.view(rows.shape)
                norms = torch.linalg.vecdot(rows.flatten(1), over.flatten(1)).clamp(min=0).sqrt()
                scale = 1 / (size * size * len(sizes) * batch)
                total += scale * norms.sum()
                share = scale / norms.masked_fill(norms == 0, torch.inf)
                gradient.addcmul_(over, share.view(-1, 1, 1, 1))
        ctx.save_for_backward(gradient.permute(0, 3, 1, 2))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output * gradient, None


def _overlaps(length: int, size: int, like: Tensor) -> Tensor:
    """`[length, length]`: in how many windows along an axis two places lie together, SᵀS."""
    first = torch.arange(length + 1 - size % 2, device=like.device)[:, None] - size // 2
    place = torch.arange(length, device=like.device)
    inside = ((place >= first) & (place < first + size)).to(like.dtype)
    return inside.T @ inside


def channel_distance(maps: Tensor, size: int) -> Tensor:
    """The L2 norm of all means over `size` neighbouring channels, averaged over the batch.

    The channels are padded with size // 2 zeros at both ends, which count in the means.

    Args:
        maps: `[B, D, H, W]`, float32 or float64.
        size: ≥ 1; small, because the cost is proportional to it.

    Returns: scalar, ≥ 0; a sample whose norm is 0 has gradient 0.
    """
    return _ChannelDistance.apply(maps, size)


class _ChannelDistance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, size: int) -> Tensor:
        padding = size // 2
        sums = _sums_of_neighbours(maps, size, padding)
        norms = torch.linalg.vector_norm(sums, dim=(1, 2, 3), keepdim=True)
        scale = 1 / (size * len(maps))
        sums *= scale / norms.masked_fill(norms == 0, torch.inf)
        # A channel lies in `size` windows, so their gradients add up as the channels did.
        ctx.save_for_backward(_sums_of_neighbours(sums, size, size - 1 - padding))
        return scale * norms.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output * gradient, None


def _sums_of_neighbours(maps: Tensor, size: int, padding: int) -> Tensor:
    """Sums over `size` neighbouring channels, with `padding` zeros before the first and after the last channel.
    Shifted sums are several times faster than pooling over so few channels."""
    padded = F.pad(maps, (0, 0, 0, 0, padding, padding))
    count = padded.shape[1] - size + 1
    channels_last = maps.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    sums = padded[:, :count].clone(memory_format=layout)
    for shift in range(1, size):
        sums += padded[:, shift : shift + count]
    return sums

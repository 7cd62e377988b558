"""Norms of a map's window means, for all windows of several sizes, at a cost that sizes do not change."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


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
    """Finds the gradient together with the value, while the window sums are at hand.

    Autograd would keep the windows of every size (six times the features, by default), and fill and add a
    full map for every slice.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, sizes: tuple[int, ...]) -> Tensor:
        height, width = maps.shape[-2:]
        margin = max(sizes) // 2
        # With the largest padding around the map no window has to be cut off. One more row and column in
        # front are the zeros that the first windows subtract.
        integral = F.pad(maps, (margin + 1, margin, margin + 1, margin)).cumsum_(-1).cumsum_(-2)
        corners = torch.zeros_like(integral) if ctx.needs_input_grad[0] else None
        total = maps.new_zeros(())
        for size in sizes:
            above, below = _ends(size, height, margin)
            left, right = _ends(size, width, margin)
            strips = integral[..., below, :] - integral[..., above, :]
            sums = strips[..., right] - strips[..., left]
            norms = torch.linalg.vector_norm(sums, dim=(1, 2, 3), keepdim=True)
            scale = 1 / (size * size * len(sizes) * len(maps))
            total += scale * norms.sum()
            if corners is not None:
                # Each pixel of a window shares the window's gradient. Written to the corners only, the
                # prefix sums below spread it over all windows of all sizes at once.
                sums *= scale / norms.masked_fill(norms == 0, torch.inf)
                corners[..., above, left] += sums
                corners[..., below, right] += sums
                corners[..., above, right] -= sums
                corners[..., below, left] -= sums
        if corners is not None:
            needed = corners[..., : margin + height, : margin + width]
            gradient = needed.cumsum(-1)[..., margin:].cumsum(-2)[..., margin:, :]
            ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad_output * gradient, None


def _ends(size: int, length: int, margin: int) -> tuple[slice, slice]:
    """Along one axis of the integral image: what all windows subtract, and what they add."""
    first, count = margin - size // 2, length + 1 - size % 2
    return slice(first, first + count), slice(first + size, first + size + count)

"""Statistics over the whole data set of a step, from passes over its batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from issbench.methods.shared.collectives import total

_BITS = 16
_BINS = 1 << _BITS

Passes = Callable[[], Iterator[tuple[Tensor, Tensor]]]
"""Each call is one pass over the same (values ≥ 0, classes int64) of one shape; other classes are left out."""


def streaming_medians(passes: Passes, num_classes: int, device: torch.device) -> Tensor:
    """`functional.class_medians` of values that do not fit in memory: exact, float32 [num_classes].

    The bit patterns of non-negative floats are ordered as the floats are. A first pass counts their upper
    16 bits per class, which tells the bin of the median; a second counts the lower 16 bits inside that bin.
    An even count has two middle values, which may lie in two bins: the second pass searches both. Several processes
    count what each of them sees.
    """
    upper = torch.zeros(num_classes, _BINS, dtype=torch.long, device=device)
    for values, classes in passes():
        _count(upper, classes, _bits(values) >> _BITS)
    upper = total(upper)
    counts = upper.sum(dim=1)
    last = (counts - 1).clamp(min=0)
    ranks = torch.stack([last // 2, torch.minimum(counts // 2, last)])  # the two middle places, from 0
    bins, below = _find(upper.expand(2, -1, -1), ranks)
    lower = torch.zeros(2, num_classes, _BINS, dtype=torch.long, device=device)
    for values, classes in passes():
        bits = _bits(values)
        wanted = bins[:, classes.clamp(max=num_classes - 1)]
        for half, want in zip(lower, wanted, strict=True):
            _count(half, torch.where(bits >> _BITS == want, classes, num_classes), bits & (_BINS - 1))
    low, _ = _find(total(lower), ranks - below)
    middle = ((bins << _BITS) | low).to(torch.int32).view(torch.float32).double()
    return torch.where(counts > 0, middle.mean(dim=0), 0.0).float()


def _bits(values: Tensor) -> Tensor:
    """Bit patterns of floats ≥ 0, as int64; adding 0 turns −0 into 0."""
    return (values.float().contiguous() + 0.0).view(torch.int32).long()


def _count(counts: Tensor, classes: Tensor, bins: Tensor) -> None:
    """Add to `counts` [C, bins] one for each entry; a class ≥ C is left out."""
    num_classes = len(counts)
    index = torch.where(classes < num_classes, classes * _BINS + bins, num_classes * _BINS)
    counts += torch.bincount(index.flatten(), minlength=num_classes * _BINS + 1)[:-1].view_as(counts)


def _find(counts: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor]:
    """The bin that holds the entry of each rank, and how many entries lie in the bins below it."""
    cumulative = counts.cumsum(dim=-1)
    bins = torch.searchsorted(cumulative, ranks[..., None], right=True)[..., 0].clamp(max=_BINS - 1)
    below = torch.where(bins > 0, cumulative.gather(-1, (bins - 1).clamp(min=0)[..., None])[..., 0], 0)
    return bins, below

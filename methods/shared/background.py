"""What the old model sees in the background of a step's data: the statistics that pseudo-labels rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.equations.common import best_channel
from issbench.methods.method import IGNORE, Batch, Batches, Method, Step
from issbench.methods.shared.collectives import total
from issbench.methods.shared.medians import streaming_medians

_BINS = 100


class EntropyMedians(Method):
    """State of methods with pseudo-labels: `medians` [C_old] of the old model's entropy, by predicted class."""

    medians: Tensor

    def __init__(self, options: Any, step: Step):
        super().__init__(options, step)
        self.register_buffer("medians", torch.zeros(step.num_old))

    @property
    def needs_medians(self) -> bool:
        """Whether the options ask for pseudo-labels that rest on the medians."""
        return False

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        if self.needs_medians and not self.step.all_labelled:
            self.medians = entropy_medians(batches, self.step.num_old, self.medians.device)


def predicted_background(batch: Batch, num_old: int) -> Tensor:
    """The old model's class at background pixels, 255 elsewhere: int64 [B, H, W]."""
    return torch.where(batch.labels < num_old, best_channel(batch.teacher.logits), IGNORE)


def entropy_medians(batches: Batches, num_old: int, device: torch.device) -> Tensor:
    """Exact median of the old model's entropy over the background pixels that it predicts as each class."""

    def entropies() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches():
            yield fn.prediction_entropy(batch.teacher.logits), predicted_background(batch, num_old)

    return streaming_medians(entropies, num_old, device)


def released_thresholds(batches: Batches, step: Step, least: float, device: torch.device) -> Tensor:
    """The thresholds that PLOP's released code arrives at, in units of `functional.prediction_entropy` [C_old].

    That code measures the mean over the C_old classes of −p·log p, divided by log C_old and by log C, bins [0, 1]
    into 100, and looks for the bin of the median; but while it walks the bins it adds their indices, not their
    counts, so that it stops elsewhere. `least` is in its units, too; a class never predicted gets `least`.
    """
    old = step.num_old
    unit = old * log(step.num_classes)  # prediction_entropy / unit is what that code measures
    histogram = torch.zeros(old * _BINS + 1, dtype=torch.float64, device=device)
    for batch in batches():
        bins = (fn.prediction_entropy(batch.teacher.logits) / unit * _BINS).long().clamp(max=_BINS - 1)
        classes = predicted_background(batch, old)
        index = torch.where(classes < old, classes * _BINS + bins, old * _BINS).flatten()
        histogram += torch.bincount(index, minlength=old * _BINS + 1)
    counts = total(histogram[:-1]).view(old, _BINS)
    bins = torch.arange(_BINS, dtype=torch.float64, device=device)
    half, walked = counts.sum(dim=1, keepdim=True) / 2, bins * (bins - 1) / 2
    stops = (half >= walked) & (half <= walked + counts)
    found = stops.any(dim=1, keepdim=True)
    stop = torch.where(found, stops.double().argmax(dim=1, keepdim=True), _BINS - 1)
    passed = torch.where(found, walked[stop], _BINS * (_BINS - 1) / 2)  # all indices, the last bin's too
    # Where the walk ends in an empty bin this divides by 0 as that code does: the threshold is infinite, or NaN,
    # which accepts nothing.
    share = (half - passed) / counts.gather(1, stop)
    thresholds = ((stop + share) / _BINS)[:, 0].clamp(min=least)
    return (torch.where(half[:, 0] > 0, thresholds, least) * unit).float()


def old_prototypes(batches: Batches, step: Step, like: Tensor) -> Tensor:
    """GSC eq. 11 over the step's data: mean feature of the background pixels that the old model predicts as each
    class [C_old, D], at the resolution of the features (labels are read at the centre of each cell)."""
    sums = torch.zeros_like(like, dtype=torch.float64)
    counts = torch.zeros(step.num_old, 1, dtype=torch.float64, device=like.device)
    for batch in batches():
        features, low = batch.teacher.features, batch.teacher.low_logits
        labels = nearest_labels(batch.labels, features)
        classes = torch.where(labels < step.num_old, low.argmax(dim=1), IGNORE)
        count = torch.bincount(classes.flatten(), minlength=IGNORE + 1)[: step.num_old, None]
        sums += count * fn.class_prototypes(features.double(), classes, step.num_old)
        counts += count
    return (total(sums) / total(counts).clamp(min=1)).float()


def nearest_labels(labels: Tensor, maps: Tensor) -> Tensor:
    """The label at the centre of each cell of a feature map [B, D, h, w]: int64 [B, h, w]."""
    return nnf.interpolate(labels[:, None].float(), maps.shape[2:], mode="nearest-exact")[:, 0].long()

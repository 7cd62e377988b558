"""Features that stand for images that are gone: what is kept of a class's features, and drawing from it."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from issbench.methods.equations.common import full_precision
from issbench.methods.method import Batches
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.collectives import total


def feature_statistics(batches: Batches, like: Tensor) -> dict[str, Tensor]:
    """Of the student's features [D] at the cells that are labelled as each class, float32: `prototypes` [C, D], the
    mean direction; `spread` [C, D], the deviation of directions from it; `lengths` [C, 2], mean and deviation; and
    `cells` [C], how many there are. `like` has the form of the prototypes."""
    classes, channels = like.shape
    numbers = torch.arange(classes, device=like.device).view(-1, 1, 1)
    sums = like.new_zeros(classes, 2 * channels + 2, dtype=torch.float64)
    counts = torch.zeros_like(sums[:, :1])
    for batch in batches():
        features = batch.student.features.double()
        shown = nearest_labels(batch.labels, features)[:, None] == numbers
        lengths, units = features.norm(dim=1, keepdim=True), nnf.normalize(features)
        parts = torch.cat([units, units.square(), lengths, lengths.square()], dim=1)
        sums += torch.einsum("bchw,bdhw->cd", shown.double(), parts)
        counts += shown.sum(dim=(0, 2, 3))[:, None]
    counts = total(counts)
    means = total(sums) / counts.clamp(min=1)
    units, squares, lengths, further = means.split([channels, channels, 1, 1], dim=1)
    prototypes = nnf.normalize(units)
    spread = (squares - 2 * prototypes * units + prototypes.square()).clamp(min=0).sqrt()
    varied = (further - lengths.square()).clamp(min=0) * counts / (counts - 1).clamp(min=1)
    found = {"prototypes": prototypes, "spread": spread, "cells": counts[:, 0]}
    found["lengths"] = torch.cat([lengths, varied.sqrt()], dim=1)
    return {name: values.float() for name, values in found.items()}


def background_cells(batches: Batches, like: Tensor) -> tuple[Tensor, Tensor]:
    """As what class the teacher sees how many cells without a label [C_old], and how many cells there are."""
    seen, everywhere = torch.zeros_like(like), like.new_zeros(())
    for batch in batches():
        hidden = nearest_labels(batch.labels, batch.teacher.low_logits) == 0
        seen += torch.bincount(batch.teacher.low_logits.argmax(dim=1)[hidden], minlength=len(like))
        everywhere += hidden.numel()
    return total(seen), total(everywhere)


def prototype_distances(features: Tensor, labels: Tensor, classes: range, prototypes: Tensor) -> Tensor:
    """The distance of the mean direction of the features [B, D, h, w] of each class in the batch from the nearest
    prototype [C, D]: [len(classes)]. A class that is absent is nowhere, at a distance of 1."""
    numbers = torch.arange(classes.start, classes.stop, device=labels.device).view(-1, 1, 1)
    shown = shrunk((labels[:, None] == numbers).float(), features)
    with full_precision(features.device.type):
        sums = total(torch.einsum("bchw,bdhw->cd", shown, nnf.normalize(features)))
    return (nnf.normalize(sums)[:, None] - prototypes).norm(dim=2).amin(dim=1)


def drawn_features(count: int, shares: Tensor, prototypes: Tensor, spread: Tensor, lengths: Tensor) -> Tensor:
    """`count` features [count, D] around prototypes, of each class as its share [C] of all says, which may be 0 for
    all. Every process draws the same."""
    ends = shares.cumsum(dim=0)
    places = (torch.arange(count, device=ends.device) + 0.5) / count * ends[-1]
    which = torch.searchsorted(ends, places).clamp(max=len(ends) - 1)
    mean, deviation = lengths[which].split(1, dim=1)
    directions = prototypes[which] + spread[which] * torch.randn_like(prototypes[which])
    return directions * (mean + deviation * torch.randn_like(mean))


def shrunk(maps: Tensor, features: Tensor) -> Tensor:
    """Maps [B, K, H, W] at the resolution of features [B, D, h, w], interpolated."""
    return nnf.interpolate(maps, features.shape[2:], mode="bilinear", align_corners=False)

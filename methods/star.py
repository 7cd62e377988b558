"""STAR: Chen et al., Saving 100x Storage: Prototype Replay for Reconstructing Training Sample Distribution in
Class-Incremental Semantic Segmentation, NeurIPS 2023."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.equations.common import best_channel
from issbench.methods.interface.numbers import Positive, Weight
from issbench.methods.method import Batch, Batches, Step
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.carried import take_over
from issbench.methods.shared.frozen import FrozenNorms
from issbench.methods.shared.heads import SigmoidClassifier
from issbench.methods.shared.replayed_features import (
    background_cells,
    drawn_features,
    feature_statistics,
    prototype_distances,
    shrunk,
)
from issbench.methods.shared.sigmoids import mean_over

_DRAWN = 1024  # features that stand for those of old classes in an iteration


@dataclass(frozen=True, kw_only=True)
class STAROptions:
    """`yes`: weight of the pixels of a class; `features`: of the distillation of features, `contrast`: of the
    distance of new classes from old prototypes. Factors on the learning rate: `rate` in later
    steps, and `backbone_rate` of the backbone."""

    yes: Positive = 4.0
    features: Weight = 5.0
    contrast: Weight = 0.05
    backbone_rate: Positive = 0.1
    rate: Positive = 1.0


class STAR(FrozenNorms):
    """STAR: features drawn around a prototype of each old class stand for the images that are gone."""

    name = "star"
    title = "STAR"
    table_order = 190
    colour, marker, dashes = "#0072B2", ".", "--"
    cite = "chen2023saving"
    Options = STAROptions
    published = {"ade": {"yes": 30.0}, "shapes": {"backbone_rate": 1.0, "rate": 0.1}}
    Head = SigmoidClassifier
    own_first_step = True
    first_step_options = ("yes", "backbone_rate")
    not_composable_because = "its head asks of each class whether it is there, where parts need probabilities"
    prototypes: Tensor
    spread: Tensor
    lengths: Tensor
    cells: Tensor
    missing: Tensor
    more_background: Tensor

    def __init__(self, options: Any, step: Step):
        super().__init__(options, step)
        classes, channels = step.num_classes, step.feature_channels
        # As `feature_statistics` has them; of the background the cells alone matter.
        self.register_buffer("prototypes", torch.zeros(classes, channels))
        self.register_buffer("spread", torch.zeros(classes, channels))
        self.register_buffer("lengths", torch.zeros(classes, 2))
        self.register_buffer("cells", torch.zeros(classes))
        # What the step's images lack of old classes, and of the background, relative to what they have.
        self.register_buffer("missing", torch.zeros(step.num_old))
        self.register_buffer("more_background", torch.zeros(()))
        self._new: list[Any] = []

    def prepare(self, network: Any) -> None:
        super().prepare(network)
        if self.step.index:
            self._new = [network.classifier.groups[-1]]

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        """What the step's images show of old classes need not be replayed."""
        super().begin(network, batches, previous)
        take_over(self, previous, "prototypes", "spread", "lengths", "cells")
        if self.step.index == 0:
            return
        seen, everywhere = background_cells(batches, self.cells[: self.step.num_old])
        background = self.cells[0] * (1 - 0.01 * self.step.num_new)
        self.missing[1:] = (self.cells[1 : self.step.num_old] - seen[1:]).clamp(min=0) / everywhere
        self.more_background = (background / seen[0].clamp(min=1) - 0.5).clamp(min=0)
        self.cells[0] = seen[0] / 2 + background

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The classification has, besides the pixels, what they lack: background, and features of old classes."""
        terms = super().loss(batch)
        if self.step.index:
            low, old = batch.student.low_logits.float(), batch.teacher.low_logits
            nothing = (nearest_labels(batch.labels, low) == 0) & (old.argmax(dim=1) == 0)
            costs = nnf.softplus(low[:, self.step.num_old :]).sum(dim=1)
            more = self.more_background * (costs * nothing).mean()
            drawn, weight = self.missing.sum(), 1 + self.more_background / mean_over(nothing) + self.missing.sum()
            terms["classification"] = (terms["classification"] + more + drawn * self._replayed()) / weight
        return terms

    def pixel_loss(self, batch: Batch, targets: Tensor) -> Tensor:
        """Of the classes that are labelled; what is not labelled as one of them is none."""
        first = self.step.num_hidden
        return fn.sigmoid_membership(batch.student.logits[:, first:], targets, first, self.options.yes)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms, options = super().terms(batch, targets), self.options
        if self.step.index == 0:
            return terms
        features, old = batch.student.features.float(), batch.teacher.features.float()
        hidden = ((batch.labels == 0) & (best_channel(batch.teacher.logits) > 0)).float()
        where = shrunk(hidden[:, None], features)[:, 0]
        distance = ((features - old).square().mean(dim=1) * where).mean() * mean_over(where)
        terms["features"] = options.features * distance
        new = range(self.step.num_old, self.step.num_classes)
        distances = prototype_distances(features, batch.labels, new, self.prototypes[1 : self.step.num_old])
        terms["contrast"] = options.contrast * (1 / distances.clamp(min=1e-3)).mean()
        return terms

    def _replayed(self) -> Tensor:
        """What features drawn around the old prototypes cost: they are none of the new classes."""
        kept = (each[: self.step.num_old] for each in (self.prototypes, self.spread, self.lengths))
        features = drawn_features(_DRAWN, self.missing, *kept)
        (new,) = self._new
        return nnf.softplus(new(features[:, :, None, None]).float()).sum(dim=1).mean()

    @torch.no_grad()
    def end(self, network: nn.Module, batches: Batches) -> None:
        """Of the step's classes; after the first step of the background, too."""
        super().end(network, batches)
        for name, values in feature_statistics(batches, self.prototypes).items():
            getattr(self, name)[self.step.num_old :] = values[self.step.num_old :]

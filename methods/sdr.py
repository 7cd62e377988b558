"""SDR: Michieli and Zanuttigh, Continual Semantic Segmentation via Repulsion-Attraction of Sparse and Disentangled
Latent Representations, CVPR 2021."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from issbench.methods.interface.numbers import Weight
from issbench.methods.method import IGNORE, Batch, Batches, Step
from issbench.methods.mib import MiB, MiBOptions
from issbench.methods.shared import collectives
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.carried import take_over
from issbench.methods.shared.class_means import class_means


@dataclass(frozen=True, kw_only=True)
class SDROptions(MiBOptions):
    """Weights of the distillation and of the four terms on the encoder's features."""

    distillation: Weight = 100.0
    matching: Weight = 0.01
    attraction: Weight = 0.001
    repulsion: Weight = 0.001
    sparsity: Weight = 0.001


class SDR(MiB):
    """SDR: MiB, with an encoder whose features stay near their class's prototype, far from others', and sparse."""

    name = "sdr"
    title = "SDR"
    table_order = 100
    colour, marker, dashes = "#CC79A7", "D", "-"
    cite = "michieli2021continual"
    Options = SDROptions
    new_classifier = "default"
    prototypes: Tensor
    counts: Tensor

    def __init__(self, options: SDROptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("prototypes", torch.zeros(step.num_classes, step.encoder_channels))
        self.register_buffer("counts", torch.zeros(step.num_classes))

    @torch.no_grad()
    def after_first_step(self, network: nn.Module, batches: Batches) -> None:
        """The prototypes of its classes, from one pass over its data."""
        super().after_first_step(network, batches)
        for batch in batches():
            features = batch.student.encoder
            classes = nearest_labels(batch.labels, features)
            self._remember(*class_means(features.float(), classes, self.step.num_classes))

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        super().begin(network, batches, previous)
        take_over(self, previous, "prototypes", "counts")

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        terms, options = super().terms(batch, targets), self.options
        features, classes = batch.student.encoder.float(), self._classes(batch)
        means, counts = class_means(features, classes, self.step.num_classes)
        self._remember(means.detach(), counts)
        seen = self._named(counts > 0)
        distances = (means - self.prototypes).square().mean(dim=1)
        terms["matching"] = options.matching * mean_of(distances, seen & self._is_old())
        terms["attraction"] = options.attraction * mean_of(spread(features, classes, self.prototypes), seen)
        terms["repulsion"] = options.repulsion * mean_inverse_distance(means, seen)
        terms["sparsity"] = options.sparsity * sparsity(features, classes, self.step.num_classes)
        return terms

    def _classes(self, batch: Batch) -> Tensor:
        """The class of each feature, int64 [B, h, w]: its label, and in the background what the old model sees."""
        labels = nearest_labels(batch.labels, batch.student.encoder)
        if self.step.all_labelled:
            return labels
        return torch.where(labels < self.step.num_old, batch.teacher.low_logits.argmax(dim=1), labels)

    def _remember(self, means: Tensor, counts: Tensor) -> None:
        """Cumulative means."""
        total = self.counts + counts
        share = (counts / total.clamp(min=1))[:, None]
        self.prototypes = self.prototypes + share * (means - self.prototypes)
        self.counts = total

    def _named(self, seen: Tensor) -> Tensor:
        """Without the background, which changes its meaning from step to step and has no prototype."""
        if self.step.domain:
            return seen
        return seen & (torch.arange(len(seen), device=seen.device) > 0)

    def _is_old(self) -> Tensor:
        return torch.arange(self.step.num_classes, device=self.counts.device) < self.step.num_old


def mean_of(values: Tensor, where: Tensor) -> Tensor:
    """Mean of the entries of `values` for which `where` holds; 0 if there are none."""
    return (values * where).sum() / where.sum().clamp(min=1)


def spread(features: Tensor, classes: Tensor, prototypes: Tensor) -> Tensor:
    """For each class, the mean squared distance [C] (mean over channels) of its features [B, D, h, w] to its
    prototype (attraction); 0 for an absent class."""
    num_classes = len(prototypes)
    own = prototypes[classes.clamp(max=num_classes - 1)].movedim(-1, 1)
    squares = (features - own).square().mean(dim=1, keepdim=True)
    return class_means(squares, classes, num_classes)[0][:, 0]


def mean_inverse_distance(means: Tensor, seen: Tensor) -> Tensor:
    """Mean of 1/‖m_i − m_j‖ over the pairs of different classes that are seen (repulsion); 0 without a pair."""
    distances = torch.cdist(means, means, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = (seen[:, None] & seen[None, :]) & (distances > 0)
    return mean_of(torch.where(pairs, distances, 1).reciprocal(), pairs)


def sparsity(features: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """Mean over the pixels of Σ exp(f) / Σ f, for features ≥ 0 divided by the maximum of their class; a pixel
    whose features are all 0 counts 0. Negative features, of encoders without a last activation, count as 0."""
    features = features.clamp(min=0)
    index = torch.where(classes == IGNORE, num_classes, classes).flatten()
    peaks = features.amax(dim=1).flatten()
    highest = torch.zeros(num_classes + 1, device=peaks.device).scatter_reduce(0, index, peaks, "amax")
    scaled = features / collectives.maximum(highest)[index].view(classes.shape)[:, None].clamp(min=1e-12)
    total = scaled.sum(dim=1)
    ratio = scaled.exp().sum(dim=1) / torch.where(total > 0, total, 1)
    return (ratio * (total > 0)).mean()

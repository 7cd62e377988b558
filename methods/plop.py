"""PLOP: Douillard et al., PLOP: Learning without Forgetting for Continual Semantic Segmentation, CVPR 2021."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

from methods import functional as fn
from methods.method import IGNORE, Batch, Batches, Method, Step
from methods.statistics import streaming_medians


@dataclass(frozen=True, kw_only=True)
class PLOPOptions:
    """`pod`, `pod_logits`: weights of the distillation of the feature maps and of the logits; `least_threshold`:
    lower bound of the entropy thresholds."""

    pod: float = 0.01
    pod_logits: float = 0.0005
    least_threshold: float = 0.001


class PLOP(Method):
    """PLOP: pseudo-labels where the old model is confident, and multi-scale local distillation of features."""

    name = "plop"
    title = "PLOP"
    Options = PLOPOptions
    published = {
        "ade": {"pod": 0.001, "pod_logits": 0.00005},
        "cityscapes": {"pod": 0.0001, "pod_logits": 0.001},
    }
    uses_stages = True
    new_classifier = "background"

    def __init__(self, options: PLOPOptions, step: Step):
        super().__init__(options, step)
        self.register_buffer("medians", torch.zeros(step.num_old))

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        if not self.step.domain:
            self.medians = entropy_medians(batches, self.step.num_old, self.medians.device)

    def targets(self, batch: Batch) -> Tensor:
        if self.step.domain:  # all labels are given: nothing hides in the background
            return batch.labels
        return fn.entropy_pseudo_labels(batch.labels, batch.teacher.logits, self._thresholds(), self.step.num_old)

    def pixel_weights(self, batch: Batch, targets: Tensor) -> Tensor | None:
        if self.step.domain:
            return None
        factor = fn.adaptive_factor(batch.labels, batch.teacher.logits, self._thresholds(), self.step.num_old)
        return factor[:, None, None]

    def _thresholds(self) -> Tensor:
        return self.medians.clamp(min=self.options.least_threshold)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        return {"pod": local_distillation(batch, self.step, self.options.pod, self.options.pod_logits)}


def local_distillation(batch: Batch, step: Step, weight: float, weight_logits: float) -> Tensor:
    """Local POD over the four stages, the ASPP output and the logits: weighted, mean over the six maps, times
    sqrt(classes / new classes), which is 1 where a step adds none."""
    student, teacher = batch.student, batch.teacher
    maps = zip((*student.stages, student.features), (*teacher.stages, teacher.features), strict=True)
    distances = [weight * fn.local_pod(new.float(), old.float()).mean() for new, old in maps]
    folded = fn.fold_new_into_background(student.low_logits.float(), step.num_old)
    distances.append(weight_logits * fn.local_pod(folded, teacher.low_logits.float()).mean())
    scale = sqrt(step.num_classes / step.num_new) if step.num_new else 1.0
    return scale * torch.stack(distances).mean()


def entropy_medians(batches: Batches, num_old: int, device: torch.device) -> Tensor:
    """Exact median of the old model's entropy over the background pixels that it predicts as each class."""

    def entropies() -> Iterator[tuple[Tensor, Tensor]]:
        for batch in batches():
            yield fn.prediction_entropy(batch.teacher.logits), predicted_background(batch, num_old)

    return streaming_medians(entropies, num_old, device)


def predicted_background(batch: Batch, num_old: int) -> Tensor:
    """The old model's class at background pixels, 255 elsewhere: int64 [B, H, W]."""
    return torch.where(batch.labels < num_old, batch.teacher.logits.argmax(dim=1), IGNORE)

"""The six maps of which PLOP and RCIL distil the features, and how their terms grow with the classes."""

from __future__ import annotations

from math import sqrt

from torch import Tensor

from issbench.methods import functional as fn
from issbench.methods.method import Batch, Step


def distilled_maps(batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """(student, teacher), float32: the four stages before their last activation, the ASPP output, and the
    low-resolution logits, where the student's new classes are folded into the background."""
    student, teacher = batch.student, batch.teacher
    old = teacher.low_logits.float()
    folded = fn.fold_new_into_background(student.low_logits.float(), old.shape[1])
    pairs = zip((*student.stages, student.features), (*teacher.stages, teacher.features), strict=True)
    return [*((new.float(), known.float()) for new, known in pairs), (folded, old)]


def growth(step: Step) -> float:
    """sqrt(classes so far, background included / new classes); 1 where a step adds none."""
    return sqrt(step.num_classes / step.num_new) if step.num_new else 1.0

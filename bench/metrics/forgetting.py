"""Forgetting: what each class has lost since it was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from issbench.bench.metrics.metric import Context, Metric


class Forgetting(Metric):
    """IoU of each class when it was first learned minus after the last step, in points; None for a class without an
    IoU at either end, such as one without a labelled pixel in the test images."""

    name = "forgetting"

    def summary(self, steps: Sequence[Mapping[str, Any]], context: Context) -> dict[str, Any]:
        ious: list[list[float | None]] = [step["iou"] for step in steps]
        lost: list[float | None] = []
        for channel, after in enumerate(ious[-1]):
            before = next(iou[channel] for iou in ious if channel < len(iou))  # the first step that knows the class
            lost.append(None if before is None or after is None else before - after)
        return {"forgetting": lost}

"""Mean over the steps of the mIoU of all classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from issbench.bench.metrics.metric import Context, Metric


class MeanOverSteps(Metric):
    """In %; None where the method skips a step (joint training), or a step has no mIoU."""

    name = "mean-over-steps"

    def summary(self, steps: Sequence[Mapping[str, Any]], context: Context) -> dict[str, Any]:
        known = [value for value in (step["miou"]["all"] for step in steps) if value is not None]
        every = len(known) == context.num_steps
        return {"mean_over_steps": sum(known) / len(known) if every else None}

"""Harmonic mean of the mIoU of base and of new classes (hIoU): high only where both are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from issbench.bench.metrics.confusion import Confusion
from issbench.bench.metrics.iou import iou_values
from issbench.bench.metrics.metric import Context


class HarmonicMean(Confusion):
    """2·base·new / (base + new) in %; None as long as there is no new class, or where a group has no mIoU."""

    name = "hiou"

    def values(self, counts: Mapping[str, Sequence[int]], context: Context) -> dict[str, Any]:
        means = iou_values(counts, context)["miou"]
        base, new = means.get("base"), means.get("new")
        if base is None or new is None:
            return {"hiou": None}
        return {"hiou": 2 * base * new / (base + new) if base and new else 0.0}

"""Share of pixels that are classified rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from issbench.bench.metrics.confusion import Confusion
from issbench.bench.metrics.metric import Context


class PixelAccuracy(Confusion):
    """Rightly classified pixels in % of all labelled ones; None where none is labelled."""

    name = "pixel-accuracy"

    def values(self, counts: Mapping[str, Sequence[int]], context: Context) -> dict[str, Any]:
        labelled = sum(counts["tp"]) + sum(counts["fn"])
        return {"pixel_accuracy": 100 * sum(counts["tp"]) / labelled if labelled else None}

"""The metrics: one file each, and those that other packages declare under the entry-point group `issbench.metrics`.

A metric counts something in each test image, merges the counts, and turns them into values (`metric.py`). Needs no
torch, but for counting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from issbench.bench.metrics.metric import Context, Metric
from issbench.errors import UsageError, did_you_mean
from issbench.plugins import load_class, registered

__all__ = ["Context", "Metric", "available", "counters", "merge", "metrics_for", "run_values", "step_values"]

GROUP = "issbench.metrics"
_HOME = "issbench.bench.metrics"
_BUILT_IN = {
    "iou": f"{_HOME}.iou:IoU",
    "pixel-accuracy": f"{_HOME}.pixel_accuracy:PixelAccuracy",
    "hiou": f"{_HOME}.hiou:HarmonicMean",
    "mean-over-steps": f"{_HOME}.mean_over_steps:MeanOverSteps",
    "forgetting": f"{_HOME}.forgetting:Forgetting",
    "boundary-iou": f"{_HOME}.boundary_iou:BoundaryIoU",
}


def available() -> dict[str, type[Metric]]:
    """The classes of all metrics by name."""
    known = registered(GROUP, _BUILT_IN)
    return {name: load_class("metric", name, value, Metric) for name, value in known.items()}


def metrics_for(names: Iterable[str]) -> list[Metric]:
    """The usual metrics, and those of the given names. UsageError for an unknown name, and where two metrics count
    different things under one name."""
    known, wanted = available(), set(names)
    for name in sorted(wanted - known.keys()):
        raise UsageError(f"unknown metric {name!r}; {did_you_mean(name, known)}")
    chosen = [kind() for name, kind in known.items() if name in wanted or not kind.opt_in]
    owners = counters(chosen)
    for metric in chosen:
        if metric.counts and type(metric).count is not owners[metric.counts].count:
            raise UsageError(
                f"metric {metric.name} counts otherwise under the name {metric.counts!r} than "
                f"{owners[metric.counts].__module__}; give its counts another name"
            )
    return chosen


def counters(metrics: Iterable[Metric]) -> dict[str, type[Metric]]:
    """For each kind of counts that the metrics are made of, the class whose `count` gives them."""
    found: dict[str, type[Metric]] = {}
    for metric in metrics:
        if metric.counts:
            owner = next(base for base in type(metric).__mro__ if "count" in vars(base))
            found.setdefault(metric.counts, owner)
    return found


def merge(metrics: Iterable[Metric], images: Mapping[str, np.ndarray]) -> dict[str, dict[str, list[int]]]:
    """The counts of all images together, by kind, from those of single images."""
    return {metric.counts: metric.merge(images[metric.counts]) for metric in metrics if metric.counts}


def step_values(
    metrics: Iterable[Metric], counts: Mapping[str, Mapping[str, Sequence[int]]], context: Context
) -> dict[str, Any]:
    """What the metrics give after a step, from merged counts by kind."""
    found: dict[str, Any] = {}
    for metric in metrics:
        if metric.counts:
            found |= metric.values(counts[metric.counts], context)
    return found


def run_values(metrics: Iterable[Metric], steps: Sequence[Mapping[str, Any]], context: Context) -> dict[str, Any]:
    """What the metrics give of a complete run, from the records of the steps that the method trained."""
    values = [step["metrics"] for step in steps]
    found: dict[str, Any] = {}
    for metric in metrics:
        found |= metric.summary(values, context)
    return found

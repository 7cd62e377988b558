"""Groups of classes over which mIoU is printed, and the names of the channels, in learning order."""

from __future__ import annotations

from itertools import pairwise

from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.protocol import Protocol
from issbench.scenarios.scenario import Scenario

_MOST_PRINTED = 6
"""Steps of which published tables print one mIoU each (ADE20K 100-10); of more (100-5) one for all new classes."""


def class_groups(scenario: Scenario, dataset: Dataset, protocol: Protocol) -> dict[str, dict[str, tuple[int, int]]]:
    """Ranges (first, last) of channels for the groups `base`, `new`, `all`, and for the groups as printed.

    Returns {"named": {"base": …, "new": …, "all": …}, "printed": {"0-15": …, "16-20": …, "all": …}}. The
    background counts in the first group where it is a class (VOC), and in no group but `all` where it is
    "other" (ADE20K), there as the protocol says. A domain-incremental scenario has only `all`.
    """
    sizes = [len(step) for step in scenario.steps]
    last = sum(sizes)
    if scenario.setting == "domain":
        channels = len(dataset.classes) + (dataset.background is not None)
        everything = {"all": (0, channels - 1)}
        return {"named": everything, "printed": everything}
    first = 0 if dataset.background is not None and not dataset.background_is_other else 1
    start = 0 if dataset.background_is_other and protocol.other_in_mean else first
    named = {"base": (first, sizes[0]), "all": (start, last)}
    spans = [(first, sizes[0])]
    if len(sizes) > 1:
        named["new"] = (sizes[0] + 1, last)
        each = dataset.groups_per_step and len(sizes) <= _MOST_PRINTED
        spans += _step_spans(sizes) if each else [named["new"]]
    printed = {(f"{a}-{b}" if a < b else f"{a}"): (a, b) for a, b in spans}
    return {"named": named, "printed": printed | {"all": named["all"]}}


def channel_names(scenario: Scenario, dataset: Dataset) -> list[str]:
    """Names of the classifier's channels, in learning order."""
    background = [] if dataset.background is None else [dataset.background]
    if scenario.setting == "domain":
        return [*background, *dataset.classes]
    return [
        *(background or ["(not yet learned)"]),
        *(dataset.classes[label - 1] for label in scenario.learned),
    ]


def _step_spans(sizes: list[int]) -> list[tuple[int, int]]:
    ends = [sum(sizes[: t + 1]) for t in range(len(sizes))]
    return [(before + 1, end) for before, end in pairwise(ends)]

"""Reads a whole dataset and lists everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from issbench.scenarios.datasets.base import SPLITS, Dataset, Split
from issbench.scenarios.errors import DataError, ScenarioError
from issbench.scenarios.examine import Examined, examine
from issbench.scenarios.presence import Presence, Progress, place_of, some_of
from issbench.scenarios.reading import failed, read_all
from issbench.scenarios.soundness import absent_classes, label_fault, leak_fault, leaks, list_faults, remarks


class Findings(NamedTuple):
    """Lines about a dataset: what is wrong, and what may be meant but is worth a look."""

    defects: list[str]
    remarks: list[str]


def check_dataset(dataset: Dataset, on_progress: Progress | None = None) -> Findings:
    """All that is to be said of both splits. `on_progress` is called with (done, total) after each sample."""
    defects, ids = list_faults(dataset), {split: _ids(dataset, split) for split in SPLITS}
    samples = list(dict.fromkeys(sample for split in SPLITS for sample in ids[split]))
    found: dict[str, Examined] = {}

    def read(sample: str) -> Examined:
        one = examine(dataset, sample)
        return one if one.image_fault else one._replace(image_fault=_decode(dataset, sample))

    for sample, one in read_all(read, samples):
        found[sample] = one
        if on_progress:
            on_progress(len(found), len(samples))
    for sample in samples:
        faults = (found[sample].image_fault, found[sample].label_fault, *_check_domain(dataset, sample))
        defects += filter(None, faults)
    train, test = (_presence(dataset, split, ids[split], found) for split in SPLITS)
    defects += filter(None, [leak_fault(train, leaks(train, test))])
    if not any(one.label_fault for one in found.values()):
        defects += filter(None, [label_fault(dataset, train, test)])
    return Findings(
        defects, [*remarks(dataset, train, test), *_absent(dataset, train, test), *_turned(samples, found)]
    )


def _ids(dataset: Dataset, split: Split) -> tuple[str, ...]:
    """The ids of a split; none where they cannot be listed, which is among the faults of lists."""
    try:
        return dataset.ids(split)
    except DataError:
        return ()


def _decode(dataset: Dataset, sample: str) -> str:
    """The fault of an image that shows only when all its pixels are read."""
    try:
        dataset.image(sample)
    except (Exception, SystemExit) as error:
        return str(failed(f"the image of {sample}", error))
    return ""


def _presence(dataset: Dataset, split: Split, ids: tuple[str, ...], found: Mapping[str, Examined]) -> Presence:
    """As `presence` has it, of samples that were just read."""
    ones = [found[sample] for sample in ids]
    return Presence(
        ids=ids,
        table=np.array([one.classes for one in ones], bool).reshape(len(ids), len(dataset.classes) + 1),
        images=tuple(one.image for one in ones),
        labels=tuple(one.label for one in ones),
        place=place_of(dataset, split),
        ignored=np.array([one.ignored for one in ones], bool),
    )


def _absent(dataset: Dataset, train: Presence, test: Presence) -> list[str]:
    names = {split.place: absent_classes(dataset, split.table) for split in (train, test)}
    return [f"no image of {place} holds {lacking}" for place, lacking in names.items() if lacking]


def _turned(samples: list[str], found: Mapping[str, Examined]) -> list[str]:
    names = [sample for sample in samples if found[sample].turned]
    return [f"{len(names)} image(s) are turned as their EXIF data say: {some_of(names)}"] if names else []


def _check_domain(dataset: Dataset, sample: str) -> list[str]:
    """A sample that domain-incremental steps train on must be of a known domain."""
    if not dataset.domains or sample not in dataset.domain_ids():
        return []
    try:
        domain = dataset.domain(sample)
    except (DataError, ScenarioError) as error:
        return [f"{sample}: {error}"]
    if domain in dataset.domains:
        return []
    return [f"{sample} is of the unknown domain {domain!r}; {dataset.name} has {', '.join(dataset.domains)}"]

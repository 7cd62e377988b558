"""Reads a whole dataset and lists everything that is wrong with it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from issbench.scenarios.datasets.base import Dataset, Split
from issbench.scenarios.errors import DataError, ScenarioError
from issbench.scenarios.presence import Progress

_SPLITS: tuple[Split, ...] = ("train", "test")


def check_dataset(dataset: Dataset, on_progress: Progress | None = None) -> list[str]:
    """Every defect of both splits, one line each; an empty list means that all is well.

    `on_progress` is called with (done, total) after each sample.
    """
    defects, samples = _check_lists(dataset)
    with ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(partial(_check_sample, dataset), samples), 1):
            defects += found
            if on_progress:
                on_progress(done, len(samples))
    return defects


def _check_lists(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Defects of the lists, and all samples, each once."""
    defects: list[str] = []
    counts: dict[Split, Counter[str]] = {}
    for split in _SPLITS:
        try:
            counts[split] = Counter(dataset.ids(split))
        except DataError as error:
            defects.append(str(error))
            continue
        if not counts[split]:
            defects.append(f"the {split} split is empty")
        defects += [
            f"{sample} is listed {n} times in the {split} split" for sample, n in counts[split].items() if n > 1
        ]
    if len(counts) == len(_SPLITS):
        both = [sample for sample in counts["train"] if sample in counts["test"]]
        defects += [f"{sample} is in both the train and the test split; take it off one" for sample in both]
    return defects, list(dict.fromkeys(sample for count in counts.values() for sample in count))


def _check_sample(dataset: Dataset, sample: str) -> list[str]:
    """Defects of one sample: both files are read, so one broken file does not hide the other."""
    defects: list[str] = []
    sizes: list[tuple[int, int]] = []
    for read_size in (lambda: dataset.image(sample).size, lambda: dataset.label(sample).shape[::-1]):
        try:
            sizes.append(read_size())
        except DataError as error:
            defects.append(str(error))
    if len(set(sizes)) > 1:
        (width, height), (label_width, label_height) = sizes
        defects.append(
            f"{sample}: the image is {width}×{height} pixels, its label map {label_width}×{label_height}; "
            "they must have the same size"
        )
    return defects + _check_domain(dataset, sample)


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

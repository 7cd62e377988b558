"""Confusion counts of single test images, which runs leave beside their steps."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from issbench.files import DamagedFile, check_sha256, read_sealed
from issbench.results.counts import COUNTS, ClassGroup, unpack
from issbench.results.runs import RecordError, Run

CONFUSION = "confusion"
"""The name of this evaluation in records."""
_DAMAGED = (
    OSError, EOFError, ValueError, KeyError, IndexError, TypeError, NotImplementedError, OverflowError, MemoryError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and NumPy raise for files that are none of theirs."""
_AGAIN = "the same `bench run` makes it, and trains nothing again"


@dataclass(frozen=True)
class ImageCounts:
    """Counts of a run's last step: `counts` is int64 `[images, 3, classes]`, (tp, fp, fn) in pixels.

    Counts of equal `evaluation` are of the same test images in the same order, with the same labels.
    """

    evaluation: str
    counts: np.ndarray


def load_image_counts(run: Run) -> ImageCounts:
    """The counts of a run's last step. RecordError, with the remedy, where they are missing or do not fit."""
    if run.imported:
        raise RecordError(f"{run.name} was imported: counts of single images are unknown")
    evaluation = (run.last["evaluations"] or {}).get(CONFUSION)
    if evaluation is None:
        raise RecordError(f"{run.name} has no counts of single images: {_AGAIN}")
    path = run.store / evaluation["images"]
    try:
        _check(path, run.last["key"])
        with np.load(path) as stored:
            arrays = dict(stored)
        counts = unpack(arrays)
    except FileNotFoundError:
        raise RecordError(f"{path}, the counts of single images, is missing: {_AGAIN}") from None
    except (DamagedFile, *_DAMAGED) as error:
        raise RecordError(f"{path} cannot be read ({error}); remove it: {_AGAIN}") from None
    recorded: Mapping[str, object] = run.last["counts"] or {}
    if counts.sum(axis=0).tolist() != [recorded.get(name) for name in COUNTS]:
        raise RecordError(f"{path} does not add up to the counts in the record of {run.name}; remove it: {_AGAIN}")
    return ImageCounts(evaluation["name"], counts)


def _check(path: Path, key: str | None) -> None:
    """DamagedFile where counts are not those that the test left: their checksum stands in the file beside them."""
    facts = read_sealed(path.with_suffix(".json"), key)
    check_sha256(path, facts["counts_sha256"])


def group_of(run: Run, name: str) -> ClassGroup:
    """A group of a run, `base`, `new`, `all` or as printed (`0-15`). RecordError for one that it does not have."""
    spans = run.record["group_spans"]
    known = {**spans["named"], **spans["printed"]}
    if name not in known:
        raise RecordError(f"{run.name} has no group {name!r}; it has {', '.join(known)}")
    first, last = known[name]
    return ClassGroup(first, last, run.experiment["protocol"]["absent"] == "zero")

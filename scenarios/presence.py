"""Which classes each label map shows: one pass over all labels, kept on disk for every later run."""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from issbench.scenarios.datasets.base import Dataset, Split

Progress = Callable[[int, int], None]  # called with (done, total)
_FORMAT = 1  # counts up when the content of a cache file changes its meaning


@dataclass(frozen=True)
class Presence:
    """The classes in each image of a split."""

    ids: tuple[str, ...]
    table: np.ndarray
    """bool [images, N + 1]: the class has at least one pixel in the image. Ignore is not counted."""
    content: str
    """Hash over ids and label contents, the same wherever the files lie and however they are compressed."""


def presence(dataset: Dataset, split: Split, on_progress: Progress | None = None) -> Presence:
    """The presence table of a split, from the cache if no label file has changed since it was made.

    DataError for the first label that cannot be read or holds undefined values.
    """
    ids = dataset.ids(split)
    path = cache_dir() / f"presence-{dataset.name}-{split}-{_key(dataset, split)}.npz"
    cached = _load(path, ids, len(dataset.classes) + 1)
    if cached is not None:
        return cached
    found = _scan(dataset, ids, on_progress)
    try:
        _store(path, found)
    except OSError as error:
        warnings.warn(
            f"the scan of the labels cannot be kept in {path.parent} ({error}), so the next run reads all "
            "labels again; set ISSBENCH_CACHE to a directory that can be written",
            stacklevel=2,
        )
    return found


def cache_dir() -> Path:
    """Where scans are kept: $ISSBENCH_CACHE, else issbench/ in the user's cache directory."""
    if chosen := os.environ.get("ISSBENCH_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "issbench"


def _key(dataset: Dataset, split: Split) -> str:
    facts = (_FORMAT, dataset.name, split, dataset.fingerprint(split), dataset.classes)
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


def _scan(dataset: Dataset, ids: tuple[str, ...], on_progress: Progress | None) -> Presence:
    # Threads are as fast as processes here, because decoding and hashing release the interpreter's lock.
    table = np.zeros((len(ids), len(dataset.classes) + 1), bool)
    digest = hashlib.sha256()
    with ThreadPoolExecutor() as pool:
        for index, (row, content) in enumerate(pool.map(partial(_scan_one, dataset), ids)):
            table[index] = row
            digest.update(content)
            if on_progress:
                on_progress(index + 1, len(ids))
    return Presence(ids, table, digest.hexdigest()[:32])


def _scan_one(dataset: Dataset, sample: str) -> tuple[np.ndarray, bytes]:
    label = dataset.label(sample)
    row = np.bincount(label.ravel(), minlength=256)[: len(dataset.classes) + 1] > 0
    digest = hashlib.sha256(f"{sample}\0{label.shape}\0".encode())
    digest.update(np.ascontiguousarray(label))
    return row, digest.digest()


def _load(path: Path, ids: tuple[str, ...], width: int) -> Presence | None:
    """The cached scan, or None where there is none or it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            table, content = stored["table"], str(stored["content"])
    except Exception:  # a damaged file fails in many ways, and the remedy is always another scan
        return None
    return Presence(ids, table, content) if table.shape == (len(ids), width) and table.dtype == bool else None


def _store(path: Path, found: Presence) -> None:
    """Write the cache file whole or not at all, also when several processes do it at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    partial_file = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, table=found.table, content=np.array(found.content))
        partial_file.replace(path)
    except BaseException:
        partial_file.unlink(missing_ok=True)
        raise

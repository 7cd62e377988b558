"""What each sample holds: the classes in its label map, and fingerprints of image and label.

One pass over all files, kept on disk for every later run.
"""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from issbench.files import read_bytes, retrying, write_bytes
from issbench.outputs import cache_dir
from issbench.scenarios.datasets.base import Dataset, Split
from issbench.scenarios.datasets.images import beside
from issbench.scenarios.errors import DataError
from issbench.scenarios.examine import Examined, examine
from issbench.scenarios.reading import read_all

Progress = Callable[[int, int], None]  # called with (done, total)
_FORMAT = 3  # counts up when the content of a cache file changes its meaning
_NO_FILE = "-"
_SEAL = 32  # bytes of a SHA-256


@dataclass(frozen=True)
class Presence:
    """The classes and the content of each sample of a split."""

    ids: tuple[str, ...]
    table: np.ndarray
    """bool [images, N + 1]: the class has at least one pixel in the image. Ignore is not counted."""
    images: tuple[str, ...]
    """A fingerprint of each image, of its file's bytes; empty where there is no such file."""
    labels: tuple[str, ...]
    """A fingerprint of each label map, of its values: however the file is compressed, it is the same."""
    place: str
    """Where the samples are, for messages."""
    ignored: np.ndarray
    """bool [images]: some pixel of the image is to be ignored."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """Why the images of some samples cannot be used."""
    hint: str = ""
    """Which file may be meant for the first image that has none."""

    def content(self, ids: Iterable[str]) -> str:
        """A hash of ids, images and labels of some samples in this order. DataError where an image has no file, or
        cannot be used."""
        return content_of(ids, [self])

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each id."""
        return {sample: row for row, sample in enumerate(self.ids)}


def content_of(ids: Iterable[str], splits: Sequence[Presence]) -> str:
    """`Presence.content` of samples that may lie in any of several splits."""
    digest = hashlib.sha256()
    missing: dict[tuple[str, str], list[str]] = {}
    faults: list[str] = []
    for sample in ids:
        split = next(split for split in splits if sample in split.rows)
        row = split.rows[sample]
        digest.update(f"{sample}\0{split.images[row]}\0{split.labels[row]}\n".encode())
        if sample in split.faults:
            faults.append(split.faults[sample])
        elif not split.images[row]:
            missing.setdefault((split.place, split.hint), []).append(sample)
    for (place, hint), lacking in missing.items():
        raise _missing("image", lacking, place, hint)
    if faults:
        raise all_in_one(faults)
    return digest.hexdigest()[:32]


def classes_of(ids: Iterable[str], splits: Sequence[Presence]) -> np.ndarray:
    """Which classes each of some samples holds, which may lie in any of several splits: bool [ids, N + 1]."""
    held = [next(split.table[split.rows[i]] for split in splits if i in split.rows) for i in ids]
    return np.array(held, bool).reshape(len(held), splits[0].table.shape[1])


def presence(dataset: Dataset, split: Split, on_progress: Progress | None = None) -> Presence:
    """The presence table and the fingerprints of a split. Samples whose files have not changed since they were read
    last are not read again.

    DataError for labels without a file, or that cannot be read. A fault of an image is an error where its content
    is asked for: the classes of labels alone can be counted.
    """
    ids = dataset.ids(split)
    place = place_of(dataset, split)
    stamps = {sample: _stamp(dataset, sample) for sample in ids}
    unlabelled = [sample for sample, stamp in stamps.items() if _NO_FILE in stamp.split(";")[1:]]
    if unlabelled:
        raise _missing("label", unlabelled, place, _hint(dataset, unlabelled[0]))
    path = cache_dir() / f"presence-{dataset.name}-{split}-{_key(dataset)}.npz"
    known = _load(path)
    changed = [sample for sample in stamps if sample not in known or known[sample].stamp != stamps[sample]]
    found = _scan(dataset, changed, stamps, on_progress)
    sound = {name: one for name, one in found.items() if not one.label_fault and not one.image_fault}
    if sound:
        known |= {name: _Scan(stamps[name], *one[:4]) for name, one in sound.items()}
        _keep(path, known)
    if faults := [found[name].label_fault for name in changed if found[name].label_fault]:
        raise all_in_one(faults)
    faulty = {name: found[name] for name in changed if found[name].image_fault}
    known |= {name: _Scan(stamps[name], *one[:4]) for name, one in faulty.items()}
    scans = [known[sample] for sample in ids]
    lacking = next((sample for sample in ids if stamps[sample].startswith(_NO_FILE)), None)
    return Presence(
        ids=ids,
        table=np.array([scan.classes for scan in scans], bool).reshape(len(ids), len(dataset.classes) + 1),
        images=tuple(scan.image for scan in scans),
        labels=tuple(scan.label for scan in scans),
        place=place,
        ignored=np.array([scan.ignored for scan in scans], bool),
        faults={name: one.image_fault for name, one in faulty.items()},
        hint=_hint(dataset, lacking) if lacking else "",
    )


def place_of(dataset: Dataset, split: Split) -> str:
    """Where the samples of a split are, for messages."""
    return f"the {split} split of {dataset.name}" + (f" in {dataset.root}" if dataset.root else "")


def _missing(what: str, ids: list[str], place: str, hint: str) -> DataError:
    return DataError(
        f"{len(ids)} sample(s) have no {what} file in {place}: {some_of(ids)}; add the missing files, or take "
        f"these samples off the list{hint}"
    )


def _hint(dataset: Dataset, sample: str) -> str:
    """The file that may be meant for the first one that a sample lacks."""
    return next(
        (beside(path) for path in dataset.files(sample) if _stamp_of_file(path, dataset.root) == _NO_FILE), ""
    )


def some_of(ids: Sequence[str]) -> str:
    """The first few of some names, for a message."""
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")


def all_in_one(faults: Sequence[str]) -> DataError:
    """Several faults as one error: the first, and how many there are."""
    more = f" ({len(faults)} such faults; `bench data check` lists them)" if len(faults) > 1 else ""
    return DataError(faults[0] + more)


class _Scan(NamedTuple):
    """What was read of one sample, and the state that its files had just before."""

    stamp: str
    classes: np.ndarray
    ignored: bool
    image: str
    label: str


def _stamp(dataset: Dataset, sample: str) -> str:
    """The state of a sample's files: `SIZE MODIFIED CHANGED` or `-` for each, joined by semicolons."""
    return ";".join(_stamp_of_file(path, dataset.root) for path in dataset.files(sample))


def _stamp_of_file(path: Path, root: Path | None) -> str:
    try:
        stat = retrying(path.stat, path, home=root)
    except (FileNotFoundError, NotADirectoryError):
        return _NO_FILE
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; see to its rights, links and disk") from None
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def _key(dataset: Dataset) -> str:
    """What decides the scan of a sample beside its files. Which copy of the data it is counts, too: files of two
    copies may agree in name, size and times."""
    root = dataset.root.resolve() if dataset.root else None
    facts = (_FORMAT, dataset.name, str(root), dataset.classes, code_of(dataset))
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:24]


def code_of(dataset: Dataset) -> str:
    """A hash of the source files that may turn files into labels and pixels: the modules of the dataset's class and
    of its bases, of another package every module that is loaded."""
    own = {"issbench.scenarios.datasets.images", "issbench.scenarios.examine"}
    own |= {base.__module__ for base in type(dataset).__mro__ if issubclass(base, Dataset)}
    others = {name.partition(".")[0] for name in own} - {"issbench"}
    digest = hashlib.sha256()
    for name, module in sorted(sys.modules.copy().items()):  # another thread may import
        path = Path(getattr(module, "__file__", None) or "")
        if (name in own or name.partition(".")[0] in others) and path.suffix == ".py":
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _scan(
    dataset: Dataset, changed: list[str], stamps: dict[str, str], on_progress: Progress | None
) -> dict[str, Examined]:
    found: dict[str, Examined] = {}

    def read(sample: str) -> Examined:
        return examine(dataset, sample, with_image=not stamps[sample].startswith(_NO_FILE))

    for sample, one in read_all(read, changed):
        found[sample] = one
        if on_progress:
            on_progress(len(found), len(changed))
    return found


def _load(path: Path) -> dict[str, _Scan]:
    """The scans that are kept, by sample; none where there is no such file or it is damaged."""
    try:
        content = read_bytes(path)
    except OSError:
        return {}
    if hashlib.sha256(content[:-_SEAL]).digest() != content[-_SEAL:]:
        return {}
    with np.load(io.BytesIO(content[:-_SEAL]), allow_pickle=False) as stored:
        columns = [stored[name].tolist() for name in ("ignored", "images", "labels")]
        rows = zip(stored["stamps"].tolist(), stored["table"], *columns, strict=True)
        return dict(zip(stored["ids"].tolist(), map(_Scan._make, rows), strict=True))


def _keep(path: Path, scans: dict[str, _Scan]) -> None:
    """Write the cache file whole or not at all, also when several processes do it at once; a warning where that is
    not possible."""
    stamps, table, ignored, images, labels = map(np.array, zip(*scans.values(), strict=True))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        body = io.BytesIO()
        columns = {"ids": np.array(list(scans)), "stamps": stamps, "table": table, "ignored": ignored}
        save: Callable[..., None] = np.savez_compressed  # its stub takes an array for the option allow_pickle
        save(body, **columns, images=images, labels=labels)
        write_bytes(path, body.getvalue(), hashlib.sha256(body.getvalue()).digest())
    except OSError as error:
        warnings.warn(
            f"what was read of the data cannot be kept in {path.parent} ({error}), so the next run reads all of "
            "them again; set ISSBENCH_CACHE to a directory that can be written",
            stacklevel=3,
        )

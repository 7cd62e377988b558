"""Images and label maps as arrays. Those of files are decoded once and kept on disk as they are in memory, for
every later epoch, run and process: decoding is a large part of the time that an image costs."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import __version__ as pillow
from PIL import features

from issbench.outputs import cache_dir
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.errors import DataError
from issbench.scenarios.examine import examine
from issbench.scenarios.presence import Presence, code_of

Pair = tuple[np.ndarray, np.ndarray]
"""An image, uint8 [H, W, 3], and the dataset's labels of it, uint8 [H, W]."""

_SEAL = 16  # bytes of the checksum at the start of a file; after it come height and width, image and labels
_HEAD = _SEAL + 8
_FREE = 0.1
"""So much of the disk stays free: nothing more is kept where less is left."""


class Pairs:
    """The images and labels of a dataset. What is kept is found by the content of the files, as the `splits` of the
    dataset say it; without them nothing is kept. A kept file that is damaged is not used."""

    def __init__(self, dataset: Dataset, *splits: Presence):
        self.dataset = dataset
        self._contents: Mapping[str, tuple[str, str]] = {}
        if not dataset.in_memory:
            rows = [row for split in splits for row in zip(split.ids, split.images, split.labels, strict=True)]
            self._contents = {sample: (image, label) for sample, image, label in rows if image and label}
        self._decoder = f"{code_of(dataset)} {pillow} {features.version('jpg')}" if self._contents else ""
        self._checked: set[str] = set()
        self._paths: dict[str, Path] = {}

    def pair(self, sample: str) -> Pair:
        """Image and labels of a sample. DataError where they cannot be read, differ in size, or changed since the
        dataset was opened."""
        if sample not in self._contents:
            return self._decode(sample)
        path = self._paths.get(sample) or self._paths.setdefault(sample, self.path(sample))
        found = self._load(path)
        if found is None:
            found = self._decode(sample)
            self._check(sample)
            _keep(path, found)
        return found

    def path(self, sample: str) -> Path:
        """Where the pair is kept: its name is a hash of the content of both files, and of what decodes them."""
        name = hashlib.sha256(" ".join((*self._contents[sample], self._decoder)).encode()).hexdigest()[:40]
        return cache_dir() / "decoded" / name[:2] / name

    def _decode(self, sample: str) -> Pair:
        image, label = np.array(self.dataset.image(sample)), self.dataset.label(sample)
        if image.shape[:2] != label.shape:
            raise DataError(
                f"{self.dataset.name}: image {sample} has {image.shape[1]}×{image.shape[0]} pixels, but its label "
                f"map {label.shape[1]}×{label.shape[0]}; both must agree (see `bench data check`)"
            )
        return image, label

    def _check(self, sample: str) -> None:
        """That the files are those that were fingerprinted, by which the run is named, and which are kept."""
        now = examine(self.dataset, sample)
        if (now.image, now.label) != self._contents[sample]:
            files = " or ".join(map(str, self.dataset.files(sample)))
            raise DataError(f"{files} changed while the command ran; leave the data as they are, and run it again")

    def _load(self, path: Path) -> Pair | None:
        """A kept pair; None where there is none, or a damaged one."""
        try:
            content = np.fromfile(path, np.uint8)
        except OSError:
            return None
        if path.name not in self._checked:  # once in each process, since it takes as long as to read it
            if content[:_SEAL].tobytes() != _seal(path, content[_SEAL:].tobytes()):
                return None
            self._checked.add(path.name)
        height, width = content[_SEAL:_HEAD].view("<u4").tolist()
        split = _HEAD + 3 * height * width
        if len(content) != split + height * width:
            return None
        return content[_HEAD:split].reshape(height, width, 3), content[split:].reshape(height, width)


def _keep(path: Path, pair: Pair) -> None:
    """Keep a pair, where there is room. A file that is not written whole has another name, or another seal."""
    image, label = pair
    head = np.array(label.shape, "<u4").view(np.uint8)
    content = np.concatenate([head, image.ravel(), label.ravel()]).tobytes()
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not _has_room(path.parent, len(content)):
            return
        try:
            with temporary.open("wb") as file:
                file.write(_seal(path, content))
                file.write(content)
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def _seal(path: Path, content: bytes) -> bytes:
    """A checksum of the name and the content of a file."""
    return hashlib.blake2b(content, key=path.name.encode(), digest_size=_SEAL).digest()


def _has_room(folder: Path, size: int) -> bool:
    disk = shutil.disk_usage(folder)
    return disk.free - size > _FREE * disk.total

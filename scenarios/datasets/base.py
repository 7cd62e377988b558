"""What the suite asks of a dataset: lists of sample ids, images, label maps, and domains where it has them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from scenarios.errors import DataError, ScenarioError

IGNORE = 255
_INVALID = 254  # marks a raw value that a dataset does not define
Split = Literal["train", "test"]


class Dataset(ABC):
    """A segmentation dataset with labels 0 … N and 255 (ignore); class 0 is the background.

    `background` is the name of class 0, or None where the labels never hold 0 (CamVid, Cityscapes): then
    class 0 exists only as the place of classes that are not (or no longer) labelled.
    """

    name: ClassVar[str]
    classes: tuple[str, ...]
    """Names of the classes 1 … N."""
    background: ClassVar[str | None] = "background"
    domains: tuple[str, ...] = ()
    """Names of the domains in their published order; empty for a dataset without domains."""
    default_setting: ClassVar[str] = "overlapped"
    in_memory: ClassVar[bool] = False
    """Whether `image` and `label` are so cheap that worker processes would cost more than they save."""

    @abstractmethod
    def ids(self, split: Split) -> tuple[str, ...]:
        """Sample ids of a split, in the official order. An id is unique over both splits."""

    @abstractmethod
    def image(self, sample: str) -> Image.Image:
        """The RGB image of a sample."""

    @abstractmethod
    def label(self, sample: str) -> np.ndarray:
        """Label map of a sample: uint8 [H, W] with values 0 … N and 255."""

    @abstractmethod
    def fingerprint(self, split: Split) -> str:
        """A short hash that changes when a label of the split may have changed; cheap, reads no label."""

    def domain(self, sample: str) -> str:
        """The domain of a sample."""
        raise ScenarioError(f"dataset {self.name} has no domains; use the setting overlapped or disjoint")


class FileDataset(Dataset):
    """A dataset of image files and single-channel label files under one root directory."""

    def __init__(self, root: str | Path | None):
        if root is None:
            raise ScenarioError(f"dataset {self.name} needs --data DIR, the directory that holds it")
        self.root = self.locate(Path(root).expanduser())

    def locate(self, root: Path) -> Path:
        """The directory that has the dataset's layout, given what the user passed."""
        if not root.is_dir():
            raise ScenarioError(f"data directory {root} does not exist; pass --data DIR with the {self.name} data")
        return root

    @abstractmethod
    def image_path(self, sample: str) -> Path:
        """Image file of a sample."""

    @abstractmethod
    def label_path(self, sample: str) -> Path:
        """Label file of a sample."""

    def raw_to_label(self) -> dict[int, int]:
        """Which stored value means which label; by default values are labels, and 255 is ignore."""
        return {value: value for value in range(len(self.classes) + 1)} | {IGNORE: IGNORE}

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(256, _INVALID, np.uint8)
        for raw, label in self.raw_to_label().items():
            table[raw] = label
        return table

    def image(self, sample: str) -> Image.Image:
        return _open(self.image_path(sample)).convert("RGB")

    def label(self, sample: str) -> np.ndarray:
        path = self.label_path(sample)
        raw = np.asarray(_open(path))
        if raw.ndim != 2 or raw.dtype != np.uint8:
            raise DataError(
                f"label file {path} is not an 8-bit single-channel image (it has shape {raw.shape}, "
                f"{raw.dtype}); save the class indices as a gray or palette PNG"
            )
        labels = self._table[raw]
        if (labels == _INVALID).any():
            wrong = np.unique(raw[labels == _INVALID]).tolist()
            raise DataError(
                f"label file {path} holds {', '.join(map(str, wrong))}; {self.name} has 0–{len(self.classes)} and "
                f"{IGNORE} (ignore): correct the file, or take it off the list"
                if self.raw_to_label().keys() == set(range(len(self.classes) + 1)) | {IGNORE}
                else f"label file {path} holds {', '.join(map(str, wrong))}, which {self.name} does not define"
            )
        return labels

    def fingerprint(self, split: Split) -> str:
        digest = hashlib.blake2b(digest_size=16)
        for sample in self.ids(split):
            path = self.label_path(sample)
            try:
                stat = path.stat()
            except OSError as error:
                raise DataError(f"label file {path} of sample {sample} cannot be read: {error.strerror}") from None
            digest.update(f"{sample}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def _open(path: Path) -> Image.Image:
    """An image read completely, so that a truncated file fails here and not later."""
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist, although the dataset's list names it") from None
    except OSError as error:
        raise DataError(f"{path} is not a readable image ({error}); replace the file") from None
    return image

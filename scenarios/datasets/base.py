"""What the suite asks of a dataset: sample ids, images, label maps, and domains where it has them."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from issbench.scenarios.datasets.images import Seen, look_at_image, read_file, read_image, read_indices
from issbench.scenarios.errors import DataError, ScenarioError

IGNORE = 255
_INVALID = 254  # marks a raw value that a dataset does not define
Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


class Dataset(ABC):
    """A segmentation dataset with labels 0 … N and 255 (ignore); class 0 is the background.

    `background` is the name of class 0, or None where the labels never hold 0 (CamVid, Cityscapes): then
    class 0 exists only as the place of classes that are not (or no longer) labelled.
    """

    name: ClassVar[str]
    """As in scenario names (`voc` in `voc_15-1`) and in the entry point."""
    classes: tuple[str, ...]
    """Names of the classes 1 … N."""
    background: str | None = "background"
    domains: tuple[str, ...] = ()
    """Names of the domains in their published order; empty for a dataset without domains."""
    published_splits: ClassVar[tuple[str, ...]] = ()
    """The usual scenarios, as BASE-INC, for lists; every other split works, too."""
    default_setting: ClassVar[str] = "overlapped"
    split_settings: ClassVar[Mapping[str, str]] = {}
    """Splits that are usually run in another setting than `default_setting`, with that setting."""
    orders: ClassVar[Mapping[str, tuple[int, ...]]] = {}
    """Class orders that have a name: permutations of the labels 1 … N."""
    recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of the training recipe that differ from the usual ones (see docs/how-it-works.md)."""
    recipe_note: ClassVar[str] = ""
    """What to say of this recipe where no other is asked for."""
    background_is_other: ClassVar[bool] = False
    """Whether class 0 is a rest class ("other"), which the printed groups leave out (ADE20K)."""
    groups_per_step: ClassVar[bool] = False
    """Whether published tables print one mIoU per step (ADE20K, up to six) instead of one for all new classes."""
    root: Path | None = None
    """The directory of the data; None where they are not files."""
    in_memory: ClassVar[bool] = False
    """Whether `image` and `label` are so cheap that worker processes would cost more than they save."""
    obtain: ClassVar[str] = "It needs no files."
    """Where the data come from and which layout is expected, as sentences for the user."""

    def __init__(self, root: str | Path | None = None):
        self.root = None if root is None else Path(root).expanduser()

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
    def files(self, sample: str) -> tuple[Path, ...]:
        """All files that decide a sample, the image's first: its fingerprints hold as long as none of them changes.
        Empty where a sample follows from its id and the dataset's code alone."""

    def image_content(self, sample: str) -> bytes:
        """What the image is fingerprinted by: its pixels."""
        image = self.image(sample)
        return f"{image.mode} {image.size} ".encode() + image.tobytes()

    def look(self, sample: str) -> Seen:
        """The size of the image as `image` gives it, and whether EXIF data turned it; cheaper than to decode it.
        DataError where `image` would raise it."""
        return Seen(self.image(sample).size, False)

    def doubts(self, values: frozenset[int]) -> str:
        """Why the label maps as a whole cannot be meant as they are, with the remedy, though each for itself has
        valid values; empty where all is well. `values` are the labels that occur in any of them, 255 included."""
        return ""

    def domain(self, sample: str) -> str:
        """The domain of a sample."""
        raise ScenarioError(f"dataset {self.name} has no domains; use the setting overlapped or disjoint")

    def domain_ids(self) -> tuple[str, ...]:
        """The samples that domain-incremental steps train on."""
        return self.ids("train")

    def with_domains(self) -> Dataset:
        """The dataset as domain-incremental scenarios see it."""
        return self


class FileDataset(Dataset):
    """A dataset of image files and single-channel label files under one root directory."""

    homes: ClassVar[tuple[str, ...]] = (".",)
    """Where the layout may begin, relative to the directory that the user passes."""
    needs: ClassVar[tuple[str, ...]]
    """Files and directories without which the data cannot be listed, relative to the home; one with several
    spellings is written `NAME or OTHER`."""

    root: Path

    def __init__(self, root: str | Path | None):
        if root is None:
            raise ScenarioError(f"dataset {self.name} needs --data DIR, where it lies. {self.obtain}")
        self.root = self.locate(Path(root).expanduser())
        self._ids: dict[Split, tuple[str, ...]] = {}

    def locate(self, root: Path) -> Path:
        """The first home that has everything needed; ScenarioError says what was looked for and where."""
        if not os.path.isdir(root):  # noqa: PTH112  # which is False, too, where it cannot be looked at
            raise ScenarioError(f"directory {root} does not exist; pass --data DIR with the {self.name} data")
        homes = [root / home for home in self.homes]
        missing = {home: [part for part in self.needs if first_there(home, part) is None] for home in homes}
        best = min(homes, key=lambda home: len(missing[home]))
        if not missing[best]:
            return best
        if len(missing[best]) < len(self.needs):
            raise ScenarioError(f"{best} lacks {', '.join(missing[best])} of the {self.name} data. {self.obtain}")
        raise ScenarioError(
            f"no {self.name} data in {root}: looked for {', '.join(self.needs)} "
            f"in {', '.join(map(str, homes))}. {self.obtain}"
        )

    def ids(self, split: Split) -> tuple[str, ...]:
        if split not in self._ids:
            self._ids[split] = tuple(self.list_ids(split))
        return self._ids[split]

    @abstractmethod
    def list_ids(self, split: Split) -> Iterable[str]:
        """Sample ids of a split, in order, read from the disk; called once for each split."""

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

    def files(self, sample: str) -> tuple[Path, ...]:
        return self.image_path(sample), self.label_path(sample)

    def image_content(self, sample: str) -> bytes:
        if type(self).image is not FileDataset.image:  # then not the file alone decides the pixels
            return super().image_content(sample)
        return read_file(self.image_path(sample))

    def look(self, sample: str) -> Seen:
        if type(self).image is not FileDataset.image:
            return super().look(sample)
        return look_at_image(self.image_path(sample))

    def image(self, sample: str) -> Image.Image:
        return read_image(self.image_path(sample))

    def label(self, sample: str) -> np.ndarray:
        path = self.label_path(sample)
        raw = read_indices(path)
        labels = self._table.take(raw)
        if (labels == _INVALID).any():
            wrong = _ranges(np.unique(raw[labels == _INVALID]))
            raise DataError(
                f"label file {path} holds {wrong}; {self.name} has the label values "
                f"{_ranges(self.raw_to_label())}: correct the file"
            )
        return labels


def first_there(home: Path, needed: str) -> Path | None:
    """The first spelling of something needed that is there."""
    spellings = (home / part for part in needed.split(" or "))
    return next((path for path in spellings if os.path.exists(path)), None)  # noqa: PTH110  # as isdir above


def _ranges(values: Iterable[int]) -> str:
    """Whole numbers as text, with runs drawn together: 0–20, 255."""
    runs = itertools.groupby(enumerate(sorted(values)), key=lambda pair: pair[1] - pair[0])
    ends = [(run[0][1], run[-1][1]) for run in (list(group) for _, group in runs)]
    return ", ".join(f"{first}–{last}" if first < last else f"{first}" for first, last in ends)

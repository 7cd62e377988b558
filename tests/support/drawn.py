"""A data set without files: images that each are one row of given labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from issbench.scenarios.datasets.base import Dataset, Split
from issbench.scenarios.presence import Presence


class Drawn(Dataset):
    """Images that each are one row of given labels."""

    name = "drawn"

    def __init__(self, classes: Sequence[str], train: Sequence[Iterable[int]], test: Sequence[Iterable[int]] = ()):
        self.classes = tuple(classes)
        self._labels = {f"train{i}": list(labels) for i, labels in enumerate(train)}
        self._labels |= {f"test{i}": list(labels) for i, labels in enumerate(test)}

    def ids(self, split: Split) -> tuple[str, ...]:
        return tuple(sample for sample in self._labels if sample.startswith(split))

    def image(self, sample: str) -> Image.Image:
        raise AssertionError("views must not read images")

    def label(self, sample: str) -> np.ndarray:
        return np.array([self._labels[sample]], np.uint8)

    def files(self, sample: str) -> tuple[Path, ...]:
        raise AssertionError("nothing of this is to be cached")

    def presence(self, split: Split) -> Presence:
        """The presence table of a split, past the cache."""
        ids = self.ids(split)
        labels = range(len(self.classes) + 1)
        rows = [[label in self._labels[sample] for label in labels] for sample in ids]
        return Presence(
            ids,
            np.array(rows, bool).reshape(len(ids), len(labels)),
            ("",) * len(ids),
            ids,
            "here",
            np.zeros(len(ids), bool),
        )

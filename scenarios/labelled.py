"""Images with labels as they are found in a folder, before they are a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from issbench.scenarios.datasets.lists import EXTENSIONS
from issbench.scenarios.errors import DataError


@dataclass(frozen=True)
class Labelled:
    """An image, and how its class indices (uint8 [H, W], 255: ignore) are made."""

    image: Path
    place: Path
    """Where it lies below the folder that was searched, from which it gets its name and its split."""
    indices: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Found:
    """What was found in a folder."""

    layout: str
    """In a few words."""
    classes: tuple[str, ...]
    """Names of the class indices, first the background."""
    samples: Sequence[Labelled]
    remarks: tuple[str, ...] = field(default=())
    """What was assumed, or left out."""


def image_files(root: Path) -> Iterator[Path]:
    """The image files below a folder, in order."""
    return (path for path in sorted(root.rglob("*")) if path.suffix.lower() in EXTENSIONS and path.is_file())


def inside(source: Path, path: Path) -> Path:
    """A path that a file names, from the folder that was searched, in which it must lie. DataError elsewhere."""
    home, real = source.resolve(), path.resolve()
    if not real.is_relative_to(home):
        raise DataError(f"{path} lies outside of {source}; put the image inside")
    return source / real.relative_to(home)

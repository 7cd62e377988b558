"""A data set of made photographs, for measurements: sizes and files as in PASCAL VOC."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

_SIZE = (375, 500)  # height and width of most images of VOC
_BLOCKS = 8  # of one label, along each side
_COARSE = 25  # pixels of which one is drawn; between them colours change smoothly, as in photographs
_NOISE = 6.0


@contextmanager
def made_images(count: int, classes: int) -> Iterator[Path]:
    """A folder with such a data set, for as long as it is needed; what is kept of it does not come into the user's
    cache."""
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        before = os.environ.get("ISSBENCH_CACHE")
        os.environ["ISSBENCH_CACHE"] = f"{folder}/cache"
        try:
            yield make_images(Path(folder) / "data", count, classes)
        finally:
            if before is None:
                del os.environ["ISSBENCH_CACHE"]
            else:
                os.environ["ISSBENCH_CACHE"] = before


def make_images(root: Path, count: int, classes: int, size: tuple[int, int] = _SIZE) -> Path:
    """Write `count` training images and one for the test in the layout of `folder`: JPEG files, and PNG label maps
    in which all the classes (background included) occur."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in ["background", *_names(classes)]))
    draw = np.random.default_rng(0)
    names = [f"{index:05d}" for index in range(count + 1)]
    for name in names:
        _photograph(draw, size).save(root / "images" / f"{name}.jpg", quality=90)
        _labels(draw, size, classes).save(root / "masks" / f"{name}.png")
    (root / "train.txt").write_text("".join(f"{name}\n" for name in names[1:]))
    (root / "test.txt").write_text(f"{names[0]}\n")
    return root


def _names(classes: int) -> list[str]:
    return [f"class {number}" for number in range(1, classes)]


def _photograph(draw: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    height, width = size
    coarse = draw.integers(0, 256, (height // _COARSE + 1, width // _COARSE + 1, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    noisy = smooth + draw.normal(0, _NOISE, smooth.shape).astype(np.float32)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _labels(draw: np.random.Generator, size: tuple[int, int], classes: int) -> Image.Image:
    cells = max(_BLOCKS**2, classes)
    side = int(np.ceil(np.sqrt(cells)))
    values = draw.permutation(np.arange(side * side) % classes).astype(np.uint8).reshape(side, side)
    return Image.fromarray(values).resize(size[::-1], Image.Resampling.NEAREST)

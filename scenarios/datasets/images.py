"""Reading image and label files, so that a damaged or an unsuitable one is an error and not a wrong pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from issbench.files import CannotRead, retrying
from issbench.scenarios.errors import DataError

_BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises for damaged files


def read_image(path: Path) -> Image.Image:
    """The RGB image in a file. DataError where it cannot be read or has more than 8 bits a channel."""
    image = _open(path)
    if image.mode[0] in "IF":  # Pillow would clip these to 8 bits without a word
        raise DataError(f"image {path} has mode {image.mode}; save it with 8 bits a channel")
    return image.convert("RGB")


def read_indices(path: Path) -> np.ndarray:
    """The stored values of a label file, uint8 [H, W]. DataError where it cannot be read or has another form."""
    raw = np.asarray(_open(path))
    if raw.ndim != 2 or raw.dtype != np.uint8:
        raise DataError(
            f"label file {path} is not an 8-bit single-channel image (it has shape {raw.shape}, "
            f"{raw.dtype}); save the class indices as a gray or palette PNG"
        )
    return raw


def _open(path: Path) -> Image.Image:
    """An image read completely, so that a truncated file fails here and not later."""
    try:
        return retrying(lambda: _loaded(path), path, home=path.parent.parent)
    except CannotRead:
        raise
    except FileNotFoundError:
        raise DataError(f"{path} does not exist, although the dataset lists it") from None
    except _BROKEN as error:
        raise DataError(f"{path} is not a readable image ({error}); replace the file") from None


def _loaded(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image

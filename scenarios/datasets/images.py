"""Reading image and label files: the one place, for training, tests and predictions alike. A damaged or an
unsuitable file is an error and not a wrong pixel."""

from __future__ import annotations

import io
import re
import stat
import unicodedata
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from issbench.files import CannotRead, retrying
from issbench.scenarios.errors import DataError

# Of odd metadata, and of large photographs; what is too large to be read is an error anyway.
warnings.filterwarnings("ignore", module=r"PIL\.")

_MOST_BYTES = 2**30
"""No image that Pillow agrees to read needs more."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What a viewer does to a picture with this EXIF orientation."""
_SIDEWAYS = 5
"""From this orientation on, width and height change places."""
_STORED = {
    **dict.fromkeys(("1", "L", "P", "P;1", "P;2", "P;4", "I;16", "I;16B"), 1),
    **{"L;2": 85, "L;4": 17},  # Pillow stretches these to 0–255
}
"""The forms in which label values may be stored, and by how much Pillow multiplies the values."""
_METADATA = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
"""Where a PNG may say that it is to be turned."""
_MANY = 8


class Seen(NamedTuple):
    """An image as a viewer shows it: its size in pixels, and whether EXIF data turn it."""

    size: tuple[int, int]
    turned: bool


def read_image(path: Path) -> Image.Image:
    """The RGB image in a file, turned as its EXIF data say, on white where it is transparent. DataError where it
    cannot be read, has more than 8 bits a channel, or holds several pictures."""
    image = _loaded(path)
    if image.mode[0] in "IF":  # Pillow would clip these to 8 bits without a word
        raise DataError(f"image {path} has mode {image.mode}; save it with 8 bits a channel")
    return _on_white(_turned(image))


def look_at_image(path: Path) -> Seen:
    """What can be said of an image without decoding all of it. DataError where `read_image` would raise it: a JPEG
    is decoded at an eighth of its size, a PNG's checksums are compared, others are read."""
    content = read_file(path)
    image = _opened(path, content)
    size = image.size
    if image.mode[0] in "IF":
        read_image(path)
    if image.format != "PNG":
        turn = _orientation(image)
    else:  # whose EXIF data may stand behind the pixels
        turn = _orientation(_loaded(path)) if any(mark in content for mark in _METADATA) else 1
    try:
        if image.format == "PNG":
            image.verify()
        else:
            image.draft("L", (max(1, size[0] // 8), max(1, size[1] // 8)))  # ignored by formats other than JPEG
            image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from None
    return Seen(size[::-1] if turn >= _SIDEWAYS else size, turn in _TURNS)


def read_indices(path: Path) -> np.ndarray:
    """The stored values of a label file, uint8 [H, W], turned as its EXIF data say. DataError where it cannot be
    read, or where its form does not keep values exactly: a colour image, JPEG, values above 255."""
    opened = _opened(path, read_file(path))
    form = _form(opened)
    image = _loaded(path, opened)
    if opened.format not in ("PNG", "TIFF") or opened.info.get("compression") == "jpeg":
        raise DataError(
            f"label file {path} is a {opened.format} image; JPEG and the like change the values, so labels are "
            "read from PNG and TIFF alone: save the class indices as a gray or palette PNG"
        )
    if form not in _STORED:
        raise DataError(
            f"label file {path} is not an 8-bit single-channel image (it has mode {image.mode}{_colours(image)}); "
            "save the class indices as a gray or palette PNG (docs/data.md says how to convert colours)"
        )
    raw = np.asarray(_turned(image)).astype(np.uint16) // _STORED[form]
    if raw.max(initial=0) > 255:
        raise DataError(
            f"label file {path} has 16 bits, and values up to {raw.max()}; labels are 0–255: save the class "
            "indices as an 8-bit gray PNG"
        )
    return raw.astype(np.uint8)


def _form(image: Image.Image) -> str:
    """How a file that is not yet loaded stores its pixels, in Pillow's words."""
    tiles: list[Any] = getattr(image, "tile", None) or [("", (), 0, "")]
    form = tiles[0][3]
    return str(form if isinstance(form, str) else form[0])


def _colours(image: Image.Image) -> str:
    """The colours of an image, the most frequent first, for a message."""
    found = image.convert("RGB").getcolors(256)
    if not found:
        return ", more than 256 colours"
    pixels: list[Any] = sorted(found, reverse=True)
    names = ["#{:02x}{:02x}{:02x}".format(*colour) for _, colour in pixels]
    return f", the colours {', '.join(names[:_MANY])}" + (", …" if len(names) > _MANY else "")


def _loaded(path: Path, opened: Image.Image | None = None) -> Image.Image:
    """An image read completely, so that a truncated file fails here and not later."""
    image = opened or _opened(path, read_file(path))
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from None
    return image


def _opened(path: Path, content: bytes) -> Image.Image:
    """An image of which only the head was decoded."""
    try:
        image = Image.open(io.BytesIO(content))
        pictures = getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6
        raise DataError(f"{path} has more than the {most} million pixels that are read; make it smaller") from None
    except UnidentifiedImageError as error:
        raise _unreadable(path, error, "in no known format" if content else "an empty file") from None
    except Exception as error:
        raise _unreadable(path, error) from None
    if pictures > 1 and image.format != "MPO":  # cameras put a preview, or the depths, behind the picture
        raise DataError(f"{path} holds {pictures} pictures; save the one that is meant as a file of its own")
    if image.format == "TIFF" and _orientation(image) >= _SIDEWAYS:  # which Pillow 13 gives a wrong size
        raise DataError(f"{path} is a TIFF that is stored lying on its side; save it upright, or as PNG")
    return image


def _unreadable(path: Path, error: Exception, why: str = "") -> DataError:
    """A damaged file makes Pillow fail in any way whatever."""
    words = " ".join(str(error).split())
    return DataError(f"{path} is not a readable image ({why or words or type(error).__name__}); replace the file")


def read_file(path: Path) -> bytes:
    """The content of a regular file. DataError, with the remedy, where it cannot be read; CannotRead where its file
    system stays away."""
    try:
        return retrying(lambda: _content(path), path, home=path.parent.parent)
    except CannotRead:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{path} does not exist, although the dataset lists it{beside(path)}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; see to its rights, links and disk") from None


def _content(path: Path) -> bytes:
    facts = path.stat()
    if stat.S_ISDIR(facts.st_mode):
        raise DataError(f"{path} is a folder, where an image is expected; put the image in its place")
    if not stat.S_ISREG(facts.st_mode):  # a pipe would be waited for, for ever
        raise DataError(f"{path} is not a regular file; put an image in its place")
    if facts.st_size > _MOST_BYTES:
        raise DataError(f"{path} has {facts.st_size:,} bytes, more than any image that can be read; replace it")
    return path.read_bytes()


def beside(path: Path) -> str:
    """For a file that is not there, the end of a message: which one of nearly the same name lies in its folder."""
    stem = re.escape(_plain(path.stem))
    near = re.compile(rf"(^|[^0-9a-z]){stem}([^0-9a-z]|$)")
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if near.search(_plain(entry.name)))
    except OSError:
        return f"; there is no folder {path.parent}"
    return f"; there is {names[0]!r}: rename it to {path.name!r}" if names else ""


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data: then no viewer turns the picture either
        return 1


def _turned(image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _on_white(image: Image.Image) -> Image.Image:
    """RGB; what is transparent becomes white, as viewers show it, not the black that often lies below."""
    if "A" not in image.getbands() and "transparency" not in image.info:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")

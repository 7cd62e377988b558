"""Which samples there are: lists of names in text files, and the names in folders."""

from __future__ import annotations

import codecs
import os
import unicodedata
from collections.abc import Container
from pathlib import Path

from issbench.scenarios.errors import DataError

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".gif"}
"""What names of image files end in."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file without surrounding blanks, in Unicode's composed form (NFC), but for empty ones.

    The file is UTF-8, or UTF-16 with its byte order mark, as Windows writes it. DataError for any other.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except OSError as error:
        raise DataError(f"the list {path} cannot be read as text: {error.strerror}; see to the file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"the list {path} cannot be read as text: {error}; save it as UTF-8") from None
    lines = [unicodedata.normalize("NFC", line.strip()) for line in text.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        if not line.isprintable():  # UTF-16 without its mark, or no list at all
            raise DataError(
                f"the list {path} holds characters that cannot be seen, first in {line!r} ({number}); replace "
                "them, or save it as UTF-8"
            )
    return lines


def read_ids(path: Path, known: Container[str] = ()) -> list[str]:
    """The ids in a list of samples. A line is an id, the name or the path of its image (also with backslashes), or
    such a path and that of its mask. An id of `known` is taken as it stands. DataError for a pair of two names, and
    for a line without any."""
    ids = [line if line in known else _id_of(line, path) for line in read_lines(path)]
    if "" in ids:
        raise DataError(
            f"the list {path} has a line that names no image, only a folder: name them alike, an id each"
        )
    return ids


def _id_of(line: str, path: Path) -> str:
    image, _, mask = line.rpartition(" ")
    if image and _is_file_name(image) and _is_file_name(mask):
        if _stem(image.strip()) != _stem(mask):
            raise DataError(
                f"the list {path} pairs {image.strip()} with {mask}, but the mask of an image is found by its "
                "name: name them alike"
            )
        return _stem(mask)
    return _stem(line)


def _is_file_name(text: str) -> bool:
    return os.path.splitext(text.strip())[1].lower() in EXTENSIONS  # noqa: PTH122  # it may have backslashes


def _stem(text: str) -> str:
    """The last part of a path, without the extension of an image."""
    name = text.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] if _is_file_name(name) else name


def files_by_stem(folder: Path) -> dict[str, Path]:
    """The image files of a folder by their names without extension, in Unicode's composed form (NFC).

    DataError for two of one name, for a name that no list can hold, and where the folder cannot be listed.
    """
    files: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"the folder {folder} cannot be listed: {error.strerror}; see to its rights and links"
        ) from None
    for path in paths:
        if path.suffix.lower() not in EXTENSIONS or path.name.startswith("."):
            continue
        if not path.name.isprintable():
            raise DataError(f"{folder} holds a file whose name has control characters, {path.name!r}; rename it")
        stem = unicodedata.normalize("NFC", path.stem)
        if stem in files:
            raise DataError(f"{folder} holds both {files[stem].name} and {path.name}; remove one of the two")
        files[stem] = path
    return files

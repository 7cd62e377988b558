"""A small data set in the layout of `folder`, to break one thing in it, and files that Pillow cannot write."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

IDS = tuple(f"s{number}" for number in range(10))
NAMES = ("background", "one", "two", "three")
WIDTH, HEIGHT = 12, 10


def labels(number: int) -> np.ndarray:
    """The label map of an image: a block of each class, at a place of its own."""
    found = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label in (1, 2, 3):
        found[3 * label - 2 : 3 * label, number % 5 : number % 5 + 6] = label
    return found


def pixels(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """Noise, uint8 [H, W, 3], that differs from image to image."""
    return np.random.default_rng(number).integers(0, 255, (*size[::-1], 3), np.uint8)


def small_set(root: Path) -> Path:
    """Ten images with masks; the last three are for testing."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    for number, name in enumerate(IDS):
        Image.fromarray(pixels(number)).save(root / "images" / f"{name}.png")
        Image.fromarray(labels(number)).save(root / "masks" / f"{name}.png")
    write_list(root, "train", IDS[:7])
    write_list(root, "test", IDS[7:])
    return root


def write_list(
    root: Path, split: str, names: object, form: str = "{}\n", encoding: str = "utf-8", more: str = ""
) -> None:
    """The list of a split, each name in a form."""
    text = "".join(form.format(name) for name in names) + more
    (root / f"{split}.txt").write_bytes(text.encode(encoding))


def write_masks(root: Path, change: object, ids: tuple[str, ...] = IDS) -> None:
    """All masks anew, with other values: `change(labels)`."""
    for number, name in enumerate(IDS):
        if name in ids:
            Image.fromarray(change(labels(number))).save(root / "masks" / f"{name}.png")


def png(values: np.ndarray, depth: int, palette: bool = False) -> bytes:
    """A gray or palette PNG that stores values [H, W] with 1, 2, 4, 8 or 16 bits each."""
    height, width = values.shape
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in values]
    else:
        bits = (values[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = [row.tobytes() for row in np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)]
    head = struct.pack(">IIBBBBB", width, height, depth, 3 if palette else 0, 0, 0, 0)
    colours = _chunk(b"PLTE", bytes(range(255, -1, -1))[: 2**depth] * 3) if palette else b""
    data = _chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + colours + data + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """The head of a PNG of 3.6 thousand million pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


def turned(array: np.ndarray, orientation: int, form: str = "png") -> bytes:
    """A picture that is stored as it is, and says in its EXIF data how to turn it."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(array).save(file, form, exif=exif)
    return file.getvalue()


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """The bytes of an image in a format."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()

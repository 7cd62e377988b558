"""Images and masks in two folders: names with suffixes, masks with class indices, or colours and their table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from issbench.scenarios.datasets.base import IGNORE
from issbench.scenarios.datasets.images import read_image, read_indices
from issbench.scenarios.datasets.lists import read_lines
from issbench.scenarios.errors import DataError, ScenarioError
from issbench.scenarios.labelled import Found, Labelled, image_files

_IMAGES = ("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "rgb", "photos", "inputs")
_MASKS = (
    "masks", "mask", "labels", "label", "annotations", "annotation", "segmentationclass", "gtfine", "gt",
    "ground_truth", "targets", "segmentations",
)  # fmt: skip
_TABLES = ("colours.txt", "colors.txt", "labelmap.txt", "class_dict.csv", "classes.csv")
"""Names under which tools write a table of colours (CVAT, CamVid …)."""
_VOID = {"void", "ignore", "__ignore__", "unlabeled", "unlabelled", "ignored"}
_BACKGROUND = {"background", "_background_", "other"}
_LOOKED_AT = 50  # masks, to see how they are meant
_COLOUR = re.compile(r"#([0-9a-f]{6})\b", re.IGNORECASE)
_NUMBERS = re.compile(r"(\d{1,3})\s*[,\s]\s*(\d{1,3})\s*[,\s]\s*(\d{1,3})")
_UNKNOWN = 254


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    place: Path
    mask: Path

    def labelled(self, indices: Callable[[], np.ndarray]) -> Labelled:
        """The image with what makes its class indices."""
        return Labelled(self.image, self.place, indices)


def find_trees(source: Path, colours: Path | None) -> Found | None:
    """The pairs of images and masks; None where neither the folder nor those in it have two such trees."""
    inner = (path for path in sorted(source.iterdir()) if path.is_dir())
    trees = [*filter(None, [_trees(source)])] or [*filter(None, map(_trees, inner))]
    if not trees:
        return None
    pairs: list[Pair] = []
    remarks: list[str] = []
    for images, masks in trees:
        found, told = _pairs(source, images, masks)
        pairs += found
        remarks += told
    names = f"{trees[0][0].name}/ and {trees[0][1].name}/"
    if not pairs:
        raise ScenarioError(
            f"{source}: no mask in {names} has the name of an image, nor its name with one suffix for all; name "
            "them alike"
        )
    table = colours
    if with_colours := _is_coloured(pairs[0].mask):
        table = table or next((source / name for name in _TABLES if (source / name).is_file()), None)
    if table is not None:
        classes, values = read_colours(table)
        samples = [pair.labelled(partial(_from_colours, pair.mask, values, table)) for pair in pairs]
        return Found(f"{names} with the colours of {table.name}", classes, samples, tuple(remarks))
    if with_colours:
        _refuse_colours(pairs[0].mask)
    return _indexed(source, pairs, names, remarks)


def _refuse_colours(mask: Path) -> None:
    try:
        read_indices(mask)
    except DataError as error:  # it names the colours
        raise DataError(f"{error}; or give a table of the colours with --colours FILE") from None


def _indexed(source: Path, pairs: Sequence[Pair], names: str, remarks: Sequence[str]) -> Found:
    """Masks with class indices. Those with 0 and 255 alone mean a class by 255."""
    seen = {int(value) for pair in pairs for value in np.unique(read_indices(pair.mask))}
    if seen == {0, IGNORE}:
        samples = [pair.labelled(partial(_binary, pair.mask)) for pair in pairs]
        remark = "the masks hold 0 and 255 alone, which is taken for background and one class"
        return Found(f"{names} with masks in black and white", _classes(source, 1), samples, (*remarks, remark))
    samples = [pair.labelled(partial(read_indices, pair.mask)) for pair in pairs]
    highest = max(seen - {IGNORE}, default=0)
    return Found(f"{names} with class indices", _classes(source, highest), samples, tuple(remarks))


def _classes(source: Path, highest: int) -> tuple[str, ...]:
    """The names in classes.txt, or numbers."""
    path = source / "classes.txt"
    if path.is_file():
        return tuple(read_lines(path))
    return ("background", *(f"class {index}" for index in range(1, highest + 1)))


def _trees(source: Path) -> tuple[Path, Path] | None:
    """The folders of images and of masks."""
    folders = {path.name.lower(): path for path in sorted(source.iterdir()) if path.is_dir()}
    images = next((folders[name] for name in _IMAGES if name in folders), None)
    masks = next((folders[name] for name in _MASKS if name in folders), None)
    return None if images is None or masks is None else (images, masks)


def _pairs(source: Path, images: Path, masks: Path) -> tuple[list[Pair], list[str]]:
    """Images with their masks, and what is to be said: the names of either may all end in the same suffix."""
    ours, theirs = _files(images), _files(masks)
    best: dict[str, Path] = {}
    suffix = ""
    for ours_end in ("", _suffix(ours)):
        for theirs_end in ("", _suffix(theirs)):
            found = {name.removesuffix(theirs_end): path for name, path in theirs.items()}
            plain = {name: name.removesuffix(ours_end) for name in ours}
            both = {name: found[stem] for name, stem in plain.items() if stem in found}
            if len(both) > len(best):
                best, suffix = both, theirs_end
    told = [f"masks are those that end in {suffix}"] * bool(suffix)
    if lacking := len(ours) - len(best):
        told.append(f"{lacking} of {len(ours)} images in {images} have no mask, and are left out")
    home = images.parent.relative_to(source)
    return [Pair(ours[name], home / ours[name].relative_to(images), mask) for name, mask in best.items()], told


def _files(root: Path) -> dict[str, Path]:
    """The image files below a folder by their paths in it, without extension."""
    shown = (path for path in image_files(root) if path.name[0] != ".")
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in shown}


def _suffix(names: Mapping[str, Path]) -> str:
    """What all names end in, from the first sign between words on: `_mask`, `_gtFine_labelIds`."""
    if len(names) < 2:
        return ""
    first, *others = names
    long = next(n for n in range(len(first) + 1) if n == len(first) or not _all_end(others, first[-n - 1 :]))
    common = first[len(first) - long :]
    place = next((i for i, letter in enumerate(common) if letter in "_-."), len(common))
    return common[place:]


def _all_end(names: Sequence[str], end: str) -> bool:
    return all(name.endswith(end) for name in names)


def _binary(mask: Path) -> np.ndarray:
    return (read_indices(mask) == IGNORE).astype(np.uint8)


def _is_coloured(mask: Path) -> bool:
    try:
        with Image.open(mask) as opened:
            return opened.mode in ("RGB", "RGBA")
    except OSError:
        return False  # which is told where it is read


def read_colours(path: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """The names of classes, first the background, and the label of each colour as a number 0xRRGGBB.

    A line has a name and a colour: `sky 70,130,180`, `sky,70,130,180`, `sky:70,130,180::` or `sky #4682b4`. Names
    for what has no label become 255. DataError for other lines, and a colour that comes twice.
    """
    classes, values = ["background"], dict[int, int]()
    for name, colour in _lines(path):
        if colour in values:
            raise DataError(f"{path} gives the colour #{colour:06x} twice; give each class its own")
        plain = name.lower()
        if plain in _VOID:
            values[colour] = IGNORE
        elif plain in _BACKGROUND:
            values[colour] = 0
        else:
            classes += [] if name in classes else [name]
            values[colour] = classes.index(name)
    if len(classes) < 2:
        raise DataError(f"{path} names no class; write lines such as: sky 70,130,180")
    return tuple(classes), values


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    for line in read_lines(path):
        hexadecimal, numbers = _COLOUR.search(line), _NUMBERS.search(line)
        found = hexadecimal or numbers
        name = line[: found.start()].strip(" \t,:;=\"'") if found else ""
        if found is None or not name:
            if line.startswith("#") or not any(map(str.isdigit, line)):
                continue  # a comment, or the head of a table
            raise DataError(f"{path}: {line!r} is no class with a colour; write: sky 70,130,180")
        red, green, blue = (int(each) for each in numbers.groups()) if numbers and not hexadecimal else (0, 0, 0)
        if max(red, green, blue) > 255:
            raise DataError(f"{path}: {line!r} has a colour above 255; write three numbers from 0 to 255")
        yield name, int(hexadecimal.group(1), 16) if hexadecimal else (red << 16) + (green << 8) + blue


def _from_colours(mask: Path, values: Mapping[int, int], table: Path) -> np.ndarray:
    """A mask in colours as class indices."""
    pixels = np.asarray(read_image(mask)).astype(np.int64)
    numbers = (pixels[..., 0] << 16) + (pixels[..., 1] << 8) + pixels[..., 2]
    found, inverse = np.unique(numbers, return_inverse=True)
    labels = np.array([values.get(int(number), _UNKNOWN) for number in found], np.uint8)
    if _UNKNOWN in labels:
        unknown = [f"#{number:06x}" for number, label in zip(found, labels, strict=True) if label == _UNKNOWN]
        raise DataError(
            f"{mask} has the colour {', '.join(unknown[:5])}, which {table} does not name; add it, with the name "
            "void where it means nothing (a JPEG invents colours: export PNG)"
        )
    return labels[inverse].reshape(numbers.shape)

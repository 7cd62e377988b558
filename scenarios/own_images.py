"""Makes a `folder` data set out of images and labels in one of the layouts that tools write: two trees of images
and masks (class indices, or colours with a table), COCO's polygons, labelme's. What is there is never touched: the
data set appears whole in a folder of its own, or not at all."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from PIL import Image

from issbench.files import writing
from issbench.scenarios.errors import DataError, ScenarioError
from issbench.scenarios.labelled import Found, Labelled
from issbench.scenarios.mask_trees import find_trees
from issbench.scenarios.polygons import find_polygons

Split = Literal["train", "test"]
_SPLITS: dict[str, Split] = {
    "train": "train", "training": "train", "train2017": "train",
    "val": "test", "valid": "test", "validation": "test", "test": "test", "testing": "test", "val2017": "test",
}  # fmt: skip
"""Names of folders that say to which split their images belong."""


def find(source: Path, colours: Path | None) -> Found:
    """The images and labels below a folder. ScenarioError where no layout is known, DataError for broken files."""
    if not source.is_dir():
        raise ScenarioError(f"--from {source}: no such directory")
    found = None if colours else find_polygons(source)
    found = found or find_trees(source, colours)
    if found is None:
        raise ScenarioError(
            f"no layout that is known in {source}: looked for COCO's or labelme's JSON files, and for two folders "
            "such as images/ and masks/ with files of the same names (docs/data.md)"
        )
    if len(found.classes) > 254:
        raise DataError(f"{source} has {len(found.classes) - 1} classes; labels have room for 253")
    for name in found.classes:
        if not name.strip() or name != name.strip() or not name.isprintable():
            raise DataError(f"{source} has a class of the name {name!r}; give it one that a line of text can hold")
    return found


def write_folder(found: Found, root: Path, on_progress: Callable[[int, int], None] | None = None) -> None:
    """Write a data set of the layout `folder`: masks, links to the images (copies where links cannot be made),
    names of classes, and the splits where the places of the images say them.

    ScenarioError where `root` is there and not empty; CannotWrite.
    """
    refuse_filled(root)
    names = _names([sample.place for sample in found.samples])
    with writing(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        partial = root.with_name(f".{root.name}.{uuid.uuid4().hex}")
        try:
            for folder in ("images", "masks"):
                (partial / folder).mkdir(parents=True)
            for done, (name, sample) in enumerate(zip(names, found.samples, strict=True), 1):
                _link(sample.image, partial / "images" / f"{name}{sample.image.suffix.lower()}")
                Image.fromarray(sample.indices()).save(partial / "masks" / f"{name}.png")
                if on_progress:
                    on_progress(done, len(names))
            lists = {"classes.txt": list(found.classes), **_lists(names, found.samples)}
            for file, lines in lists.items():
                (partial / file).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            with suppress(FileNotFoundError):
                root.rmdir()  # it is empty
            partial.rename(root)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def refuse_filled(root: Path) -> None:
    """ScenarioError for a place where something is."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise ScenarioError(
            f"--root {root} is there, and not an empty folder; choose another one, nothing is replaced"
        )


def _link(image: Path, place: Path) -> None:
    try:
        place.symlink_to(image.resolve())
    except OSError:  # as on Windows without the right to
        shutil.copyfile(image, place)


def _names(places: Sequence[Path]) -> list[str]:
    """The names of samples: of their files, with the folders before them where these are not enough."""
    stems = [place.stem for place in places]
    if len({stem.lower() for stem in stems}) < len(stems):
        stems = ["_".join((*place.parts[:-1], place.stem)) for place in places]
    twice = [name for name, number in Counter(stem.lower() for stem in stems).items() if number > 1]
    if twice:
        raise DataError(f"two images would have the name {twice[0]}; rename one of them")
    return stems


def _lists(names: Sequence[str], samples: Sequence[Labelled]) -> dict[str, list[str]]:
    """train.txt and test.txt, where the folders of all images say of which split they are, and both have some."""
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for name, sample in zip(names, samples, strict=True):
        split = next((_SPLITS[part.lower()] for part in sample.place.parts if part.lower() in _SPLITS), None)
        if split is None:
            return {}
        lists[split].append(name)
    return {f"{split}.txt": lines for split, lines in lists.items()} if all(lists.values()) else {}

"""The user's own data: `images/`, `masks/` and `classes.txt` in one directory."""

from __future__ import annotations

from pathlib import Path

from issbench.scenarios.datasets.base import FileDataset, Split
from issbench.scenarios.datasets.lists import files_by_stem, read_ids, read_lines
from issbench.scenarios.errors import DataError, ScenarioError

_MOST_NAMES = 254  # labels are bytes, of which 254 and 255 have a meaning of their own
_EVERY = 5


class Folder(FileDataset):
    """Ids are file names without extension. A mask (PNG or TIFF) holds 0 (background), 1 … N and 255 (ignore).

    The first line of `classes.txt` names class 0. `train.txt` and `test.txt` list ids; without them every
    fifth image in sorted order is a test image.
    """

    name = "folder"
    recipe = {"backbone": "resnet18.tv_in1k", "crop": 256, "batch": 8}
    recipe_note = "a small recipe for your own images; --recipe published gives ResNet-101, crop 512, batch 24"
    needs = ("images", "masks", "classes.txt")
    obtain = (
        "Expected: images/NAME.jpg (or .png, …), masks/NAME.png with class indices, and classes.txt with one "
        "class name a line, the background first; optionally train.txt and test.txt with one NAME a line. "
        "`bench data prepare folder --from DIR` makes it out of other layouts."
    )

    def __init__(self, root: str | Path | None):
        super().__init__(root)
        self.background, *names = _class_names(self.root / "classes.txt")
        self.classes = tuple(names)
        self._images = files_by_stem(self.root / "images")
        self._masks = files_by_stem(self.root / "masks")
        lists = {split: self.root / f"{split}.txt" for split in ("train", "test")}
        self._lists = {split: path for split, path in lists.items() if path.exists()}
        if len(self._lists) == 1:
            (only,) = self._lists.values()
            raise ScenarioError(f"{self.root} has {only.name} alone; write both train.txt and test.txt, or neither")

    def list_ids(self, split: Split) -> list[str]:
        if self._lists:
            return read_ids(self._lists[split], self._images.keys() | self._masks)
        stems = sorted(self._images.keys() | self._masks)
        is_test = split == "test"
        return [stem for place, stem in enumerate(stems, 1) if (place % _EVERY == 0) == is_test]

    def image_path(self, sample: str) -> Path:
        return self._images.get(sample, self.root / "images" / f"{sample}.jpg")

    def label_path(self, sample: str) -> Path:
        return self._masks.get(sample, self.root / "masks" / f"{sample}.png")


def _class_names(path: Path) -> list[str]:
    names = read_lines(path)
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(f"{path} names {', '.join(twice)} more than once; give every class its own name")
    if not 2 <= len(names) <= _MOST_NAMES:
        raise DataError(f"{path} has {len(names)} names; it needs the background and 1–{_MOST_NAMES - 1} classes")
    return names

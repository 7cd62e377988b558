"""Pascal VOC 2012 with the labels of SBD ("VOC-aug"): 20 classes, 10,582 train and 1,449 test images."""

from __future__ import annotations

from pathlib import Path

from issbench.scenarios.datasets.base import FileDataset, Split, first_there
from issbench.scenarios.datasets.lists import read_ids

LISTS: dict[Split, str] = {
    "train": "ImageSets/Segmentation/train_aug.txt",
    "test": "ImageSets/Segmentation/val.txt",
}
_SPELLINGS = {"train": f"{LISTS['train']} or ImageSets/Segmentation/trainaug.txt", "test": LISTS["test"]}
MASKS = "SegmentationClassAug"
_CLASSES = """
aeroplane bicycle bird boat bottle bus car cat chair cow
diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor
"""


class Voc(FileDataset):
    name = "voc"
    classes = tuple(_CLASSES.split())
    published_splits = ("19-1", "15-5", "15-1", "10-10", "10-1", "5-3", "2-2", "10-5", "5-1")
    recipe = {"backbone": "resnet101.tv_in1k"}
    orders = {
        # GSC, Section V-E: the class orders of Table VI (VOC 15-1).
        "A": tuple(range(1, 21)),
        "B": (12, 9, 20, 7, 15, 8, 14, 16, 5, 19, 4, 1, 13, 2, 11, 17, 3, 6, 18, 10),
        "C": (13, 19, 15, 17, 9, 8, 5, 20, 4, 3, 10, 11, 18, 16, 7, 12, 14, 6, 1, 2),
        "D": (15, 3, 2, 12, 14, 18, 20, 16, 11, 1, 19, 8, 10, 7, 17, 6, 5, 13, 9, 4),
        "E": (7, 5, 3, 9, 13, 12, 14, 19, 10, 2, 1, 4, 16, 8, 17, 15, 18, 6, 11, 20),
    }
    homes = (".", "VOC2012", "VOCdevkit/VOC2012")
    needs = (MASKS, *_SPELLINGS.values())
    obtain = (
        "Expected: VOC2012/ with JPEGImages/ID.jpg, SegmentationClassAug/ID.png and "
        "ImageSets/Segmentation/{train_aug,val}.txt; `bench data prepare voc --root DIR --download` makes it."
    )

    def list_ids(self, split: Split) -> list[str]:
        # Two forms of the list circulate: a line is ID, or /JPEGImages/ID.jpg /SegmentationClassAug/ID.png.
        return read_ids(first_there(self.root, _SPELLINGS[split]) or self.root / LISTS[split])

    def image_path(self, sample: str) -> Path:
        return self.root / f"JPEGImages/{sample}.jpg"

    def label_path(self, sample: str) -> Path:
        return self.root / f"{MASKS}/{sample}.png"

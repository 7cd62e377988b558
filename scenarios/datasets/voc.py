"""Pascal VOC 2012 with the labels of SBD ("VOC-aug"): 20 classes, 10,582 train and 1,449 test images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from issbench.scenarios.datasets.base import FileDataset, Split, read_lines

LISTS: dict[Split, str] = {
    "train": "ImageSets/Segmentation/train_aug.txt",
    "test": "ImageSets/Segmentation/val.txt",
}
MASKS = "SegmentationClassAug"
_CLASSES = """
aeroplane bicycle bird boat bottle bus car cat chair cow
diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor
"""


class Voc(FileDataset):
    name = "voc"
    classes = tuple(_CLASSES.split())
    homes = (".", "VOC2012", "VOCdevkit/VOC2012")
    needs = (MASKS, *LISTS.values())
    obtain = (
        "Expected: VOC2012/ with JPEGImages/ID.jpg, SegmentationClassAug/ID.png and "
        "ImageSets/Segmentation/{train_aug,val}.txt; `bench data prepare voc --root DIR --download` makes it."
    )

    def list_ids(self, split: Split) -> Iterator[str]:
        # Two forms of the list circulate: a line is ID, or /JPEGImages/ID.jpg /SegmentationClassAug/ID.png.
        return (PurePosixPath(line.split()[0]).stem for line in read_lines(self.root / LISTS[split]))

    def image_path(self, sample: str) -> Path:
        return self.root / f"JPEGImages/{sample}.jpg"

    def label_path(self, sample: str) -> Path:
        return self.root / f"{MASKS}/{sample}.png"

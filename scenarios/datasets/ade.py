"""ADE20K as released for scene parsing 2016: 150 classes, 20,210 train and 2,000 test images."""

from __future__ import annotations

from pathlib import Path

from issbench.scenarios.datasets.base import IGNORE, FileDataset, Split
from issbench.scenarios.datasets.lists import files_by_stem

_FOLDERS: dict[Split, str] = {"train": "training", "test": "validation"}
_CLASSES = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth,
door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug,
field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column,
signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path,
stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind,
coffee table, toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer,
swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning,
streetlight, booth, television receiver, airplane, dirt track, apparel, pole, land, bannister, escalator,
ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank,
trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce,
vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator,
glass, clock, flag
"""


class Ade(FileDataset):
    """Ids are `training/NAME` and `validation/NAME`. Class 0 is whatever the 150 classes leave over."""

    name = "ade"
    classes = tuple(" ".join(name.split()) for name in _CLASSES.split(","))
    published_splits = ("100-50", "100-10", "100-5", "50-50", "25-25")
    recipe = {"backbone": "resnet101.tv_in1k", "epochs": 60, "lr": 4e-3}
    background = "other"
    background_is_other = True
    groups_per_step = True
    homes = (".", "ADEChallengeData2016")
    needs = ("images/training", "images/validation", "annotations/training", "annotations/validation")
    obtain = (
        "Expected: ADEChallengeData2016/ with images/{training,validation}/NAME.jpg and "
        "annotations/{training,validation}/NAME.png; unpack "
        "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip."
    )

    def list_ids(self, split: Split) -> list[str]:
        # Names from both directories, so that an image without labels does not pass unnoticed.
        folder = _FOLDERS[split]
        stems = {stem for tree in ("images", "annotations") for stem in files_by_stem(self.root / tree / folder)}
        return [f"{folder}/{stem}" for stem in sorted(stems)]

    def image_path(self, sample: str) -> Path:
        return self.root / f"images/{sample}.jpg"

    def label_path(self, sample: str) -> Path:
        return self.root / f"annotations/{sample}.png"

    def doubts(self, values: frozenset[int]) -> str:
        """The released label maps hold 0 (other) and 1–150. Where 0 is not learned, it is common to subtract 1:
        then 0 becomes 255, and every class the one before it."""
        if IGNORE not in values or len(self.classes) in values:
            return ""
        return (
            "they hold 255, which the released ones do not, and none holds 150: it seems that 1 was subtracted "
            "from all values, so that each would be taken for the class before it; unpack the released annotations "
            "again, or add 1 to every value (255 becomes 0)"
        )

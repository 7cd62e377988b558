"""A data set of a few small images, for runs through the whole engine that take a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

RECIPE = {
    "first_epochs": 1, "epochs": 1, "batch": 4, "crop": 32, "aspp_channels": 16,
    "backbone": "tiny", "weights": "none", "output_stride": 8,
}  # fmt: skip


def small_folder(root: Path) -> Path:
    """Writes sixteen images of 40 × 40 pixels, all with three classes, in the layout of `folder`."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    (root / "classes.txt").write_text("background\nleft\nright\ntop\n")
    draw = np.random.default_rng(0)
    for index in range(16):
        mask = np.zeros((40, 40), np.uint8)
        mask[15:35, 2:15], mask[20:38, 22:35], mask[2:12, 5:35] = 1, 2, 3
        Image.fromarray(draw.integers(0, 255, (40, 40, 3), np.uint8)).save(root / "images" / f"{index}.png")
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    return root

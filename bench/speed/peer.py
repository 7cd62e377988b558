"""The pipeline against which reading is measured: what released codes do for each image, with libraries alone."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, Normalize, RandomResizedCrop
from torchvision.transforms.v2 import functional as tvf

from issbench.bench.engine.samples import MEAN, STD
from issbench.scenarios.datasets.base import Dataset


class PlainPipeline:
    """PIL decodes; torchvision cuts at random, resizes, mirrors and normalises; a table maps the labels."""

    def __init__(self, dataset: Dataset, size: int, area: tuple[float, float], table: Tensor):
        self.dataset, self.table = dataset, table
        self.crop = RandomResizedCrop(size, scale=area, ratio=(3 / 4, 4 / 3))
        self.normalise = Normalize(MEAN, STD)

    def batch(self, samples: list[str]) -> tuple[Tensor, Tensor]:
        """Images float [B, 3, S, S] and labels int64 [B, S, S]."""
        images, labels = zip(*map(self.pair, samples), strict=True)
        return torch.stack(images), torch.stack(labels)

    def pair(self, sample: str) -> tuple[Tensor, Tensor]:
        """An image with its labels."""
        files = self.dataset.files(sample)
        image, label = Image.open(files[0]).convert("RGB"), Image.open(files[1])
        place = [*self.crop.make_params([image]).values(), list(self.crop.size)]
        image = tvf.resized_crop(image, *place, interpolation=InterpolationMode.BILINEAR)
        label = tvf.resized_crop(label, *place, interpolation=InterpolationMode.NEAREST)
        if torch.rand(()) < 0.5:
            image, label = tvf.horizontal_flip(image), tvf.horizontal_flip(label)
        pixels = self.normalise(tvf.to_dtype(tvf.pil_to_tensor(image), torch.float32, scale=True))
        return pixels, self.table[tvf.pil_to_tensor(label)[0].long()]

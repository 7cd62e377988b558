"""From an image file to the tensors that a network sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from issbench.bench.engine.seeds import derive_seed
from issbench.bench.recipe import Recipe
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.errors import DataError
from issbench.scenarios.memory import Memory
from issbench.scenarios.transforms import LabelledImage, evaluation_pair, training_pair
from issbench.scenarios.views import View

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as its weights expect


class Samples(TorchDataset[LabelledImage]):
    """Pairs of a view, cut as in the test; an index is a row."""

    def __init__(self, dataset: Dataset, view: View, recipe: Recipe):
        self.dataset, self.view, self.recipe = dataset, view, recipe

    def __len__(self) -> int:
        return len(self.view.ids)

    def row(self, index: Any) -> int:
        """The row of an index."""
        return int(index)

    def sample(self, row: int) -> str:
        """The id of the image in a row."""
        return self.view.ids[row]

    def __getitem__(self, index: Any) -> LabelledImage:
        image, label = read_sample(self.dataset, self.view.table, self.view.ids[index])
        return evaluation_pair(image, label, self.recipe.crop)


class TrainingSamples(Samples):
    """Pairs of a view and after them those of the memory, augmented; an index is (epoch, row)."""

    def __init__(self, dataset: Dataset, view: View, recipe: Recipe, seed: int, step: int, memory: Memory):
        super().__init__(dataset, view, recipe)
        self.seed, self.step, self.memory = seed, step, memory

    def row(self, index: Any) -> int:
        return int(index[1])

    def sample(self, row: int) -> str:
        own = len(self.view.ids)
        return self.view.ids[row] if row < own else self.memory.ids[row - own]

    def __getitem__(self, index: Any) -> LabelledImage:
        (epoch, row), own, recipe = index, len(self.view.ids), self.recipe
        sample = self.sample(row)
        table = self.view.table if row < own else self.memory.table(row - own)
        image, label = read_sample(self.dataset, table, sample)
        seed = derive_seed(self.seed, "augmentation", self.step, epoch, sample)
        return training_pair(image, label, recipe.crop, (recipe.scale_min, recipe.scale_max), seed)


def read_sample(dataset: Dataset, table: np.ndarray, sample: str) -> tuple[Image.Image, np.ndarray]:
    """The image, and the labels as the table reads them. DataError where the two have different sizes."""
    image, label = dataset.image(sample), dataset.label(sample)
    if image.size != label.shape[::-1]:
        raise DataError(
            f"{dataset.name}: image {sample} has {image.size[0]}×{image.size[1]} pixels, but its label "
            f"map {label.shape[1]}×{label.shape[0]}; both must agree (see `bench data check`)"
        )
    return image, table[label]


class Normalise:
    """Images uint8 [B, 3, H, W] as networks see them: float, normalised, channels-last, on a device."""

    def __init__(self, device: torch.device):
        self.device = device
        self.mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(STD, device=device).view(1, 3, 1, 1) * 255

    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        return (images.float() - self.mean).div_(self.std)

"""From an image file to the tensors that a network sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from issbench.bench.engine.seeds import derive_seed
from issbench.bench.recipe import Recipe
from issbench.scenarios.decoded import Pairs
from issbench.scenarios.memory import Memory
from issbench.scenarios.transforms import LabelledImage, evaluation_pair, training_pair
from issbench.scenarios.views import View

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as its weights expect


class Samples(TorchDataset[LabelledImage]):
    """Pairs of a view, cut as in the test; an index is a row."""

    def __init__(self, pairs: Pairs, view: View, recipe: Recipe):
        self.pairs, self.view, self.recipe = pairs, view, recipe

    def __len__(self) -> int:
        return len(self.view.ids)

    def row(self, index: Any) -> int:
        """The row of an index."""
        return int(index)

    def sample(self, row: int) -> str:
        """The id of the image in a row."""
        return self.view.ids[row]

    def __getitem__(self, index: Any) -> LabelledImage:
        return evaluation_pair(*self.pairs.pair(self.view.ids[index]), self.view.table, self.recipe.crop)


class TrainingSamples(Samples):
    """Pairs of a view and after them those of the memory, augmented; an index is (epoch, row)."""

    def __init__(self, pairs: Pairs, view: View, recipe: Recipe, seed: int, step: int, memory: Memory):
        super().__init__(pairs, view, recipe)
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
        seed = derive_seed(self.seed, "augmentation", self.step, epoch, sample)
        area = recipe.scale_min, recipe.scale_max
        return training_pair(*self.pairs.pair(sample), table, recipe.crop, area, seed)


class Normalise:
    """Images uint8 [B, 3, H, W] as networks see them: float, normalised, channels-last, on a device."""

    def __init__(self, device: torch.device):
        self.device = device
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (MEAN, STD))
        self.scale, self.shift = ((1 / (255 * std)).float().to(device), (-mean / std).float().to(device))

    def __call__(self, images: Tensor) -> Tensor:
        images = images.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        # By rows of pixels: with three values beside each other a CPU takes four times as long.
        batch, _, height, width = images.shape
        rows = images.permute(0, 2, 3, 1).reshape(batch * height, width * 3).float()
        torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width), out=rows)
        return rows.view(batch, height, width, 3).permute(0, 3, 1, 2)

"""How an image and its label map become a training or a test pair of fixed size."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as tvf

LabelledImage = tuple[Tensor, Tensor]
"""Image uint8 [3, S, S], in memory [S, S, 3] as it was read, and labels uint8 [S, S]."""

_RATIO = (3 / 4, 4 / 3)


def training_pair(
    image: Image.Image, label: np.ndarray, size: int, area: tuple[float, float], seed: int
) -> LabelledImage:
    """A random crop of the given range of areas, resized to size × size, then flipped with probability 1/2.

    The crop is torchvision's RandomResizedCrop: a drawn rectangle that does not fit is drawn again, ten times,
    then a centre crop is taken; so areas above 1 mostly end as the whole image. All randomness comes from
    `seed`, whatever the process (but not in two threads at once, which share torch's generator).
    """
    mask = Image.fromarray(label)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would log a stack trace for CUDA, too
        crop = RandomResizedCrop(size, scale=area, ratio=_RATIO).make_params([image])
        flip = bool(torch.rand(()) < 0.5)
    box = (crop["top"], crop["left"], crop["height"], crop["width"], [size, size])
    pixels = tvf.resized_crop(_pixels(image), *box, interpolation=InterpolationMode.BILINEAR)
    mask = tvf.resized_crop(mask, *box, interpolation=InterpolationMode.NEAREST)
    if flip:
        pixels, mask = tvf.horizontal_flip(pixels), tvf.horizontal_flip(mask)
    return pixels, tvf.pil_to_tensor(mask)[0]


def evaluation_pair(image: Image.Image, label: np.ndarray, size: int) -> LabelledImage:
    """Resized so that the shorter side has `size` pixels, then the centre size × size."""
    mask = Image.fromarray(label)
    pixels = tvf.resize(_pixels(image), [size], interpolation=InterpolationMode.BILINEAR)
    mask = tvf.resize(mask, [size], interpolation=InterpolationMode.NEAREST)
    return tvf.center_crop(pixels, [size, size]), tvf.pil_to_tensor(tvf.center_crop(mask, [size, size]))[0]


def _pixels(image: Image.Image) -> Tensor:
    """The image as a tensor, which is resized in about half the time, to the same values within 1. (Labels,
    of which a pixel's is one of another's or not, are left to PIL.)"""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)

"""How an image and its label map become a training or a test pair of fixed size."""

from __future__ import annotations

import math
import random
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as nnf
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tvf

LabelledImage = tuple[Tensor, Tensor]
"""Image uint8 [3, S, S], in memory [S, S, 3] as it was read, and labels uint8 [S, S]."""

_RATIO = (3 / 4, 4 / 3)
_TRIES = 10


class Crop(NamedTuple):
    """A rectangle of an image, in pixels, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool


def training_pair(
    image: np.ndarray, label: np.ndarray, table: np.ndarray, size: int, area: tuple[float, float], seed: int
) -> LabelledImage:
    """A random crop of the given range of areas, resized to size × size, then flipped with probability 1/2.

    `image` is uint8 [H, W, 3], `label` uint8 [H, W]; `table` (uint8 [256]) says how its values read.
    """
    return cut(image, label, table, size, draw_crop(label.shape[0], label.shape[1], area, random.Random(seed)))


def draw_crop(height: int, width: int, area: tuple[float, float], draw: random.Random) -> Crop:
    """A rectangle drawn as torchvision's RandomResizedCrop does: its share of the area evenly from `area`, the
    logarithm of width over height evenly from that of 3/4 to that of 4/3. One that does not fit is drawn again, ten
    times, then the largest centred one of such a shape is taken; so areas above 1 mostly end as the whole image.

    (Of a generator of Python, which is made in a twentieth of the time that torch takes.)
    """
    low, high = map(math.log, _RATIO)
    for _ in range(_TRIES):
        pixels = height * width * (area[0] + (area[1] - area[0]) * draw.random())
        ratio = math.exp(low + (high - low) * draw.random())
        h, w = round(math.sqrt(pixels / ratio)), round(math.sqrt(pixels * ratio))
        if 0 < h <= height and 0 < w <= width:
            top, left = int(draw.random() * (height - h + 1)), int(draw.random() * (width - w + 1))
            return Crop(top, left, h, w, draw.random() < 0.5)
    h, w = min(height, round(width / _RATIO[0])), min(width, round(height * _RATIO[1]))
    return Crop((height - h) // 2, (width - w) // 2, h, w, draw.random() < 0.5)


def cut(image: np.ndarray, label: np.ndarray, table: np.ndarray, size: int, crop: Crop) -> LabelledImage:
    """A rectangle, resized to size × size: the image bilinear with antialiasing, the labels nearest."""
    top, left, height, width, flip = crop
    # In one piece and with these strides torch knows it for channels-last, which takes a third of the time.
    part = np.ascontiguousarray(image[top : top + height, left : left + width])
    pixels = torch.from_numpy(part)[None].permute(0, 3, 1, 2)
    pixels = nnf.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)[0]
    places = 2 * np.arange(size) + 1
    rows, columns = top + places * height // (2 * size), left + places * width // (2 * size)
    if flip:
        pixels, columns = pixels.flip(2), columns[::-1]
    return pixels, torch.from_numpy(table.take(label.take(rows, 0).take(columns, 1)))


def evaluation_pair(image: np.ndarray, label: np.ndarray, table: np.ndarray, size: int) -> LabelledImage:
    """Resized so that the shorter side has `size` pixels, then the centre size × size; as `training_pair` has
    them."""
    mask = Image.fromarray(table.take(label))
    pixels = tvf.resize(torch.from_numpy(image).permute(2, 0, 1), [size], interpolation=InterpolationMode.BILINEAR)
    mask = tvf.resize(mask, [size], interpolation=InterpolationMode.NEAREST)
    return tvf.center_crop(pixels, [size, size]), tvf.pil_to_tensor(tvf.center_crop(mask, [size, size]))[0]

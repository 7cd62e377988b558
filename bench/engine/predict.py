"""Predictions of a finished step's network for single images, of any size."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from issbench.bench.engine.assemble import channels_per_step, frozen, make_network
from issbench.bench.engine.backbones import SIDES
from issbench.bench.engine.environment import arithmetic
from issbench.bench.engine.memory import is_out_of_memory, memory_told
from issbench.bench.engine.network import Network
from issbench.bench.engine.samples import Normalise
from issbench.bench.engine.stored import load_tensors, read_identity
from issbench.bench.engine.update import autocast
from issbench.bench.recipe import Recipe
from issbench.errors import UsageError
from issbench.methods.equations.common import best_channel
from issbench.methods.interface.head import Classifier
from issbench.methods.interface.registry import load_method
from issbench.methods.method import Output
from issbench.scenarios.datasets.images import read_image
from issbench.scenarios.errors import DataError

_LONGEST = 4
"""The longer side that the network sees is at most this many times the shorter side of its tests."""
_AT_ONCE = 8
"""Channels that are interpolated to an image's own size at a time, for the memory of large photographs."""
_ELSEWHERE = "try --device cpu, or end what else uses the memory"


@dataclass(frozen=True)
class Predictor:
    """The network after a step, ready to predict. `identity` is what the step's key is a hash of."""

    folder: Path
    identity: Mapping[str, Any]
    recipe: Recipe
    network: Network
    device: torch.device

    @property
    def num_channels(self) -> int:
        """Classes that the network tells apart, background included."""
        return self.network.num_classes

    @torch.no_grad()
    def output(self, images: Tensor, stages: bool = False) -> Output:
        """The network's output for images uint8 [B, 3, H, W], as it is tested."""
        doing = f"the prediction of {images.shape[0]} × {images.shape[3]} × {images.shape[2]} pixels"
        with memory_told(doing, self.device, _ELSEWHERE), arithmetic(self.device):
            return self._output(Normalise(self.device)(images), stages)

    def labels(self, images: Tensor) -> np.ndarray:
        """The predicted channels uint8 [B, H, W] of images uint8 [B, 3, H, W]."""
        return best_channel(self.output(images).scores).byte().cpu().numpy()

    @torch.no_grad()
    def predict(self, image: Image.Image) -> np.ndarray:
        """The predicted channels uint8 [H, W] of an RGB image of any size.

        The image is resized as in the test, its shorter side to the crop of the recipe, but nothing is cut off: it
        is padded to whole strides, and the scores without the padding are interpolated to the image's own size.
        """
        remedy = f"scale the image down, or {_ELSEWHERE}"
        with memory_told(f"the prediction of {image.width} × {image.height} pixels", self.device, remedy):
            return self._predict(image)

    def _predict(self, image: Image.Image) -> np.ndarray:
        width, height = seen_size(image.size, self.recipe.crop)
        small = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1)[None]
        with arithmetic(self.device):
            scores = self._padded(Normalise(self.device)(pixels)).scores[:, :, :height, :width]
            return _best(scores, (image.height, image.width)).cpu().numpy()

    def _padded(self, images: Tensor) -> Output:
        """The output for images of any size, padded to whole strides, or to the windows of the
        backbone's attention. UsageError where that is made for one size."""
        height, width = images.shape[2:]
        reason = ""
        for side in (self.recipe.output_stride, *SIDES):
            try:
                # Zeros after the normalisation, as the network's own convolutions pad.
                return self._output(nnf.pad(images, (0, -width % side, 0, -height % side)))
            except (AssertionError, RuntimeError, ValueError) as error:  # each of timm's families has its own
                if is_out_of_memory(error):
                    raise
                reason = reason or str(error).splitlines()[0]
        raise UsageError(
            f"backbone {self.recipe.backbone} cannot work on images of {width} × {height} pixels ({reason}): it "
            f"was made for {self.recipe.crop} × {self.recipe.crop}; cut the image to a square"
        )

    def _output(self, images: Tensor, stages: bool = False) -> Output:
        # On the CPU single precision is faster, also for a network that was trained on a GPU in half precision.
        recipe = self.recipe if self.device.type == "cuda" else replace(self.recipe, precision="fp32")
        with autocast(self.device, recipe):
            output: Output = self.network(images, stages)
        return output


def seen_size(size: tuple[int, int], crop: int) -> tuple[int, int]:
    """The (width, height) at which the network sees an image: the same aspect, the shorter side `crop` pixels,
    unless the longer one would then have more than four times as many."""
    scale = min(crop / min(size), _LONGEST * crop / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _best(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """The class with the highest score at each pixel of the given (H, W): uint8 [H, W]."""
    best = torch.full(size, -torch.inf, device=scores.device)
    channel = torch.zeros(size, dtype=torch.uint8, device=scores.device)
    for start in range(0, scores.shape[1], _AT_ONCE):
        some = nnf.interpolate(scores[:, start : start + _AT_ONCE], size, mode="bilinear", align_corners=False)[0]
        highest, which = some.max(dim=0)
        better = highest > best
        channel[better] = (which[better] + start).byte()
        best = torch.where(better, highest, best)
    return channel


def load_predictor(folder: Path, device: torch.device) -> Predictor:
    """The network of a step's folder in a run store. UsageError where it is not one, or is damaged."""
    if not (folder / "identity.json").is_file() or not (folder / "weights.safetensors").is_file():
        raise UsageError(f"{folder} is not a finished step (a folder steps/KEY with weights.safetensors)")
    with memory_told(f"the network of {folder}", device, _ELSEWHERE):
        identity, recipe, network = _read_network(folder, device)
    return Predictor(folder, identity, recipe, network, device)


def _read_network(folder: Path, device: torch.device) -> tuple[dict[str, Any], Recipe, Network]:
    key = folder.resolve().name
    try:
        identity = read_identity(folder, key)
        recipe = Recipe(**identity["recipe"])
        channels = channels_per_step(tuple(identity["classes_per_step"]))
        head = load_method(identity["method"]["name"]).Head if identity.get("own_head") else Classifier
        network = make_network(recipe, channels, "none", head)
        network = frozen(network, load_tensors(folder, "weights", key), device)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):  # the step is not at fault
            raise
        reason = str(error).splitlines()[0]
        raise UsageError(f"step {folder} cannot be read ({reason}); remove it and run again") from None
    return identity, recipe, network


def read_photo(path: Path) -> Image.Image:
    """An image that the user named, read as those of the data. UsageError where that is not possible."""
    if os.path.isdir(path):  # noqa: PTH112  # unlike Path, it raises nothing
        raise UsageError(f"{path} is a folder; name its images, as in {path}/*.jpg")
    if not os.path.lexists(path):
        raise UsageError(f"no image {path}; check the name")
    try:
        return read_image(path)
    except DataError as error:
        raise UsageError(str(error)) from None

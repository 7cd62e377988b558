"""The network of all methods: timm backbone, DeepLab-v3's ASPP, and a classifier that grows by a group per step."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from issbench.bench.engine.backbones import make_backbone
from issbench.methods.method import Output

_ATROUS_RATES = {8: (12, 24, 36), 16: (6, 12, 18), 32: (3, 6, 9)}  # DeepLab-v3, by output stride


class Network(nn.Module):
    """Backbone, ASPP, and one 1×1 convolution per step as classifier.

    `channels_per_step`: classifier channels that each step adds, the first with the background.
    Input: normalised images [B, 3, H, W].
    """

    def __init__(
        self,
        backbone: str,
        weights: str,
        output_stride: int,
        aspp_channels: int,
        channels_per_step: Sequence[int],
    ):
        super().__init__()
        self.backbone = make_backbone(backbone, weights, output_stride)
        info: Any = self.backbone.feature_info
        self.encoder_channels, self.feature_channels = int(info.channels()[-1]), aspp_channels
        self.aspp = _make_aspp(self.encoder_channels, output_stride, aspp_channels)
        self.classifier = nn.ModuleList(nn.Conv2d(aspp_channels, count, 1) for count in channels_per_step)
        self._before_activation: dict[int, Tensor] = {}
        for index, name in enumerate(info.module_name()):
            self._watch_last_activation(index, name)

    @property
    def groups(self) -> list[nn.Conv2d]:
        """The classifier of each step."""
        return cast(list[nn.Conv2d], list(self.classifier))

    def forward(self, images: Tensor, stages: bool = False) -> Output:
        """The output for images; with `stages` also the four stages before their last activation."""
        maps = self.backbone(images)
        captured = tuple(self._before_activation.get(i, m) for i, m in enumerate(maps)) if stages else ()
        self._before_activation.clear()
        features = self.aspp(maps[-1])
        logits = torch.cat([group(features) for group in self.groups], dim=1)
        return Output(logits, features, maps[-1], captured, (images.shape[2], images.shape[3]))

    def _watch_last_activation(self, index: int, stage: str) -> None:
        """Keep the input of a stage's last activation, where its last block ends in one (ResNets, RegNets).

        Blocks that end without an activation (EfficientNet, ConvNeXt) need nothing: their output is it.
        """
        block = _module_of_stage(self.backbone, stage)
        while isinstance(block, nn.Sequential | nn.ModuleList) or hasattr(block, "blocks"):
            block = list(getattr(block, "blocks", block).children())[-1]
        activation = next((getattr(block, name) for name in ("act3", "act2") if hasattr(block, name)), None)
        if activation is None:
            return
        activation.inplace = False  # else the map would be changed after it was kept

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._before_activation[index] = inputs[0]

        activation.register_forward_pre_hook(keep)


def _module_of_stage(backbone: nn.Module, name: str) -> nn.Module:
    """A stage by the name in `feature_info`; timm's feature wrappers write dots as underscores."""
    flat = name.replace(".", "_")
    return getattr(backbone, flat) if hasattr(backbone, flat) else backbone.get_submodule(name)


def _make_aspp(in_channels: int, output_stride: int, channels: int) -> ASPP:
    aspp = ASPP(in_channels, _ATROUS_RATES[output_stride], channels)
    # torchvision ends in dropout, which the code bases of this field do not have and distillation would feel.
    aspp.project = aspp.project[:-1]
    return aspp


def start_new_classes(network: Network, how: Literal["default", "background"]) -> None:
    """Initialise the last group of the classifier.

    `background` (MiB, eq. 10): each new class gets the background's weight, and its bias and the background's
    become the old background bias − log(new classes + 1), so that background and new classes together start
    with the probability that the old background had. `default` leaves the random initialisation.
    """
    if how == "default":
        return
    first, new = network.groups[0], network.groups[-1]
    assert first.bias is not None and new.bias is not None  # they are made with one
    with torch.no_grad():
        bias = first.bias[0] - log(new.out_channels + 1)
        new.weight.copy_(first.weight[:1].expand_as(new.weight))
        new.bias.copy_(bias)
        first.bias[0] = bias

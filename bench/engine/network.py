"""The network of all methods: timm backbone, DeepLab-v3's ASPP, and a head that grows with each step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import log, sqrt
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP

from issbench.bench.engine.backbones import make_backbone, try_backbone
from issbench.methods.interface.head import Classifier, Head
from issbench.methods.method import Output

_ATROUS_RATES = {8: (12, 24, 32), 14: (6, 12, 18), 16: (6, 12, 18), 32: (3, 6, 9)}
"""By output stride, at 8 and 16 those of the released networks (DeepLab-v3 has 36 for 32)."""
_SLOPE = 0.01
"""Of the leaky ReLU in the released networks."""


class Network(nn.Module):
    """Backbone, ASPP, and a head as classifier, one 1×1 convolution per step unless the method has its own.

    `classes_per_step`: classes that each step adds, the first with the background. `crop`: the side of the images,
    which some backbones are made for. `activation`: the backbone's own and ReLU in the ASPP, or leaky ReLU in the
    place of every ReLU of the two, as in the released networks. Input: normalised images [B, 3, H, W].
    """

    def __init__(
        self,
        backbone: str,
        weights: str,
        output_stride: int,
        aspp_channels: int,
        classes_per_step: Sequence[int],
        head: type[Head] = Classifier,
        *,
        crop: int = 256,
        activation: Literal["own", "leaky_relu"] = "own",
    ):
        super().__init__()
        self.backbone = make_backbone(backbone, weights, output_stride, crop)
        self.channels_last = try_backbone(backbone, output_stride, crop).channels_last
        info: Any = self.backbone.feature_info
        self.encoder_channels, self.feature_channels = int(info.channels()[-1]), aspp_channels
        self.aspp = _make_aspp(self.encoder_channels, output_stride, aspp_channels)
        self.classifier = head(aspp_channels, classes_per_step)
        self.num_classes = sum(classes_per_step)
        if activation == "leaky_relu":
            _make_leaky(self.backbone)
            _make_leaky(self.aspp)
        self._activated: _Activated = {}
        for index, name in enumerate(info.module_name()):
            _watch(_last_activation(self.backbone, name), index, self._activated)

    def forward(self, images: Tensor, stages: bool = False) -> Output:
        """The output for images; with `stages` also the four stages before their last activation."""
        try:
            maps = self.backbone(images)
            if self.channels_last:
                maps = [each.permute(0, 3, 1, 2) for each in maps]
            captured = tuple(self._before_activation(i, each) for i, each in enumerate(maps)) if stages else ()
        finally:
            self._activated.clear()
        features = self.aspp(maps[-1])
        size = images.shape[2], images.shape[3]
        return Output(self.classifier(features), features, maps[-1], captured, size, self.classifier.scores)

    def _before_activation(self, index: int, stage: Tensor) -> Tensor:
        """A stage before the activation that it ends in (ResNets, RegNets). Where it ends in none (EfficientNet,
        ConvNeXt; NFNets, whose last activation stands before a convolution) it is that already."""
        before, after = self._activated.get(index, (stage, None))
        return before if after is stage else stage


_Activated = dict[int, tuple[Tensor, Tensor]]
"""Input and output of the last activation in each stage, during a forward pass."""


def _watch(activation: Any, index: int, activated: _Activated) -> None:
    """Keep what an activation gets and gives. Its hook must not know the network, which would then be in a cycle of
    references and live on until the next garbage collection."""
    if activation is not None:
        activation.inplace = False  # else the map would be changed after it was kept
        activation.register_forward_hook(partial(_keep, activated, index))


def _keep(activated: _Activated, index: int, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    activated[index] = inputs[0], output


def _last_activation(backbone: nn.Module, stage: str) -> nn.Module | None:
    """The last activation in the last block of a stage, by the names that timm's blocks have for it."""
    modules = dict(backbone.named_modules())
    # timm's feature wrappers write dots as underscores.
    block: Any = modules.get(stage.replace(".", "_"), modules.get(stage))
    while isinstance(block, nn.Sequential | nn.ModuleList) or hasattr(block, "blocks"):
        block = next(reversed([*getattr(block, "blocks", block).children()]), None)
    return next((getattr(block, name) for name in ("act3", "act2") if hasattr(block, name)), None)


def _make_leaky(network: nn.Module) -> None:
    """Put leaky ReLUs in the place of ReLUs."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.LeakyReLU(_SLOPE, child.inplace))


def _make_aspp(in_channels: int, output_stride: int, channels: int) -> ASPP:
    """torchvision's ASPP, started as in the released networks (PLOP's modules/deeplab.py): normal weights after
    Glorot, with gain √2. There the pooled branch has a projection of its own, whose columns are the last here."""
    aspp = ASPP(in_channels, _ATROUS_RATES[output_stride], channels)
    # torchvision ends in dropout, which the code bases of this field do not have and distillation would feel.
    aspp.project = aspp.project[:-1]
    for module in aspp.convs.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_normal_(module.weight, sqrt(2))
    with torch.no_grad():
        weight = cast(nn.Conv2d, aspp.project[0]).weight
        for columns in (weight[:, :-channels], weight[:, -channels:]):
            nn.init.xavier_normal_(columns, sqrt(2))
    return aspp


def start_new_classes(network: Network, how: Literal["default", "background"]) -> None:
    """Initialise the last group of a `Classifier`.

    `background` (MiB, eq. 10): each new class gets the background's weight, and its bias and the background's
    become the old background bias − log(new classes + 1), so that background and new classes together start
    with the probability that the old background had. `default` leaves the random initialisation.
    """
    if how == "default":
        return
    groups = cast(list[nn.Conv2d], list(network.classifier.children()))
    first, new = groups[0], groups[-1]
    assert first.bias is not None and new.bias is not None  # they are made with one
    with torch.no_grad():
        bias = first.bias[0] - log(new.out_channels + 1)
        new.weight.copy_(first.weight[:1].expand_as(new.weight))
        new.bias.copy_(bias)
        first.bias[0] = bias

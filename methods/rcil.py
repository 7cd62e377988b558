"""RCIL: Zhang et al., Representation Compensation Networks for Continual Semantic Segmentation, CVPR 2022."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from issbench.methods import functional as fn
from issbench.methods.interface.numbers import Weight
from issbench.methods.method import Batch, Batches
from issbench.methods.mib import MiB, MiBOptions
from issbench.methods.shared.branches import add_branches, merge_branches
from issbench.methods.shared.maps import distilled_maps, growth


@dataclass(frozen=True, kw_only=True)
class RCILOptions(MiBOptions):
    """Weights of the distillation of probabilities; of the spatial distillation of the feature maps and of the
    logits; and of the channel distillation of the stages and of the ASPP output."""

    distillation: Weight = 100.0
    spatial: Weight = 0.01
    spatial_logits: Weight = 0.0005
    channel: Weight = 0.01
    channel_aspp: Weight = 0.0005


class RCIL(MiB):
    """RCIL: MiB's losses on two branches, one frozen, merged after each step, with pooled-cube distillation."""

    name = "rcil"
    title = "RCIL"
    table_order = 120
    colour, marker, dashes = "#009E73", "P", "-"
    cite = "zhang2022representation"
    Options = RCILOptions
    published = {
        "ade": {"spatial": 5e-6, "spatial_logits": 5e-7, "channel": 5e-6, "channel_aspp": 5e-7},
        "cityscapes": {
            "distillation": 0.0,
            "spatial": 5e-4,
            "spatial_logits": 1e-4,
            "channel": 1e-4,
            "channel_aspp": 0.0,
        },
    }
    uses_stages = True

    def prepare(self, network: nn.Module) -> None:
        super().prepare(network)
        add_branches(network)

    def terms(self, batch: Batch, targets: Tensor) -> dict[str, Tensor]:
        """MiB's, and pooled-cube distillation: weighted, mean over the six (spatial) and five (channel) maps."""
        options, maps, scale = self.options, distilled_maps(batch), growth(self.step)
        spatial = [options.spatial] * 5 + [options.spatial_logits]
        channel = [options.channel] * 4 + [options.channel_aspp]
        cubes = [w * fn.pooled_cube_spatial(*pair) for w, pair in zip(spatial, maps, strict=True)]
        lines = [w * fn.pooled_cube_channel(*pair) for w, pair in zip(channel, maps[:5], strict=True)]
        return {
            **super().terms(batch, targets),
            "spatial": scale * torch.stack(cubes).mean(),
            "channel": scale * torch.stack(lines).mean(),
        }

    def end(self, network: nn.Module, batches: Batches) -> None:
        super().end(network, batches)
        merge_branches(network)

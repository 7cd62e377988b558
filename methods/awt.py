"""AWT: Goswami et al., Attribution-aware Weight Transfer: A Warm-Start Initialization for Class-Incremental
Semantic Segmentation, WACV 2023."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from issbench.methods.interface.numbers import Share
from issbench.methods.method import IGNORE, Batches
from issbench.methods.mib import MiB, MiBOptions
from issbench.methods.shared.background import nearest_labels
from issbench.methods.shared.collectives import total


@dataclass(frozen=True, kw_only=True)
class AWTOptions(MiBOptions):
    """`transferred`: the share of the channels in which new classes get the background's weight."""

    transferred: Share = 0.25


class AWT(MiB):
    """AWT: MiB, whose new classes start from the background's weight where it saw them as background."""

    name = "awt"
    title = "AWT"
    table_order = 98
    colour, marker, dashes = "#BCBD22", "4", "-"
    cite = "goswami2023attribution"
    Options = AWTOptions
    published = {}  # its scripts leave MiB's weight at 10 everywhere
    new_classifier = "default"

    def begin(self, network: nn.Module, batches: Batches, previous: Mapping[str, Tensor]) -> None:
        """Add the background's weights to the random ones of the new classes, in the channels of the features that
        speak most for the background at pixels of new classes."""
        super().begin(network, batches, previous)
        if not self.step.num_new:
            return
        classifier = cast(nn.ModuleList, network.get_submodule("classifier"))
        background = cast(nn.Conv2d, classifier[0]).weight[0]
        relevance = self._attributions(network, batches, background)
        count = round(self.options.transferred * len(relevance))
        chosen = torch.zeros_like(relevance).index_fill(0, relevance.topk(count).indices, 1)
        cast(nn.Conv2d, classifier[-1]).weight += chosen[:, None, None] * background

    def _attributions(self, network: nn.Module, batches: Batches, background: Tensor) -> Tensor:
        """Integrated gradients of the background's logit, from a grey image to the step's, by channel of the
        features [D]: the largest entry of the mean map over the images that show a new class. The logit is linear
        in the features, so its integrated gradient is weight · difference."""
        sums, images, baseline = torch.zeros_like(background), torch.zeros_like(background[0]), None
        for batch in batches():
            features = batch.teacher.features.float()
            if baseline is None:
                baseline = _of_a_grey_image(network, batch.teacher.size, features.device)
            labels = nearest_labels(batch.labels, features)
            new = (labels >= self.step.num_old) & (labels != IGNORE)
            sums = sums + (background * (features - baseline) * new[:, None]).sum(dim=0)
            images = images + new.flatten(1).any(dim=1).sum()
        return (total(sums) / total(images).clamp(min=1)).flatten(1).amax(dim=1)


def _of_a_grey_image(network: nn.Module, size: tuple[int, int], device: torch.device) -> Tensor:
    """The features [1, D, h, w] of an image of the mean colour, in evaluation."""
    training = network.training
    features = network.eval()(torch.zeros(1, 3, *size, device=device)).features
    network.train(training)
    return cast(Tensor, features.float())

"""Evaluation of a network: one pass over the test images, in which every metric counts what it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from issbench.bench.engine import distributed
from issbench.bench.engine.loading import Share
from issbench.bench.metrics import Metric, counters
from issbench.methods.equations.common import best_channel


@torch.no_grad()
def count_images(
    network: nn.Module, shares: Iterator[Share], metrics: Iterable[Metric], num_classes: int
) -> dict[str, np.ndarray]:
    """For each kind of counts that the metrics are made of, those of each test image: int64
    `[images, 3, num_classes]`, in the order of the batches.

    The counts stay on the device until the last batch is through. Several processes count a part of each batch, and
    all of them get the counts of all images.
    """
    counting = {kind: owner() for kind, owner in counters(metrics).items()}
    found: dict[str, list[Tensor]] = {kind: [] for kind in counting}
    for share in shares:
        prediction = best_channel(network(share.images).scores)
        for kind, metric in counting.items():
            found[kind].append(metric.count(prediction, share.labels, num_classes))
    return {kind: _of_all_processes(batches, num_classes) for kind, batches in found.items()}


def _of_all_processes(batches: list[Tensor], num_classes: int) -> np.ndarray:
    """The counts of all images, batch by batch, from those that each process has of each batch."""
    own = [batch.numpy().astype(np.int64) for batch in _to_cpu(batches)]
    images = [part for batch in zip(*distributed.all_gather(own), strict=True) for part in batch]
    return np.concatenate(images) if images else np.zeros((0, 3, num_classes), np.int64)


def _to_cpu(tensors: list[Tensor]) -> Sequence[Tensor]:
    """In one transfer."""
    return torch.cat(tensors).cpu().split([len(tensor) for tensor in tensors]) if tensors else ()

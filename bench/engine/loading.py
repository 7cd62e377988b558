"""Batches of a step's images on the device, read by worker processes and shared among the processes that train."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from issbench.bench.cores import cores
from issbench.bench.engine import distributed
from issbench.bench.engine.interruption import Interruption
from issbench.bench.engine.order import BatchOrder
from issbench.bench.engine.readers import batches_of
from issbench.bench.engine.samples import Normalise, Samples, TrainingSamples
from issbench.bench.recipe import Recipe
from issbench.errors import UsageError
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.decoded import Pairs
from issbench.scenarios.memory import NO_MEMORY, Memory
from issbench.scenarios.views import View


@dataclass(frozen=True)
class Share:
    """What one process has of a batch: images (float, normalised, channels-last) and labels (int64), on the
    device."""

    images: Tensor
    labels: Tensor
    batch: int
    """Images of the whole batch. A share of the last batch of a pass may have none."""
    replayed: Tensor | None = None
    """Which images are exemplars of earlier steps, bool; None where there are none."""

    @property
    def weight(self) -> float:
        """The weight of this process's mean: the mean over the processes of weighted means is the batch's."""
        return len(self.images) * distributed.world_size() / self.batch


class Loader:
    """Batches of which each process has a share."""

    def __init__(
        self,
        pairs: Pairs,
        recipe: Recipe,
        device: torch.device,
        workers: int | None,
        interruption: Interruption | None = None,
    ):
        self.pairs, self.recipe, self.device = pairs, recipe, device
        self.workers = default_workers(pairs.dataset) if workers is None else workers
        self.interruption = interruption or Interruption()
        self._normalise = Normalise(device)

    def training(self, view: View, order: BatchOrder, start: int, memory: Memory = NO_MEMORY) -> Iterator[Share]:
        """The batches of a step from iteration `start` on, augmented. UsageError if a batch has fewer images than
        there are processes."""
        if order.batch < distributed.world_size():
            raise UsageError(
                f"a batch of {order.batch} images cannot be split among {distributed.world_size()} processes; "
                "start fewer of them, or raise the batch (--set batch=…)"
            )
        samples = TrainingSamples(self.pairs, view, self.recipe, order.seed, order.step, memory)
        batches = (order[iteration] for iteration in range(start, len(order)))
        replayed = None
        if any(order.replayed):
            replayed = torch.tensor(own_share(order.replayed), device=self.device)
        return self._shares(samples, batches, repeat(order.batch), replayed)

    def once(self, view: View) -> Iterator[Share]:
        """Each image of a view once, in order, without augmentation. Stops between two batches where a stop was
        requested (KeyboardInterrupt)."""
        batch, rows = self.recipe.batch, range(len(view.ids))
        batches = [list(rows[first : first + batch]) for first in rows[::batch]]
        samples = Samples(self.pairs, view, self.recipe)
        for share in self._shares(samples, batches, map(len, batches)):
            self.interruption.check()
            yield share

    def _shares(
        self,
        samples: Samples,
        batches: Iterable[list[Any]],
        sizes: Iterable[int],
        replayed: Tensor | None = None,
    ) -> Iterator[Share]:
        """This process's shares of batches, which have `sizes`. In each of them the same places are `replayed`."""
        rows = (list(own_share(batch)) or batch[:1] for batch in batches)  # none cannot be read
        read = batches_of(samples, rows, self.workers, pin_memory=self.device.type == "cuda")
        for (images, labels), size in zip(read, sizes, strict=False):
            if not own_share(range(size)):
                images, labels = images[:0], labels[:0]
            labels = labels.to(self.device, non_blocking=True).long()
            yield Share(self._normalise(images), labels, size, replayed)


def own_share(rows: Sequence[Any]) -> Sequence[Any]:
    """The rows of a batch that this process has: as many as the others, or one more or less."""
    number, of = distributed.rank(), distributed.world_size()
    return rows[len(rows) * number // of : len(rows) * (number + 1) // of]


def default_workers(dataset: Dataset) -> int:
    """Worker processes for reading: none for data in memory, else one per core of this process's share, up to 8."""
    share = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return 0 if dataset.in_memory else max(1, min(8, share))

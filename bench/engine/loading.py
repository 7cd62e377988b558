"""From a step's view of a dataset to batches on the device."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from issbench.bench.engine import distributed as processes
from issbench.bench.engine.interruption import SIGNALS, Interruption
from issbench.bench.engine.seeds import derive_seed
from issbench.errors import UsageError
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.errors import DataError
from issbench.scenarios.transforms import LabelledImage, evaluation_pair, training_pair
from issbench.scenarios.views import View

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as its weights expect


class _Samples(TorchDataset[LabelledImage]):
    """Pairs of a view; an index is (epoch, row) with augmentation, or a row without."""

    def __init__(self, dataset: Dataset, view: View, settings: dict[str, Any], seed: tuple[object, ...] | None):
        self.dataset, self.view, self.crop, self.seed = dataset, view, settings["crop"], seed
        self.area = (settings["scale_min"], settings["scale_max"])

    def __len__(self) -> int:
        return len(self.view.ids)

    def __getitem__(self, index: Any) -> LabelledImage:
        if self.seed is None:
            image, label = self._read(self.view.ids[index])
            return evaluation_pair(image, label, self.crop)
        epoch, row = index
        sample = self.view.ids[row]
        image, label = self._read(sample)
        base, *names = self.seed
        return training_pair(image, label, self.crop, self.area, derive_seed(base, *names, epoch, sample))

    def _read(self, sample: str) -> tuple[Any, np.ndarray]:
        image, label = self.dataset.image(sample), self.dataset.label(sample)
        if image.size != label.shape[::-1]:
            raise DataError(
                f"{self.dataset.name}: image {sample} has {image.size[0]}×{image.size[1]} pixels, but its label "
                f"map {label.shape[1]}×{label.shape[0]}; both must agree (see `bench data check`)"
            )
        return image, self.view.table[label]


class BatchOrder(Sequence[list[tuple[int, int]]]):
    """The batches of a step: each a list of (epoch, row).

    An epoch is a fresh permutation of the rows, cut into whole batches; the rest is dropped, as the published
    codes do. A step with fewer images than a batch fills each batch from several permutations in a row.
    """

    def __init__(self, rows: int, batch: int, epochs: int, seed: int, step: int):
        self.rows, self.batch, self.seed, self.step = rows, batch, seed, step
        self.per_epoch = max(1, rows // batch)
        self.epochs = epochs
        self._drawn: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def __len__(self) -> int:
        return self.per_epoch * self.epochs

    def __getitem__(self, iteration: int) -> list[tuple[int, int]]:
        if not 0 <= iteration < len(self):
            raise IndexError(iteration)
        if self.rows >= self.batch:
            epoch, place = divmod(iteration, self.per_epoch)
            rows = self._permutation(epoch)[place * self.batch : (place + 1) * self.batch]
            return [(epoch, int(row)) for row in rows]
        places = range(iteration * self.batch, (iteration + 1) * self.batch)
        return [(p // self.rows, int(self._permutation(p // self.rows)[p % self.rows])) for p in places]

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._drawn[0] != epoch:
            seed = derive_seed(self.seed, "data order", self.step, epoch)
            self._drawn = epoch, np.random.Generator(np.random.PCG64(seed)).permutation(self.rows)
        return self._drawn[1]


@dataclass(frozen=True)
class Part:
    """What one process has of a batch: images (float, normalised, channels-last) and labels (int64), on the
    device."""

    images: Tensor
    labels: Tensor
    whole: int
    """Images of the batch. A part of the last batch of a pass may have none."""

    @property
    def share(self) -> float:
        """The weight of this process's mean: the mean over the processes of weighted means is the batch's."""
        return len(self.images) * processes.count() / self.whole


class Loader:
    """Batches of which each process has a part."""

    def __init__(
        self,
        dataset: Dataset,
        settings: dict[str, Any],
        device: torch.device,
        workers: int | None,
        asked: Interruption | None = None,
    ):
        self.dataset, self.settings, self.device = dataset, settings, device
        self.workers = default_workers(dataset) if workers is None else workers
        self.asked = asked or Interruption()
        self._mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(STD, device=device).view(1, 3, 1, 1) * 255

    def training(self, view: View, order: BatchOrder, start: int) -> Iterator[Part]:
        """The batches of a step from iteration `start` on, augmented. UsageError if a batch has fewer images than
        there are processes."""
        if order.batch < processes.count():
            raise UsageError(
                f"a batch of {order.batch} images cannot be split among {processes.count()} processes; start fewer "
                "of them, or raise the batch (--set batch=…)"
            )
        samples = _Samples(self.dataset, view, self.settings, (order.seed, "augmentation", order.step))
        return self._parts(samples, map(order.__getitem__, range(start, len(order))), repeat(order.batch))

    def once(self, view: View) -> Iterator[Part]:
        """Each image of a view once, in order, without augmentation. Stops between two batches where asked to
        (KeyboardInterrupt)."""
        samples = _Samples(self.dataset, view, self.settings, None)
        batch, rows = self.settings["batch"], range(len(view.ids))
        batches = [list(rows[first : first + batch]) for first in rows[::batch]]
        for part in self._parts(samples, batches, map(len, batches)):
            self.asked.check()
            yield part

    def _parts(self, samples: _Samples, batches: Iterable[list[Any]], sizes: Iterable[int]) -> Iterator[Part]:
        """This process's parts of batches, which have `sizes`."""
        rows = (own_part(batch) or batch[:1] for batch in batches)  # none cannot be read
        try:
            for (images, labels), whole in zip(self._read(samples, rows), sizes, strict=False):
                if not own_part(range(whole)):
                    images, labels = images[:0], labels[:0]
                images = images.to(self.device, non_blocking=True).float()
                images = ((images - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
                yield Part(images, labels.to(self.device, non_blocking=True).long(), whole)
        except DataError as error:
            # A worker process adds its traceback to the message; the user needs the last line.
            message = str(error).strip().splitlines()[-1].removeprefix("issbench.scenarios.errors.DataError: ")
            # torch's frames hold the workers in a cycle of references; to collect it takes 5 s for each worker.
            traceback.clear_frames(error.__traceback__)
            raise DataError(message) from None

    def _read(self, samples: _Samples, rows: Iterable[list[Any]]) -> DataLoader[LabelledImage]:
        return DataLoader(
            samples,
            batch_sampler=rows,
            num_workers=self.workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_quiet_worker,
        )


def own_part(rows: Sequence[Any]) -> Sequence[Any]:
    """The rows of a batch that this process has: as many as the others, or one more or less."""
    number, of = processes.rank(), processes.count()
    return rows[len(rows) * number // of : len(rows) * (number + 1) // of]


def default_workers(dataset: Dataset) -> int:
    """Worker processes for reading: none for data in memory, else one per core of this process's part, up to 8."""
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return 0 if dataset.in_memory else max(1, min(8, cores))


def _quiet_worker(_: int) -> None:
    """Leave signals to the main process, which saves a checkpoint and then ends its workers; Slurm, like Ctrl-C,
    signals them all."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)

"""In which order a step sees its images. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from issbench.bench.engine.seeds import derive_seed


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

    @overload
    def __getitem__(self, iteration: int) -> list[tuple[int, int]]: ...

    @overload
    def __getitem__(self, iteration: slice) -> list[list[tuple[int, int]]]: ...

    def __getitem__(self, iteration: int | slice) -> list[tuple[int, int]] | list[list[tuple[int, int]]]:
        if isinstance(iteration, slice):
            return [self[i] for i in range(*iteration.indices(len(self)))]
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

"""In which order a step sees its images. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np

from issbench.bench.engine.seeds import derive_seed


class BatchOrder(Sequence[list[tuple[int, int]]]):
    """The batches of a step: each a list of (epoch, row).

    An epoch is a fresh permutation of the rows, cut into whole batches; the rest is dropped, as the published
    codes do. A step with fewer images than a batch fills each batch from several permutations in a row.

    The rows after those of the step are the `exemplars` of earlier steps: permutation after permutation of them
    takes the places of a `share` of each batch, evenly spread, and the images that stood there are left out.
    """

    def __init__(
        self, rows: int, batch: int, epochs: int, seed: int, step: int, exemplars: int = 0, share: float = 0.0
    ):
        self.rows, self.batch, self.seed, self.step, self.exemplars = rows, batch, seed, step, exemplars
        self.per_epoch = max(1, rows // batch)
        self.epochs = epochs
        self.share = share if exemplars else 0.0
        self._drawn: dict[str, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return self.per_epoch * self.epochs

    @cached_property
    def replayed(self) -> tuple[bool, ...]:
        """Which places of each batch have exemplars."""
        batch, replayed = self.batch, round(self.share * self.batch)
        return tuple((place + 1) * replayed // batch > place * replayed // batch for place in range(batch))

    @overload
    def __getitem__(self, iteration: int) -> list[tuple[int, int]]: ...

    @overload
    def __getitem__(self, iteration: slice) -> list[list[tuple[int, int]]]: ...

    def __getitem__(self, iteration: int | slice) -> list[tuple[int, int]] | list[list[tuple[int, int]]]:
        if isinstance(iteration, slice):
            return [self[i] for i in range(*iteration.indices(len(self)))]
        if not 0 <= iteration < len(self):
            raise IndexError(iteration)
        chosen = self._of_step(iteration)
        first = iteration * sum(self.replayed)
        exemplars = iter(range(first, first + self.batch))
        return [
            self._exemplar(next(exemplars)) if old else new for old, new in zip(self.replayed, chosen, strict=True)
        ]

    def _of_step(self, iteration: int) -> list[tuple[int, int]]:
        """A batch of the step's own images."""
        if self.rows >= self.batch:
            epoch, place = divmod(iteration, self.per_epoch)
            rows = self._permutation("data order", epoch, self.rows)[place * self.batch : (place + 1) * self.batch]
            return [(epoch, int(row)) for row in rows]
        places = range(iteration * self.batch, (iteration + 1) * self.batch)
        return [self._at(place, "data order", self.rows) for place in places]

    def _exemplar(self, place: int) -> tuple[int, int]:
        epoch, row = self._at(place, "exemplars", self.exemplars)
        return epoch, self.rows + row

    def _at(self, place: int, what: str, rows: int) -> tuple[int, int]:
        """The (epoch, row) at a place in a sequence of whole permutations."""
        epoch, within = divmod(place, rows)
        return epoch, int(self._permutation(what, epoch, rows)[within])

    def _permutation(self, what: str, epoch: int, rows: int) -> np.ndarray:
        if self._drawn.get(what, (-1,))[0] != epoch:
            seed = derive_seed(self.seed, what, self.step, epoch)
            self._drawn[what] = epoch, np.random.Generator(np.random.PCG64(seed)).permutation(rows)
        return self._drawn[what][1]

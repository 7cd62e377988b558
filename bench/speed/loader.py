"""Reading: batches as the engine reads them, in one process of one thread, against a plain pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import torch

from issbench.bench.engine.loading import Loader
from issbench.bench.engine.order import BatchOrder
from issbench.bench.recipe import Recipe
from issbench.bench.speed.measured import Row, row_of, timed
from issbench.bench.speed.peer import PlainPipeline
from issbench.scenarios.datasets.base import Dataset
from issbench.scenarios.decoded import Pairs
from issbench.scenarios.presence import presence
from issbench.scenarios.views import View

_CPU = torch.device("cpu")
_BATCH = 8


def measure_loader(
    dataset: Dataset, crops: tuple[int, ...], images: int, rounds: int | None, seconds: float
) -> Iterator[Row]:
    """For each crop a row of images read from files, and one of decoded images that were kept; base is the plain
    pipeline. `images` are read in each round; `seconds` is the time for all."""
    ids = dataset.ids("train")[:images]
    batch = min(_BATCH, len(ids))
    kept = Pairs(dataset, presence(dataset, "train"))
    share = seconds / (2 * len(crops))
    for crop in crops:
        recipe = Recipe(crop=crop, batch=batch)
        plain = PlainPipeline(dataset, crop, (recipe.scale_min, recipe.scale_max), torch.arange(256))
        for name, pairs in (("files", Pairs(dataset)), ("kept", kept)):
            ours, base = _pass(pairs, ids, recipe), _plain_pass(plain, ids, batch)
            number = len(ids) // batch * batch
            yield row_of(f"crop {crop}, {name}", timed(base), timed(ours), rounds, share, number)


def _pass(pairs: Pairs, ids: tuple[str, ...], recipe: Recipe) -> Callable[[], None]:
    """An epoch, as the engine reads it; each time another."""
    loader, view = Loader(pairs, recipe, _CPU, 0), View(ids, np.arange(256, dtype=np.uint8))
    seeds = iter(range(10**9))

    def read() -> None:
        for _ in loader.training(view, BatchOrder(len(ids), recipe.batch, 1, next(seeds), 1), 0):
            pass

    return read


def _plain_pass(plain: PlainPipeline, ids: tuple[str, ...], batch: int) -> Callable[[], None]:
    order = cycle(ids)

    def read() -> None:
        for _ in range(len(ids) // batch):
            plain.batch([next(order) for _ in range(batch)])

    return read

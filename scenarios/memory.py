"""Exemplar memory: which images of earlier steps a step sees again, and how their labels read there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from issbench.scenarios.presence import Presence, classes_of
from issbench.scenarios.views import StepData


@dataclass(frozen=True)
class Memory:
    """Images that were kept, in the order in which they were chosen."""

    ids: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    """The step in which each was drawn."""
    tables: tuple[np.ndarray, ...] = field(default=(), repr=False)
    """uint8 [256] for each step before: how the labels of images drawn there read."""

    def table(self, row: int) -> np.ndarray:
        """The table of an image, by its row."""
        return self.tables[self.steps[row]]


NO_MEMORY = Memory()


def keep(size: int, before: Memory, earlier: Sequence[StepData], presence: Sequence[Presence], seed: int) -> Memory:
    """The memory after the last of the `earlier` steps: at most `size` of the images that it had `before` that step
    and of those of the step, as many of each class as there are.

    The classes take turns, in an order drawn from `seed`, each with the first image, in an order of its own, that
    holds one of its labelled pixels and is not taken yet. An image that was in the memory keeps its step.
    """
    step = earlier[-1]
    known = {*before.ids}
    new = [sample for sample in step.train.ids if sample not in known]
    ids, steps = (*before.ids, *new), (*before.steps, *[step.index] * len(new))
    tables, held, drawn = tuple(each.train.table for each in earlier), classes_of(ids, presence), np.array(steps)
    first = 0 if step.domain else 1  # where labels hide nothing, channel 0 is a class as the others are
    channels = np.arange(first, step.num_classes)
    holds = np.zeros((len(ids), len(channels)), bool)
    for index, table in enumerate(tables):
        holds[drawn == index] = held[drawn == index] @ (table[: held.shape[1], None] == channels)
    chosen = _take_turns(holds, size, np.random.Generator(np.random.PCG64(seed)))
    return Memory(tuple(ids[i] for i in chosen), tuple(steps[i] for i in chosen), tables)


def _take_turns(holds: np.ndarray, size: int, random: np.random.Generator) -> list[int]:
    """Rows of `holds` [images, classes], at most `size`, each once. It ends when no class has an image left."""
    queues = [random.permutation(np.flatnonzero(column)).tolist()[::-1] for column in holds.T]
    turns = random.permutation(len(queues)).tolist()
    chosen: dict[int, None] = {}
    while any(queues) and len(chosen) < size:
        for turn in turns:
            queue = queues[turn]
            while queue and queue[-1] in chosen:
                queue.pop()
            if queue and len(chosen) < size:
                chosen[queue.pop()] = None
    return list(chosen)

"""Two methods over the cells that both have: the units, and what is known of their mean difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean

import numpy as np

from issbench.results.bootstrap import Interval, Resampled, paired_interval, resample, shared_deviation
from issbench.results.estimate import Estimate, chance_on_new_seed, estimate
from issbench.results.matched import MatchedRuns, known_scores, match, mixed
from issbench.results.runs import RecordError, Run
from issbench.results.units import LEVELS, Facts, Units, places, units

SEED = len(LEVELS) - 1


class Resamples:
    """What networks score on resampled test images, each network computed once."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._found: dict[Path, Resampled | RecordError] = {}

    def of(self, run: Run) -> Resampled:
        """Raises RecordError where a run has no counts of single images."""
        if run.path not in self._found:
            try:
                self._found[run.path] = resample(run, self.group)
            except RecordError as error:
                self._found[run.path] = error
        found = self._found[run.path]
        if isinstance(found, RecordError):
            raise found
        return found


@dataclass(frozen=True)
class Comparison:
    """Method `a` against `b` over the cells that both have, at least one; `scores` are their mIoU (%).

    `mixed`: cells of one scenario, setting and order are no repetitions of each other, and nothing is averaged.
    """

    a: str
    b: str
    cells: list[MatchedRuns]
    scores: list[tuple[float, float]]
    resamples: Resamples
    mixed: bool = False

    @cached_property
    def differences(self) -> dict[Facts, np.ndarray]:
        """a − b in points of each cell; of cells that are no repetitions the last."""
        pairs = zip(self.cells, self.scores, strict=True)
        return {cell.facts: np.array(round(one - other, 9)) for cell, (one, other) in pairs}

    @property
    def identical(self) -> bool:
        """Whether there is no difference in any cell."""
        return all(round(one - other, 9) == 0 for one, other in self.scores)

    @cached_property
    def units(self) -> Units:
        """What repeats, with the differences."""
        return units(self.differences)

    @property
    def difference(self) -> float:
        """The mean difference over units, in points."""
        return float(self.units.values.mean())

    @cached_property
    def estimate(self) -> Estimate | None:
        """What is known of the difference for other units; None for a single one, and for no repetitions."""
        if self.mixed or len(self.units) < 2:
            return None
        return estimate(self.units.values, self._shared or 0.0)

    @property
    def with_images(self) -> bool:
        """Whether the estimate holds the choice of test images, too: that of seeds does, where counts are there."""
        return self.estimate is not None and self._shared is not None

    @cached_property
    def _shared(self) -> float | None:
        if self.units.level < SEED:
            return None
        try:
            of = self.resamples.of
            return shared_deviation([(of(cell.runs[0]), of(cell.runs[1])) for cell in self.cells])
        except RecordError:
            return None

    @property
    def over(self) -> str:
        """What the estimate is over: `8 seeds, 200 test images`."""
        if not self.with_images:
            return self.units.over
        return f"{self.units.over}, {self.resamples.of(self.cells[0].runs[0]).images} test images"

    def on_images(self, cell: MatchedRuns) -> Interval:
        """The interval of two networks over test images. Raises RecordError where there are no counts of them."""
        return paired_interval(self.resamples.of(cell.runs[0]), self.resamples.of(cell.runs[1]))

    @property
    def new_seed(self) -> float | None:
        """The probability that a is above b on a new seed; None where no place has two seeds."""
        return None if self.mixed else chance_on_new_seed([seeds.tolist() for seeds in places(self.differences)])

    def led_by(self, order: Sequence[str]) -> Comparison:
        """The same with the method first that comes first in `order`."""
        if order.index(self.a) < order.index(self.b):
            return self
        cells = [MatchedRuns(cell.runs[::-1]) for cell in self.cells]
        scores = [(other, one) for one, other in self.scores]
        return Comparison(self.b, self.a, cells, scores, self.resamples, self.mixed)

    def noise(self) -> tuple[float, float, float] | None:
        """Standard deviations over seeds of a, b, and their paired difference, pooled over places; None where no
        place has two seeds."""
        pairs = zip(self.cells, self.scores, strict=True)
        values = {cell.facts: np.array([one, other, one - other]) for cell, (one, other) in pairs}
        found = [place for place in places(values) if len(place) > 1]
        if self.mixed or not found:
            return None
        freedom = sum(len(place) - 1 for place in found)
        a, b, both = np.sqrt(sum(((place - place.mean(axis=0)) ** 2).sum(axis=0) for place in found) / freedom)
        return float(a), float(b), float(both)


def comparison(runs: Sequence[Run], a: str, b: str, resamples: Resamples) -> tuple[Comparison | None, list[str]]:
    """Two methods, named as records have them, and notes on what is left out; None where they share no cell.

    Raises RecordError for a method that has no run.
    """
    cells, notes = match(runs, [a, b])
    known = known_scores(cells, resamples.group)
    if len(known) < len(cells):
        notes.append(f"Left out: {len(cells) - len(known)} cells in which group {resamples.group} has no mIoU.")
    if not known:
        return None, notes
    scores = [(one, other) for _, (one, other) in known]
    found = [cell for cell, _ in known]
    return Comparison(a, b, found, scores, resamples, mixed(found)), notes


def best_first(methods: Sequence[str], pairs: Sequence[Comparison]) -> list[str]:
    """Methods by their mean difference to each other over the cells that the two have: never by a mean over cells
    that others lack. Those that share no cell with another come last."""
    against: dict[str, list[float]] = {method: [] for method in methods}
    for pair in (pair for pair in pairs if not pair.mixed):
        against[pair.a].append(pair.difference)
        against[pair.b].append(-pair.difference)
    return sorted(methods, key=lambda method: -mean(against[method]) if against[method] else np.inf)

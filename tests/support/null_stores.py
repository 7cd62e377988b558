"""Stores of runs of which it is known what is true, and how often the rule of `bench compare` is wrong there."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
from made_records import one_record

from issbench.results.bootstrap import Resampled, paired_interval, resample_counts, shared_deviation
from issbench.results.claims import winner
from issbench.results.comparison import Comparison, Resamples
from issbench.results.counts import ClassGroup
from issbench.results.estimate import LEVEL, chance_on_new_seed, estimate
from issbench.results.image_counts import ImageCounts
from issbench.results.matched import MatchedRuns
from issbench.results.runs import Run
from issbench.results.significance import holm, ranking, signed_rank_chances
from issbench.results.units import units

ORDERS = ("natural", "B", "C", "D", "E")
SCENARIOS = tuple(f"voc_{base}-1" for base in range(19, 9, -1))


@dataclass(frozen=True)
class Design:
    """A store: how many scenarios, settings, class orders, seeds and methods it has, and how mIoU varies in it.

    Deviations are in points: `scenario` and `order` of what a method gains or loses in one of these, beside the
    others; `noise` of training, of the first method and of the others. `tails`: degrees of freedom of the t
    distribution of all of these; None for the normal one. `missing`: the share of runs that are not there.
    `scales`: how many times as large the noise is in the last scenario or order as in the first.
    """

    name: str
    scenarios: int = 1
    settings: int = 1
    orders: int = 1
    seeds: int = 1
    methods: int = 2
    scenario: float = 0.0
    order: float = 0.0
    noise: tuple[float, float] = (1.0, 1.0)
    tails: int | None = None
    missing: float = 0.0
    scales: float = 1.0

    def cells(self) -> list[tuple[int, int, int, int]]:
        """Scenario, setting, order and seed of each, as numbers."""
        return [*product(range(self.scenarios), range(self.settings), range(self.orders), range(self.seeds))]

    def draw(self, generator: np.random.Generator, gain: float = 0.0) -> np.ndarray:
        """mIoU (%) `[cells, methods]`; NaN where a run is missing. `gain`: of the first method, in points."""

        def random(*shape: int) -> np.ndarray:
            if self.tails is None:
                return generator.normal(size=shape)
            return generator.standard_t(self.tails, shape) / np.sqrt(self.tails / (self.tails - 2))

        cells = np.array(self.cells())
        scenario, setting, order, _ = cells.T
        share = (scenario * self.orders + order) / max(self.scenarios * self.orders - 1, 1)
        noise = random(len(cells), self.methods) * np.where(np.arange(self.methods) == 0, *self.noise)
        scores = 50 + random(len(cells), 1) * 2 + noise * self.scales ** share[:, None]
        scores += self.scenario * random(self.scenarios, self.methods)[scenario]
        scores += (
            self.order * random(self.scenarios, self.settings, self.orders, self.methods)[scenario, setting, order]
        )
        scores[:, 0] += gain
        scores[generator.random(scores.shape) < self.missing] = np.nan
        return scores

    def runs(self) -> list[list[Run]]:
        """The runs of each cell, one for each method; their scores stand elsewhere."""
        return [
            [
                _run(f"m{method}", SCENARIOS[scenario], ("overlapped", "disjoint")[setting], ORDERS[order], seed)
                for method in range(self.methods)
            ]
            for scenario, setting, order, seed in self.cells()
        ]


def _run(method: str, scenario: str, setting: str, order: str, seed: int) -> Run:
    record = one_record(method, scenario, setting, seed, order=order, scores=[{"all": 50.0}])
    record["steps"][-1]["evaluations"] = {}
    return Run(Path("store/runs") / f"{method}-{scenario}-{setting}-{order}-{seed}", record)


def compared(runs: list[list[Run]], scores: np.ndarray) -> Iterator[Comparison]:
    """Each pair of methods, over the cells that both have."""
    for a, b in combinations(range(scores.shape[1]), 2):
        there = np.flatnonzero(~np.isnan(scores[:, [a, b]]).any(axis=1))
        if len(there):
            cells = [MatchedRuns((runs[cell][a], runs[cell][b])) for cell in there]
            pairs = [(float(scores[cell, a]), float(scores[cell, b])) for cell in there]
            yield Comparison(f"m{a}", f"m{b}", cells, pairs, Resamples("all"))


@dataclass
class Tally:
    """What was said of stores: in how many something was called better, and how many intervals hold the truth."""

    stores: int = 0
    claims: int = 0
    intervals: int = 0
    held: int = 0

    @property
    def claimed(self) -> float:
        """The share of stores in which a method is called better than another."""
        return self.claims / self.stores

    @property
    def coverage(self) -> float:
        """The share of 95 % intervals that hold the true difference."""
        return self.held / self.intervals


def simulate(design: Design, draws: int, gain: float = 0.0, seed: int = 0) -> Tally:
    """Stores of a design, judged by the rule of `bench compare`. Raises nothing."""
    generator = np.random.default_rng(seed)
    runs, tally = design.runs(), Tally()
    gc.freeze()  # statsmodels collects garbage in each correction
    for _ in range(draws):
        tested = [pair for pair in compared(runs, design.draw(generator, gain)) if pair.estimate]
        p = holm([pair.estimate.p for pair in tested if pair.estimate])
        tally.stores += 1
        tally.claims += any(winner(pair, value) for pair, value in zip(tested, p, strict=True))
        for pair in tested:
            assert pair.estimate
            low, high = pair.estimate.interval()
            tally.intervals += 1
            tally.held += low <= gain * (pair.a == "m0") <= high
    gc.unfreeze()
    return tally


NULL = (
    *(Design(f"1 scenario, {n} seeds", seeds=n) for n in (2, 3, 5, 8)),
    Design("1 scenario, 5 seeds, one method 5 times as noisy", seeds=5, noise=(5.0, 1.0)),
    Design("1 scenario, 3 seeds, heavy tails (t, 3 degrees of freedom)", seeds=3, tails=3),
    Design("1 scenario, 8 seeds, heavy tails (t, 3 degrees of freedom)", seeds=8, tails=3),
    Design("1 scenario, 8 seeds, a third of the runs missing", seeds=8, missing=1 / 3),
    Design("1 scenario, 5 orders × 1 seed", orders=5, order=2.0),
    Design("1 scenario, 5 orders × 3 seeds", orders=5, seeds=3, order=2.0),
    Design("1 scenario, 3 orders × 10 seeds", orders=3, seeds=10, order=2.0),
    Design("1 scenario, 2 settings × 5 seeds", settings=2, seeds=5, order=2.0),
    Design("2 scenarios × 5 seeds", scenarios=2, seeds=5, scenario=4.0),
    Design("5 scenarios × 1 seed", scenarios=5, scenario=1.0),
    Design("5 scenarios × 10 seeds", scenarios=5, seeds=10, scenario=1.0),
    Design("5 scenarios × 10 seeds, strong interaction", scenarios=5, seeds=10, scenario=4.0),
    Design("5 scenarios × 2 settings × 3 seeds", scenarios=5, settings=2, seeds=3, scenario=1.0, order=1.0),
    Design("3 scenarios × 5 orders × 3 seeds", scenarios=3, orders=5, seeds=3, scenario=2.0, order=2.0),
    Design("5 scenarios × 3 seeds, noise from 1 to 5 times", scenarios=5, seeds=3, scenario=1.0, scales=5.0),
    Design("5 scenarios × 3 seeds, heavy tails", scenarios=5, seeds=3, scenario=1.0, tails=3),
    Design("5 scenarios × 3 seeds, a third missing", scenarios=5, seeds=3, scenario=2.0, missing=1 / 3),
    Design("3 methods, 1 scenario, 3 seeds", seeds=3, methods=3),
    Design("5 methods, 1 scenario, 10 seeds", seeds=10, methods=5),
    Design("12 methods, 1 scenario, 3 seeds", seeds=3, methods=12),
    Design("5 methods, 5 scenarios × 3 seeds", scenarios=5, seeds=3, methods=5, scenario=2.0),
    Design(
        "5 methods, 5 orders × 3 seeds, a third missing", orders=5, seeds=3, methods=5, order=2.0, missing=1 / 3
    ),
)
"""No method is better than another on average over scenarios, orders or seeds."""


def simulate_images(images: int, seeds: int, draws: int, seed: int = 0) -> Tally:
    """Two equal methods whose networks are right on other images each: seeds and test images are drawn anew, and
    the images' part comes from their counts by the bootstrap (of 400 resamples). One seed: the interval over images
    of two networks, whose difference on all images of their kind is the truth."""
    generator, group = np.random.default_rng(seed), ClassGroup(0, 4, False)
    tally = Tally()
    for _ in range(draws):
        labelled = generator.integers(1, 1000, (images, 5)) * (generator.random((images, 5)) < 0.5)
        liked = generator.normal(0, 0.8, (2, images, 5))
        pairs = [_pair_of_networks(generator, labelled, liked, 0.1 * (seeds > 1), group) for _ in range(seeds)]
        if seeds > 1:
            found = estimate([a.score - b.score for a, b in pairs], shared_deviation(pairs))
            low, high = found.interval()
            tally.claims += found.p < LEVEL
        else:
            interval = paired_interval(*pairs[0])
            low, high = interval.low, interval.high
        tally.stores += 1
        tally.intervals += 1
        tally.held += low <= 0 <= high
    return tally


def _pair_of_networks(
    generator: np.random.Generator, labelled: np.ndarray, liked: np.ndarray, deviation: float, group: ClassGroup
) -> tuple[Resampled, Resampled]:
    """Networks of two methods that have images they like, each with a skill of its own that deviates so much."""
    skill = generator.normal(0, deviation, (2, 1, 1)) + liked + generator.normal(0, 0.4, liked.shape)
    hits = generator.binomial(labelled, 1 / (1 + np.exp(-1 - skill)))
    false = generator.integers(0, 100, liked.shape)
    counts = np.stack([hits, false, labelled - hits], axis=2)
    one, other = (resample_counts(ImageCounts("test", each), group, "", resamples=400) for each in counts)
    return one, other


def simulate_shared(units: int, ratio: float, draws: int, seed: int = 0) -> Tally:
    """Differences over seeds that share an error: `ratio` is its variance over that of the mean over seeds."""
    generator, tally = np.random.default_rng(seed), Tally()
    for _ in range(draws):
        shared = np.sqrt(ratio / units)
        found = estimate(generator.normal(size=units) + shared * generator.normal(), shared)
        tally.stores += 1
        tally.intervals += 1
        tally.claims += found.p < LEVEL
        tally.held += found.p >= LEVEL  # p-value and interval are of one distribution
    return tally


def simulate_ranks(design: Design, draws: int, seed: int = 0) -> tuple[float, float]:
    """How often the figure tells any two methods apart, and Friedman's p-value is below 5 %: shares of stores."""
    generator, cells = np.random.default_rng(seed), [tuple(map(str, cell)) for cell in design.cells()]
    apart = differ = 0
    gc.freeze()
    for _ in range(draws):
        found = units(dict(zip(cells, design.draw(generator), strict=True)))
        ranked = ranking([str(method) for method in range(design.methods)], found.values)
        apart += any(ranked.told_apart(*pair) for pair in ranked.pairs)
        differ += ranked.p < LEVEL
    gc.unfreeze()
    return apart / draws, differ / draws


def simulate_chances(seeds: int, draws: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """What was promised with 90 % or more, and how often it came true: shares of the stores of which it was said.

    The true difference is drawn evenly between −10 and 10 deviations, as one of which nothing is known before.
    """
    generator = np.random.default_rng(seed)
    said: dict[str, list[tuple[float, bool]]] = {"better by more than 0.5": [], "above on a new seed": []}
    for _ in range(draws):
        truth = generator.uniform(-10, 10)
        values = truth + generator.normal(size=seeds)
        said["better by more than 0.5"].append((estimate(values).chances(0.5)[0], truth > 0.5))
        chance = chance_on_new_seed([values])
        assert chance is not None
        said["above on a new seed"].append((chance, truth + generator.normal() > 0))
    sure = {what: [pair for pair in pairs if 0.9 <= pair[0] < 0.99] for what, pairs in said.items()}
    return {what: tuple(np.mean(pairs, axis=0).tolist()) for what, pairs in sure.items()}


def simulate_signed_rank(units: int, region: float, draws: int, seed: int = 0) -> float:
    """How often the Bayesian signed-rank test is surer than 95 % that one of two equal methods is better by more
    than `region` standard deviations."""
    generator = np.random.default_rng(seed)
    chances = [signed_rank_chances(generator.normal(size=units), region) for _ in range(draws)]
    return float(np.mean([max(each[0], each[2]) > 0.95 for each in chances if each]))

"""Tests over independent units: pairs of methods with Holm's correction, and ranks of several methods.

The rank tests follow Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), and
Benavoli, Corani & Mangili, Should we really use post-hoc tests based on mean-ranks?, JMLR 17 (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from issbench.results.estimate import LEVEL

_PERMUTATIONS = 19_999
_FEW_UNITS = 30
"""Up to so many units Friedman's p-value is found by permutation; beyond, χ² is near enough."""
_BATCH = 500
_FEWEST_RANKED = 6


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for all of them by Holm's method: the chance that any of those below the level is false is
    at most the level."""
    if len(p) < 2:
        return list(p)
    from statsmodels.stats.multitest import multipletests

    return [float(value) for value in multipletests(list(p), method="holm")[1]]


def wilcoxon_p(differences: Sequence[float] | np.ndarray) -> float:
    """Two-sided signed-rank test of differences in points; those of 0 are dropped (Wilcoxon's own way).

    Exact for up to 50 differences of distinct sizes, or 13 with ties; else by the normal approximation.
    """
    from scipy import stats

    differences = np.round(np.asarray(differences, float), 9)
    apart = differences[differences != 0]
    size = np.abs(apart)
    if not len(apart):
        return 1.0
    if len(np.unique(size)) == len(size):
        return float(stats.wilcoxon(apart, method="exact" if len(size) <= 50 else "approx").pvalue)
    if len(size) > 13:
        return float(stats.wilcoxon(apart, method="approx").pvalue)
    # With ties scipy's tables do not hold; all 2ⁿ signs are equally likely if there is no difference.
    return float(stats.wilcoxon(apart, method=stats.PermutationMethod()).pvalue)


def signed_rank_chances(differences: np.ndarray, equivalence: float) -> tuple[float, float, float] | None:
    """The Bayesian signed-rank test: the probabilities that the first method is better, equivalent within ±
    `equivalence` points, and worse (Benavoli, Corani, Demšar & Zaffalon, JMLR 18, 2017). None for fewer than 6
    units, of which it is too sure: see docs/statistics.md."""
    if len(differences) < _FEWEST_RANKED:
        return None
    from baycomp import SignedRankTest

    found = SignedRankTest(differences, np.zeros(len(differences)), equivalence, nsamples=10_000, random_state=0)
    if equivalence:
        return found.probs()
    better, worse = found.probs(with_rope=False)
    return better, 0.0, worse


@dataclass(frozen=True)
class Ranking:
    """Three or more methods by their ranks over units, with Friedman's test and Wilcoxon's of each pair."""

    methods: tuple[str, ...]
    """From the best mean rank to the worst."""
    ranks: tuple[float, ...]
    """Mean ranks of `methods` (1 is best; equal values share the mean of their ranks)."""
    units: int
    p: float
    """Friedman's test of all methods."""
    pairs: dict[tuple[int, int], float]
    """Wilcoxon's p-values with Holm's correction, by the places (better, worse) in `methods`."""
    level: float = LEVEL

    @property
    def how(self) -> str:
        """How Friedman's p-value was found."""
        return "by permutation" if self.units <= _FEW_UNITS else "χ²"

    def told_apart(self, better: int, worse: int) -> bool:
        """Whether Wilcoxon's test with Holm's correction tells two apart, by their places in `methods`."""
        return self.pairs[better, worse] < self.level


def ranking(methods: Sequence[str], values: np.ndarray) -> Ranking:
    """Ranks by mIoU (%) `values` `[units, methods]`. Raises ValueError for fewer than 3 methods or 2 units."""
    from scipy import stats

    values = np.round(np.asarray(values, float), 9)
    units, number = values.shape
    if number < 3 or units < 2:
        raise ValueError(f"ranks take 3 methods and 2 units or more; got {number} and {units}")
    each = stats.rankdata(-values, axis=1)
    means = each.mean(axis=0)
    order = np.argsort(means, kind="stable")
    pairs = list(combinations(range(number), 2))
    p = holm([wilcoxon_p(values[:, order[a]] - values[:, order[b]]) for a, b in pairs])
    names, ranks = tuple(methods[i] for i in order), tuple(means[order].tolist())
    return Ranking(names, ranks, units, friedman_p(each), dict(zip(pairs, p, strict=True)))


def friedman_p(ranks: np.ndarray) -> float:
    """Friedman's test of ranks `[units, methods]`: exact where there are few permutations of them (4 methods, 3
    units), by 19,999 random ones up to 30 units, and by χ² beyond. The order of methods does not matter."""
    from scipy import stats

    if np.ptp(ranks) == 0:
        return 1.0
    if len(ranks) > _FEW_UNITS:
        return float(stats.friedmanchisquare(*ranks.T).pvalue)

    def apart(*samples: np.ndarray, axis: int) -> np.ndarray:
        return sum(sample.sum(axis=axis) ** 2 for sample in samples)  # rises with Friedman's χ²

    columns = tuple(ranks[:, np.lexsort(ranks)].T)
    found = stats.permutation_test(
        columns, apart, permutation_type="samples", vectorized=True, n_resamples=_PERMUTATIONS,
        batch=_BATCH, alternative="greater", random_state=0,
    )  # fmt: skip
    return float(found.pvalue)

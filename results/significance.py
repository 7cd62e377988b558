"""Rank tests of methods over matched cells.

The tests and the critical difference follow Demšar, Statistical comparisons of classifiers over multiple data
sets, JMLR 7 (2006).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

FEWEST_PAIRS = 6
"""With n pairs the smallest p-value of the two-sided Wilcoxon test is 2/2ⁿ: below 5 % from 6 on."""


@dataclass(frozen=True)
class Wilcoxon:
    """The signed-rank test of two methods over matched cells."""

    pairs: int
    wins: int
    """Cells in which the first method is better."""
    losses: int
    median: float
    """Median of the differences, in points."""
    balance: float
    """Ranks of the wins minus ranks of the losses: its sign says whom the test favours."""
    p: float
    level: float = 0.05

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at the level."""
        return self.p < self.level

    def sentence(self, a: str, b: str) -> str:
        """What this says about the methods named `a` and `b`."""
        cells = f"{self.pairs} matched cell{'s' * (self.pairs > 1)}"
        start = f"{a} is above {b} in {self.wins} of {cells} and below in {self.losses}"
        median = f"median difference {self.median:+.2f} points"
        decided = self.wins + self.losses
        if decided < FEWEST_PAIRS:
            return (
                f"{start} ({median}). With fewer than {FEWEST_PAIRS} pairs that differ the Wilcoxon test cannot "
                f"reach {self.level:.0%}: over cells nothing is significant; add seeds, orders or scenarios."
            )
        if not self.significant:
            return f"{start} ({median}). The difference is not significant (Wilcoxon test, p = {self.p:.2g})."
        better = a if self.balance > 0 else b
        return f"{start} ({median}). Significant in favour of {better} (Wilcoxon test, p = {self.p:.2g})."


def wilcoxon_test(a: Sequence[float], b: Sequence[float], level: float = 0.05) -> Wilcoxon:
    """Two-sided test of mIoU (%) of two methods, cell by cell. Cells without a difference are dropped (Wilcoxon's
    own way). Raises ValueError where the two do not pair up."""
    from scipy.stats import rankdata

    if len(a) != len(b) or not len(a):
        raise ValueError(f"the Wilcoxon test takes as many values of both methods; got {len(a)} and {len(b)}")
    difference = np.asarray(a, float) - np.asarray(b, float)
    apart = difference[difference != 0]
    p = _signed_rank_p(apart) if len(apart) else 1.0
    balance = float(np.sign(apart) @ rankdata(np.abs(apart)))
    wins, losses = int((apart > 0).sum()), int((apart < 0).sum())
    return Wilcoxon(len(difference), wins, losses, float(np.median(difference)), balance, p, level)


def _signed_rank_p(difference: np.ndarray) -> float:
    """Exact for up to 50 differences of distinct sizes, or 13 with ties; else by the normal approximation."""
    from scipy import stats

    size = np.abs(difference)
    if len(np.unique(size)) == len(size):
        return float(stats.wilcoxon(difference, method="exact" if len(size) <= 50 else "approx").pvalue)
    if len(size) > 13:
        return float(stats.wilcoxon(difference, method="approx").pvalue)
    # With ties scipy's tables do not hold; all 2ⁿ signs are equally likely if there is no difference.
    return float(stats.wilcoxon(difference, method=stats.PermutationMethod()).pvalue)


@dataclass(frozen=True)
class Friedman:
    """The Friedman test of three or more methods over cells that all of them have, with Nemenyi's post-hoc test."""

    methods: tuple[str, ...]
    """From the best mean rank to the worst."""
    ranks: tuple[float, ...]
    """Mean ranks of `methods` (1 is best; equal values share the mean of their ranks)."""
    cells: int
    statistic: float
    p: float
    critical_difference: float
    """Mean ranks that differ by at least this are significantly different (Nemenyi)."""
    level: float = 0.05

    @property
    def significant(self) -> bool:
        """Whether the methods differ at all."""
        return self.p < self.level

    @property
    def different(self) -> tuple[tuple[str, str], ...]:
        """Pairs (better, worse) that the post-hoc test tells apart; none where the Friedman test finds nothing."""
        if not self.significant:
            return ()
        pairs = combinations(zip(self.methods, self.ranks, strict=True), 2)
        return tuple((a, b) for (a, rank_a), (b, rank_b) in pairs if rank_b - rank_a >= self.critical_difference)

    def sentence(self) -> str:
        """What is significant and what is not."""
        ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(self.methods, self.ranks, strict=True))
        start = f"Mean ranks over {self.cells} matched cells (1 is best): {ranks}."
        rough = ", a rough value for so few cells" if self.cells < 10 else ""
        test = f"Friedman test, χ² = {self.statistic:.2f}, p = {self.p:.2g}{rough}"
        if not self.significant:
            return f"{start} The methods cannot be told apart ({test})."
        nemenyi = f"Nemenyi test, critical difference {self.critical_difference:.2f}"
        if not self.different:
            return f"{start} The methods differ ({test}), but no two of them significantly ({nemenyi})."
        pairs = "; ".join(f"{better} above {worse}" for better, worse in self.different)
        return f"{start} The methods differ ({test}). Significant ({nemenyi}): {pairs}. No other pair is."


def friedman_test(methods: Sequence[str], values: np.ndarray, level: float = 0.05) -> Friedman:
    """Test of mIoU (%) `values` `[cells, methods]`. Raises ValueError for fewer than 3 methods or 2 cells."""
    from scipy import stats

    values = np.asarray(values, float)
    cells, number = values.shape
    if number < 3 or cells < 2:
        raise ValueError(f"the Friedman test takes 3 methods and 2 cells or more; got {number} and {cells}")
    ranks = stats.rankdata(-values, axis=1).mean(axis=0)
    same = bool((values == values[:, :1]).all())
    statistic, p = (0.0, 1.0) if same else stats.friedmanchisquare(*values.T)
    order = np.argsort(ranks, kind="stable")
    names = tuple(methods[i] for i in order)
    difference = critical_difference(number, cells, level)
    return Friedman(names, tuple(ranks[order].tolist()), cells, float(statistic), float(p), difference, level)


def critical_difference(methods: int, cells: int, level: float = 0.05) -> float:
    """Nemenyi's critical difference of mean ranks, q·√(k(k+1)/6N); q from the studentised range over √2
    (Demšar 2006, Table 5: 2.569 for k = 4 at 5 %)."""
    from scipy import stats

    q = stats.studentized_range.ppf(1 - level, methods, np.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * cells)))

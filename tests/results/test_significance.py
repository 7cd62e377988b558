"""Rank tests against scipy, hand computation, and published examples."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from issbench.results.significance import critical_difference, friedman_test, wilcoxon_test


@pytest.mark.parametrize("size, method", [(6, "exact"), (20, "exact"), (60, "approx")])
def test_wilcoxon_agrees_with_scipy(size: int, method: str) -> None:
    generator = np.random.default_rng(size)
    a, b = generator.normal(50.3, 5, size), generator.normal(50, 5, size)
    expected = stats.wilcoxon(a, b, method=method)
    found = wilcoxon_test(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.pairs == size and found.wins == (a > b).sum() and found.losses == (a < b).sum()
    ranks = stats.rankdata(abs(a - b))
    assert found.balance == pytest.approx(ranks[a > b].sum() - ranks[a < b].sum())


def test_wilcoxon_with_ties_by_hand() -> None:
    difference = [1.0, 1.0, -1.0, 2.0, 3.0, 3.0, 0.0]
    ranks = [2, 2, 2, 4, 5.5, 5.5]  # without the 0
    sums = [sum(r for r, sign in zip(ranks, signs, strict=True) if sign) for signs in product((0, 1), repeat=6)]
    expected = sum(abs(s - 10.5) >= 8.5 for s in sums) / 64  # the wins have 19 of 21
    found = wilcoxon_test(difference, [0.0] * 7)
    assert found.p == pytest.approx(expected)
    assert (found.pairs, found.wins, found.losses, found.balance) == (7, 5, 1, 17)


def test_five_pairs_cannot_be_significant_and_six_can() -> None:
    five, six = (wilcoxon_test(range(1, n + 1), [0] * n) for n in (5, 6))
    assert five.p == pytest.approx(2 / 2**5) and not five.significant
    assert "fewer than 6 pairs" in five.sentence("gsc", "plop") and "cannot reach 5%" in five.sentence(
        "gsc", "plop"
    )
    assert six.p == pytest.approx(2 / 2**6) and six.significant
    assert "gsc is above plop in 6 of 6" in six.sentence("gsc", "plop")
    assert "in favour of gsc" in six.sentence("gsc", "plop")
    assert "in favour of plop" in wilcoxon_test([0] * 6, range(1, 7)).sentence("gsc", "plop")


def test_no_difference_at_all() -> None:
    found = wilcoxon_test([50.0] * 8, [50.0] * 8)
    assert found.p == 1 and not found.significant and found.wins == found.losses == 0


def test_wilcoxon_needs_pairs() -> None:
    with pytest.raises(ValueError, match="2 and 1"):
        wilcoxon_test([1, 2], [1])


def test_not_significant_is_said() -> None:
    found = wilcoxon_test([1, -2, 3, -4, 5, -6, 7], [0] * 7)
    assert "not significant" in found.sentence("a", "b")


def test_critical_difference_of_demsar() -> None:
    # Demšar, JMLR 7 (2006): Section 3.2.2, k = 4, N = 14 gives CD = 2.569·√(4·5/(6·14)) = 1.25; Table 5(a) has
    # the critical values for 5 % and 10 %.
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    for level, table in ((0.05, {2: 1.960, 3: 2.343, 5: 2.728, 10: 3.164}), (0.10, {2: 1.645, 4: 2.291, 7: 2.693})):
        for methods, q in table.items():
            unit = math.sqrt(methods * (methods + 1) / (6 * 20))
            assert critical_difference(methods, 20, level) / unit == pytest.approx(q, abs=1e-3)


def test_friedman_agrees_with_scipy_and_ranks_best_first() -> None:
    values = np.random.default_rng(3).normal([40, 50, 44, 51], 4, (12, 4))
    found = friedman_test(["mib", "gsc", "plop", "joint"], values)
    expected = stats.friedmanchisquare(*values.T)
    assert (found.statistic, found.p) == pytest.approx((expected.statistic, expected.pvalue))
    ranks = dict(zip(found.methods, found.ranks, strict=True))
    for place, method in enumerate(["mib", "gsc", "plop", "joint"]):
        by_hand = [1 + sum(other > row[place] for other in row) for row in values]
        assert ranks[method] == pytest.approx(np.mean(by_hand))
    assert list(found.ranks) == sorted(found.ranks)


def test_post_hoc_pairs_are_those_beyond_the_critical_difference() -> None:
    values = np.tile([60.0, 50.0, 40.0, 30.0], (14, 1))  # mean ranks 1, 2, 3, 4; CD 1.25
    found = friedman_test(["a", "b", "c", "d"], values)
    assert found.significant and found.ranks == (1, 2, 3, 4)
    assert found.different == (("a", "c"), ("a", "d"), ("b", "d"))
    assert "a above c; a above d; b above d. No other pair is." in found.sentence()
    few = friedman_test(["a", "b", "c", "d"], values[:2])  # CD 3.3, χ² = 6, p = 0.11
    assert not few.significant and few.different == ()
    assert "cannot be told apart" in few.sentence() and "rough" in few.sentence()


def test_equal_methods_do_not_differ() -> None:
    found = friedman_test(["a", "b", "c"], np.full((5, 3), 40.0))
    assert found.p == 1 and found.ranks == (2, 2, 2)


@pytest.mark.parametrize("shape", [(5, 2), (1, 4)])
def test_friedman_needs_methods_and_cells(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="3 methods and 2 cells"):
        friedman_test(["m"] * shape[1], np.zeros(shape))

"""Corrections, rank tests and the Bayesian test against libraries, hand computation, and published examples."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from issbench.results.significance import friedman_p, holm, ranking, signed_rank_chances, wilcoxon_p


@pytest.mark.parametrize("size, method", [(6, "exact"), (20, "exact"), (60, "approx")])
def test_wilcoxon_agrees_with_scipy(size: int, method: str) -> None:
    difference = np.random.default_rng(size).normal(0.3, 5, size)
    assert wilcoxon_p(difference) == pytest.approx(stats.wilcoxon(difference, method=method).pvalue)


def test_wilcoxon_with_ties_by_hand() -> None:
    ranks = [2, 2, 2, 4, 5.5, 5.5]  # without the 0
    sums = [sum(r for r, sign in zip(ranks, signs, strict=True) if sign) for signs in product((0, 1), repeat=6)]
    expected = sum(abs(s - 10.5) >= 8.5 for s in sums) / 64  # the wins have 19 of 21
    assert wilcoxon_p([1.0, 1.0, -1.0, 2.0, 3.0, 3.0, 0.0]) == pytest.approx(expected)
    # 40.3 − 40.1 and 50.3 − 50.1 differ in the last bit alone
    ties = [40.3 - 40.1, 50.3 - 50.1, 30.1 - 30.3, 4.0, 5.0, 6.0]
    assert wilcoxon_p(ties) == pytest.approx(wilcoxon_p([0.2, 0.2, -0.2, 4.0, 5.0, 6.0]))
    assert wilcoxon_p([0.0, 0.1 + 0.2 - 0.3]) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.03]) == [0.03] and holm([]) == []


def test_friedman_is_exact_for_few_units() -> None:
    rows = np.array([[1.0, 2, 3]] * 3)
    assert friedman_p(rows) == pytest.approx(1 / 36)  # 6 of 216 are as far apart; χ² says 0.0498
    some = np.array([[1.0, 2, 3], [1, 3, 2], [2, 1, 3], [1, 2, 3]])
    orders = [*permutations((1, 2, 3))]
    far = [np.sum(np.sum(each, axis=0) ** 2) for each in product(orders, repeat=4)]
    assert friedman_p(some) == pytest.approx(np.mean(np.array(far) >= np.sum(some.sum(axis=0) ** 2)))
    many = stats.rankdata(np.random.default_rng(0).normal(size=(40, 4)), axis=1)
    assert friedman_p(many) == pytest.approx(stats.friedmanchisquare(*many.T).pvalue)
    assert friedman_p(many[:20]) == pytest.approx(stats.friedmanchisquare(*many[:20].T).pvalue, abs=0.03)
    assert friedman_p(np.full((5, 3), 2.0)) == 1
    assert friedman_p(many[:20, ::-1]) == friedman_p(many[:20])


def test_ranks_and_pairs() -> None:
    generator = np.random.default_rng(3)
    values = generator.normal([40, 50, 44, 51], 2, (12, 4))
    found = ranking(["mib", "gsc", "plop", "joint"], values)
    ranks = dict(zip(found.methods, found.ranks, strict=True))
    for place, method in enumerate(["mib", "gsc", "plop", "joint"]):
        assert ranks[method] == pytest.approx(
            np.mean([1 + sum(other > row[place] for other in row) for row in values])
        )
    assert list(found.ranks) == sorted(found.ranks) and found.methods[-1] == "mib"
    assert found.told_apart(0, 3) and not found.told_apart(0, 1) and found.how == "by permutation"
    raw = stats.wilcoxon(values[:, 0] - values[:, 3]).pvalue
    assert found.pairs[0, 3] == pytest.approx(6 * raw) and raw == pytest.approx(2 / 2**12)
    five = ranking(["a", "b", "c"], np.tile([3.0, 2, 1], (5, 1)) + generator.normal(0, 0.1, (5, 3)))
    assert not any(five.told_apart(*pair) for pair in five.pairs)  # 2/2⁵ is above 5 % already


@pytest.mark.parametrize("shape", [(5, 2), (1, 4)])
def test_ranks_need_methods_and_units(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="3 methods and 2 units"):
        ranking(["m"] * shape[1], np.zeros(shape))


@pytest.mark.parametrize("equivalence", [0.0, 0.5])
def test_signed_rank_chances_are_those_of_the_formula(equivalence: float) -> None:
    # Benavoli et al. (2017), eq. 8: weights of a Dirichlet process with prior strength 1/2 in the region, over all
    # pairs of differences.
    differences = np.array([1.2, -0.3, 0.9, 2.0, 0.4, -1.1, 0.8])
    generator = np.random.default_rng(1)
    weights = generator.dirichlet([0.5, *[1] * 7], 20_000)
    padded = np.concatenate([[0], differences])
    sums = padded[:, None] + padded
    above = np.einsum(
        "bi,ij,bj->b", weights, 1.0 * (sums > 2 * equivalence) + 0.5 * (sums == 2 * equivalence), weights
    )
    below = np.einsum(
        "bi,ij,bj->b", weights, 1.0 * (sums < -2 * equivalence) + 0.5 * (sums == -2 * equivalence), weights
    )
    shares = np.stack([above, 1 - above - below if equivalence else 0 * above - 1, below])
    expected = np.bincount(shares.argmax(axis=0), minlength=3) / 20_000
    found = signed_rank_chances(differences, equivalence)
    assert found == pytest.approx(tuple(expected), abs=0.015)
    assert signed_rank_chances(differences[:5], equivalence) is None

"""Intervals, p-values, probabilities and power against scipy, statsmodels and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from issbench.results.estimate import Estimate, chance_on_new_seed, estimate

VALUES = [1.3, -0.2, 0.8, 0.5, 1.9]


def test_without_images_it_is_the_paired_t_test() -> None:
    found, expected = estimate(VALUES), stats.ttest_1samp(VALUES, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval() == pytest.approx(tuple(expected.confidence_interval()))
    t = stats.t(4, np.mean(VALUES), stats.sem(VALUES))
    assert found.chances(0.5) == pytest.approx((t.sf(0.5), t.cdf(0.5) - t.cdf(-0.5), t.cdf(-0.5)))
    assert estimate([-v for v in VALUES]).interval() == pytest.approx([-x for x in found.interval()[::-1]])


@pytest.mark.parametrize("units, error, shared", [(2, 1.0, 0.3), (3, 0.5, 0.5), (5, 0.2, 1.0), (10, 1.0, 0.05)])
def test_with_images_it_is_the_sum_of_a_t_and_a_normal_variable(units: int, error: float, shared: float) -> None:
    found = Estimate(1.0, error, units, shared)
    generator = np.random.default_rng(0)
    draws = 1 + error * generator.standard_t(units - 1, 400_000) + shared * generator.normal(size=400_000)
    low, high = found.interval()
    assert np.mean(draws < low) == pytest.approx(0.025, abs=1.5e-3) == np.mean(draws > high)
    assert found.below(0.3) == pytest.approx(np.mean(draws < 0.3), abs=3e-3)
    assert found.p == pytest.approx(2 * np.mean(draws < 0), abs=4e-3)


def test_limits() -> None:
    same = estimate([0.2, 0.2 + 1e-12])
    assert (same.p, same.interval()) == (0.0, (0.2, 0.2)) and same.chances(0.5)[1] == 1
    assert estimate([0.1 + 0.2 - 0.3, 0.0]).p == 1  # equal up to rounding
    normal = Estimate(0.5, 0.0, 4, 0.4)
    assert normal.p == pytest.approx(2 * stats.norm.sf(0.5 / 0.4))
    assert normal.interval() == pytest.approx(stats.norm.interval(0.95, 0.5, 0.4))
    with pytest.raises(ValueError, match="two differences or more; got 1"):
        estimate([1.0])


@pytest.mark.parametrize("units", [2, 3, 5, 8, 20])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_power_is_that_of_statsmodels(units: int, level: float) -> None:
    found = Estimate(0.0, 1 / np.sqrt(units), units)  # a standard deviation of 1
    for difference in (0.5, 1.0, 3.0):
        expected = TTestPower().power(difference, units, level)
        if np.isnan(expected):  # it gives up where the lower tail is nothing
            expected = stats.nct.sf(stats.t.ppf(1 - level / 2, units - 1), units - 1, difference * np.sqrt(units))
        assert found.power(difference, level) == pytest.approx(expected, abs=2e-3)
    assert found.power(found.detectable(level), level) == pytest.approx(0.8, abs=1e-4)


def test_units_that_are_needed() -> None:
    found = estimate(VALUES)
    effect = 0.5 / np.std(VALUES, ddof=1)
    assert found.units_needed(0.5) == np.ceil(TTestPower().solve_power(effect, alpha=0.05, power=0.8))
    assert Estimate(0.0, 0.3, 5, shared=0.5).units_needed(0.5) is None  # no seed makes up for few test images
    assert Estimate(0.3, 0.0, 5).units_needed(0.5) == 2
    needed = {1.0: 10, 2.0: 5, 0.5: 34}  # as the caution under one seed says
    assert {size: Estimate(0.0, 1 / np.sqrt(2), 2).units_needed(size) for size in needed} == needed


def test_how_much_larger_the_spread_may_be() -> None:
    for units in (2, 5, 10):
        expected = np.sqrt((units - 1) / stats.chi2.ppf(0.025, units - 1))
        assert Estimate(0.0, 1.0, units).spread_up_to() == pytest.approx(expected)


def test_the_chance_on_a_new_seed_predicts_one_more_value() -> None:
    deviation = np.std(VALUES, ddof=1) * np.sqrt(1 + 1 / 5)
    assert chance_on_new_seed([VALUES]) == pytest.approx(stats.t.cdf(np.mean(VALUES) / deviation, 4))
    one, other = [1.0, 2.0, 3.0], [-1.0]
    pooled = np.std(one, ddof=1)
    chances = [stats.t.cdf(2 / (pooled * np.sqrt(4 / 3)), 2), stats.t.cdf(-1 / (pooled * np.sqrt(2)), 2)]
    assert chance_on_new_seed([one, other]) == pytest.approx(np.mean(chances))
    assert chance_on_new_seed([[1.0], [2.0]]) is None
    assert chance_on_new_seed([[1.0, 1.0]]) == 1 and chance_on_new_seed([[0.0, 0.0]]) == 0.5

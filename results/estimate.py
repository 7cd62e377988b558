"""What is known of a mean difference: one distribution, from which interval, p-value and probabilities follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

LEVEL = 0.05
"""A difference is called one where its p-value, corrected for all pairs shown, is below this."""
POWER = 0.8
_MOST_UNITS = 10_000


@dataclass(frozen=True)
class Estimate:
    """A mean difference in points over `units` independent units, with its uncertainty.

    `error`: standard error over the units, with units − 1 degrees of freedom. `shared`: standard deviation of what
    all units have in common, the choice of test images; 0 where it is unknown or left out.

    difference − truth is then distributed as error · t + shared · z (Behrens and Fisher): with `shared` = 0 this is
    the paired t test. The coverage of the interval is 95 % or, for 2 and 3 units, more: see docs/statistics.md.
    """

    difference: float
    error: float
    units: int
    shared: float = 0.0

    def below(self, value: float) -> float:
        """The probability that the true difference is below `value`, before which nothing was known of it."""
        from scipy.special import ndtr, stdtr

        away = value - self.difference
        if not self.error and not self.shared:
            return float(np.heaviside(away, 0.5))
        if not self.error:
            return float(ndtr(away / self.shared))
        if not self.shared:
            return float(stdtr(self.units - 1, away / self.error))
        return float(ndtr((away - self.error * _t_quantiles(self.units - 1)) / self.shared).mean())

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference; 1 where every unit shows none."""
        low = self.below(0.0)
        return min(1.0, 2 * min(low, 1 - low))

    def chances(self, equivalence: float) -> tuple[float, float, float]:
        """The probabilities that the true difference is above `equivalence` points, within ± of it, and below."""
        above, below = 1 - self.below(equivalence), self.below(-equivalence)
        return above, max(0.0, 1 - above - below), below

    def interval(self, level: float = 1 - LEVEL) -> tuple[float, float]:
        """The two-sided interval of the true difference, in points."""
        half = self._half_width((1 + level) / 2)
        return self.difference - half, self.difference + half

    def _half_width(self, quantile: float) -> float:
        from scipy.special import ndtri, stdtrit

        wide = self.error * float(stdtrit(self.units - 1, quantile)) + self.shared * float(ndtri(quantile))
        if not self.error or not self.shared:
            return wide
        low, high = 0.0, wide
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if self.below(self.difference + middle) < quantile else (low, middle)
        return high

    def spread_up_to(self) -> float:
        """How many times as large as it seems the standard deviation of units may be: the upper end of its 95 %
        interval."""
        from scipy.special import gammaincinv

        freedom = self.units - 1
        return float(np.sqrt(freedom / 2 / gammaincinv(freedom / 2, LEVEL / 2)))

    def power(self, difference: float, level: float = LEVEL) -> float:
        """How often a true difference is found at the level, if error and deviation are what they are here."""
        from scipy.special import ndtr, ndtri, stdtrit

        freedom = self.units - 1
        t, z = float(stdtrit(freedom, 1 - level / 2)), float(ndtri(1 - level / 2))
        half = np.sqrt(_variance_quantiles(freedom) * (t * self.error) ** 2 + (z * self.shared) ** 2)
        total = np.hypot(self.error, self.shared)
        return float((ndtr((difference - half) / total) + ndtr((-difference - half) / total)).mean())

    def detectable(self, level: float = LEVEL) -> float:
        """The smallest true difference, in points, that is found with a power of 80 %."""
        if not self.error and not self.shared:
            return 0.0
        low, high = 0.0, np.hypot(self.error, self.shared)
        while self.power(high, level) < POWER:
            low, high = high, 2 * high
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if self.power(middle, level) < POWER else (low, middle)
        return high

    def units_needed(self, difference: float, level: float = LEVEL) -> int | None:
        """How many units find a true difference with a power of 80 %; None for more than 10,000, as where the
        choice of test images alone hides it."""

        def enough(units: int) -> bool:
            return Estimate(0.0, deviation / np.sqrt(units), units, self.shared).power(difference, level) >= POWER

        deviation = self.error * np.sqrt(self.units)
        if not self.error and not self.shared:
            return 2
        if not enough(_MOST_UNITS):
            return None
        low, high = 1, _MOST_UNITS
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if enough(middle) else (middle, high)
        return high


def estimate(differences: Sequence[float] | np.ndarray, shared: float = 0.0) -> Estimate:
    """Of differences in points, one for each of two or more independent units."""
    found = np.round(np.asarray(differences, float), 9)  # what is equal up to rounding is equal
    if len(found) < 2:
        raise ValueError(f"an estimate takes two differences or more; got {len(found)}")
    return Estimate(float(found.mean()), float(found.std(ddof=1) / np.sqrt(len(found))), len(found), shared)


def chance_on_new_seed(places: Sequence[Sequence[float]]) -> float | None:
    """The probability that the difference is above 0 on a seed that was not run, of a place taken at random.

    `places` has the differences over seeds of each. The deviation between seeds is taken as the same in all places;
    the probability is that of the t distribution that predicts one more value. None where no place has two seeds.
    """
    from scipy.special import stdtr

    values = [np.round(np.asarray(place, float), 9) for place in places]
    freedom = sum(len(place) - 1 for place in values)
    if not freedom:
        return None
    deviation = np.sqrt(sum(((place - place.mean()) ** 2).sum() for place in values) / freedom)
    chances = [
        stdtr(freedom, place.mean() / (deviation * np.sqrt(1 + 1 / len(place))))
        if deviation
        else np.heaviside(place.mean(), 0.5)
        for place in values
    ]
    return float(np.mean(chances))


def _steps(number: int) -> np.ndarray:
    """The middles of as many equal parts of 0 … 1."""
    return (np.arange(number) + 0.5) / number


@cache
def _t_quantiles(freedom: int) -> np.ndarray:
    from scipy.special import stdtrit

    return np.asarray(stdtrit(freedom, _steps(4000)))


@cache
def _variance_quantiles(freedom: int) -> np.ndarray:
    """Of a variance that was estimated with so many degrees of freedom, over the true one: χ² / freedom."""
    from scipy.special import gammaincinv

    return np.asarray(2 / freedom * gammaincinv(freedom / 2, _steps(400)))

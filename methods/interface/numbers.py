"""Kinds of numbers: the ranges of options, declared where an option is: `temperature: Positive = 1.0`.

An annotation decides no result, so it is in no key. A number is always finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated

_MOST = 10**9


@dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`, without those in `without`: `Range(0, 1, without=(1,))` is [0, 1)."""

    least: float
    most: float = inf
    without: tuple[float, ...] = ()

    def __contains__(self, number: float) -> bool:
        return self.least <= number <= self.most and number not in self.without

    def __str__(self) -> str:
        low = f"{'above' if self.least in self.without else 'from'} {self.least}"
        if self.most == inf:
            return low if self.least in self.without else f"{self.least} or more"
        return f"{low} to {'below ' * (self.most in self.without)}{self.most}"


Weight = Annotated[float, Range(0)]
Positive = Annotated[float, Range(0, without=(0,))]
Share = Annotated[float, Range(0, 1)]
Count = Annotated[int, Range(1, _MOST)]
SEEDS = Range(0, 2**63 - 1)
"""Of experiments."""

RANGED = {"Weight": Weight, "Positive": Positive, "Share": Share, "Count": Count}
"""The kinds for options by the name that an annotation has for them."""

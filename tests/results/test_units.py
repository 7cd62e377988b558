"""What counts as an independent repetition, and what is averaged first."""

from __future__ import annotations

from itertools import product

import numpy as np

from issbench.results.units import Facts, inside, places, units


def cells(*levels: int) -> dict[Facts, np.ndarray]:
    """As many scenarios, settings, orders and seeds, with a value that tells them apart."""
    return {
        (f"scenario {a}", f"setting {b}", f"order {c}", str(d)): np.array(1000.0 * a + 100 * b + 10 * c + d)
        for a, b, c, d in product(*map(range, levels))
    }


def test_the_outermost_level_that_varies_is_the_unit() -> None:
    for levels, over, place in (
        ((1, 1, 1, 1), "1 seed", "scenario 0, setting 0, order order 0"),
        ((1, 1, 1, 8), "8 seeds", "scenario 0, setting 0, order order 0"),
        ((1, 1, 5, 3), "5 class orders", "scenario 0, setting 0"),
        ((1, 2, 5, 3), "2 settings", "scenario 0"),
        ((4, 2, 5, 3), "4 scenarios", ""),
    ):
        found = units(cells(*levels))
        assert (found.over, found.place) == (over, place)


def test_what_lies_within_a_unit_is_averaged_level_by_level() -> None:
    some = cells(2, 1, 2, 2)
    del some["scenario 0", "setting 0", "order 1", "1"]
    found = units(some)
    assert found.values.tolist() == [np.mean([0.5, 10.0]), np.mean([1000.5, 1010.5])]  # not the mean over runs
    pairs = units({facts: np.array([value, -value]) for facts, value in some.items()})
    assert pairs.values.shape == (2, 2) and pairs.values[:, 1].tolist() == (-found.values).tolist()


def test_units_within_units() -> None:
    found = list(inside(cells(2, 1, 1, 3)))
    assert [(each.place, each.over) for each in found] == [
        (f"scenario {s}, setting 0, order order 0", "3 seeds") for s in range(2)
    ]
    assert not list(inside(cells(1, 1, 1, 3))) and not list(inside(cells(3, 1, 1, 1)))
    assert [len(place) for place in places(cells(2, 1, 2, 3))] == [3] * 4

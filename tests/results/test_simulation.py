"""Where no method is better, that is said in 95 % of stores or more: the short form of the simulation of which
docs/statistics.md has the tables."""

from __future__ import annotations

import json

import numpy as np
import pytest
import simulation
from made_runs import made_run
from null_stores import NULL, ORDERS, SCENARIOS, Design, Tally, compared, simulate, simulate_images

from issbench.results.claims import winner
from issbench.results.compare import compare

DRAWS = 400
SHORT = [design for design in NULL if design.methods == 2 and design.seeds * design.scenarios < 30]


def most(share: float, number: int) -> float:
    """What a share of so many draws exceeds once in 700 times."""
    return share + 3 * float(np.sqrt(share * (1 - share) / number))


def assert_right(tally: Tally) -> None:
    assert tally.claimed <= most(0.05, tally.stores)
    assert 1 - tally.coverage <= most(0.05, tally.stores)


@pytest.mark.parametrize("design", SHORT, ids=lambda design: design.name)
def test_equal_methods_are_not_told_apart(design: Design) -> None:
    tally = simulate(design, DRAWS, seed=1)
    assert_right(tally)
    assert tally.intervals == DRAWS or design.missing


def test_of_five_equal_methods_none_is_better() -> None:
    assert_right(simulate(Design("five", seeds=3, methods=5, scenarios=5, scenario=2.0), 100, seed=1))


@pytest.mark.parametrize("images, seeds", [(60, 1), (100, 2), (100, 3)])
def test_test_images_are_a_sample_too(images: int, seeds: int) -> None:
    assert_right(simulate_images(images, seeds, 100, seed=1))


def test_what_is_there_is_found() -> None:
    assert simulate(Design("one", seeds=5), 200, gain=3.0).claimed > 0.8  # the difference deviates by 1.4
    assert simulate(Design("three", seeds=8, methods=3), 100, gain=3.0).claimed > 0.9


def test_the_words_follow_the_rule() -> None:
    """`compare` prints that a method is better where the rule says so, and where it does not, never."""
    design = Design("words", scenarios=2, orders=2, seeds=3, scenario=3.0, order=1.0)
    generator, said = np.random.default_rng(4), 0
    for gain in (0.0, 0.0, 6.0, -6.0, 30.0, -30.0) * 4:
        scores = design.draw(generator, gain)
        (pair,) = compared(design.runs(), scores)
        assert pair.estimate
        better = {"m0": "m0 is better than m1", "m1": "m1 is better than m0"}.get(winner(pair, pair.estimate.p))
        runs = [
            made_run(f"m{method}", scores[cell, method], seed, scenario=SCENARIOS[scenario], order=ORDERS[order])
            for cell, (scenario, _, order, seed) in enumerate(design.cells())
            for method in range(2)
        ]
        text = " ".join(compare(runs, ["m0", "m1"]).notes)
        assert text.startswith(better or "m0 and m1 are not told apart")
        assert better or " is better than" not in text
        said += better is not None
    assert 0 < said < 24


def test_the_kept_simulation_is_right() -> None:
    kept = json.loads(simulation.RECORD.read_text(encoding="utf-8"))
    assert list(kept["null"]) == [design.name for design in NULL]
    for name, row in {**kept["null"], **kept["images"]}.items():
        error = most(0.05, row["stores"]) - 0.05
        assert row["claimed"] <= 0.05 + error, name
        assert row["coverage"] >= 0.93 - error, name
        surely = name.startswith(("2 seeds;", "3 seeds;", "counts"))  # wider than needed, as the page says
        assert row["coverage"] <= 0.97 + error or surely, name
    for _, _, _, found, _ in kept["power"].values():
        assert found == pytest.approx(0.8, abs=0.05)


def test_the_page_shows_what_is_kept() -> None:
    assert simulation.figures_of(simulation.PAGE.read_text(encoding="utf-8")) == simulation.figures()

"""How often what `bench compare` says is wrong: kept in docs/statistics.json, and written into docs/statistics.md.

python tests/support/simulation.py [DRAWS]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from null_stores import (
    NULL,
    Design,
    Tally,
    simulate,
    simulate_chances,
    simulate_images,
    simulate_ranks,
    simulate_shared,
    simulate_signed_rank,
)

from issbench.results.estimate import Estimate

DOCS = Path(__file__).resolve().parents[2] / "docs"
RECORD, PAGE = DOCS / "statistics.json", DOCS / "statistics.md"
_BEGIN, _END = "<!-- figures: python tests/support/simulation.py -->\n", "<!-- end of figures -->\n"
DRAWS = 2000
"""Stores of each design; of those that take long, a part."""
SEEDS = (2, 3, 5, 8, 10, 20)
RANKED = (
    Design("5 seeds, 3 methods", seeds=5, methods=3),
    Design("8 seeds, 3 methods", seeds=8, methods=3),
    Design("10 scenarios × 3 seeds, 5 methods", scenarios=10, seeds=3, methods=5, scenario=2.0),
)


def measure(draws: int) -> dict[str, Any]:
    """All that the page shows."""
    null = {
        design.name: _told(design.name, simulate(design, draws // (1 + 3 * (design.methods > 5)), seed=place))
        for place, design in enumerate(NULL)
    }
    shared = {
        f"{units} seeds; images {ratio:g} times the variance of seeds": simulate_shared(units, ratio, draws)
        for units in (2, 3, 5, 10)
        for ratio in (0.1, 1, 10)
    }
    images = {
        f"counts of {images} images, {seeds} seed{'s' * (seeds > 1)}": simulate_images(images, seeds, draws // 4)
        for images, seeds in ((20, 1), (60, 1), (200, 1), (200, 2), (200, 3), (200, 5))
    }
    return {
        "null": null,
        "images": {name: _told(name, tally) for name, tally in {**shared, **images}.items()},
        "power": {str(seeds): _power(seeds, draws // 2) for seeds in SEEDS},
        "ranks": {design.name: [draws // 8, *simulate_ranks(design, draws // 8)] for design in RANKED},
        "chances": {str(seeds): simulate_chances(seeds, 5 * draws) for seeds in (2, 3, 5, 10)},
        "signed rank": {
            f"{units} units, region {region:g} deviations": simulate_signed_rank(units, region, draws // 10)
            for units in (6, 10, 20)
            for region in (0.1, 0.5)
        },
    }


def _told(name: str, tally: Tally) -> dict[str, float]:
    print(f"{name}: {tally.claimed:.1%} called better, {tally.coverage:.1%} of intervals hold", flush=True)
    return {"stores": tally.stores, "claimed": tally.claimed, "coverage": tally.coverage}


def _power(seeds: int, draws: int) -> list[float]:
    """How often 1 and 2 standard deviations of the paired difference are found; what should be found in 80 %, and
    is; and how often 2 deviations between one method and any of four others."""
    half = (np.sqrt(0.5), np.sqrt(0.5))
    design, five = (Design("power", seeds=seeds, methods=methods, noise=half) for methods in (2, 5))
    detectable = Estimate(0.0, 1 / np.sqrt(seeds), seeds).detectable()
    found = [simulate(design, draws, gain, seed=seeds).claimed for gain in (1.0, 2.0, detectable)]
    return [*found[:2], detectable, found[2], simulate(five, draws // 4, 2.0, seed=seeds).claimed]


def figures() -> str:
    """The tables of what is kept."""
    kept = json.loads(RECORD.read_text(encoding="utf-8"))
    told = [
        f"| {name} | {row['stores']:,} | {row['claimed']:.1%} | {row['coverage']:.1%} |"
        for name, row in kept["null"].items()
    ]
    images = [
        f"| {name} | {row['stores']:,} | {row['claimed']:.1%} | {row['coverage']:.1%} |"
        if "1 seed" not in name or "seeds" in name
        else f"| {name} | {row['stores']:,} | – | {row['coverage']:.1%} |"
        for name, row in kept["images"].items()
    ]
    power = [
        f"| {seeds} | {one:.0%} | {two:.0%} | {five:.0%} | {size:.2f} | {found:.0%} |"
        for seeds, (one, two, size, found, five) in kept["power"].items()
    ]
    ranks = [f"| {name} | {int(n):,} | {a:.1%} | {b:.1%} |" for name, (n, a, b) in kept["ranks"].items()]
    chances = [
        f"| {what}, {seeds} seeds | {said:.1%} | {true:.1%} |"
        for seeds, row in kept["chances"].items()
        for what, (said, true) in row.items()
    ]
    head = "stores | called better | intervals that hold the truth"
    return "\n".join(
        [
            *_table(f"no method is better | {head}", told),
            *_table(f"with test images, no method is better | {head}", images),
            *_table(
                "seeds | 1 sd is found | 2 sd | 2 sd of one of 5 methods | detectable, in sd | is found", power
            ),
            *_table("figure of mean ranks, no method is better | stores | told apart | Friedman p < 5%", ranks),
            *_table("said with 90 to 99% | on average | came true", chances),
            *_table(
                "Bayesian signed-rank test of equal methods | surer than 95% of one",
                [f"| {which} | {share:.1%} |" for which, share in kept["signed rank"].items()],
            ),
        ]
    )


def _table(head: str, rows: list[str]) -> list[str]:
    return [f"| {head} |", "|---" * (head.count("|") + 1) + "|", *rows, ""]


def figures_of(page: str) -> str:
    """The tables that stand in a page."""
    return page.partition(_BEGIN)[2].partition(_END)[0]


def main() -> None:
    """Simulate, keep, and write the page."""
    kept = measure(int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS)
    RECORD.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    write_page()


def write_page() -> None:
    """Put what is kept between the marks of the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.partition(_BEGIN)[0], page.partition(_END)[2]
    PAGE.write_text(before + _BEGIN + figures() + _END + after, encoding="utf-8")


if __name__ == "__main__":
    main()

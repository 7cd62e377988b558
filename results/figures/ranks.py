"""Diagram of mean ranks, whose bars join what a test does not tell apart (Demšar, JMLR 2006, fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from issbench.results.claims import p_text
from issbench.results.figures.canvas import FigureError, blank, write_notes
from issbench.results.matched import known_scores, match, mixed
from issbench.results.runs import Run
from issbench.results.significance import Ranking, ranking
from issbench.results.units import LEVELS, Units, units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def critical_difference(runs: Sequence[Run], group: str = "all") -> Figure:
    """Mean ranks of methods by mIoU over the scenarios (else settings, orders, seeds) that all of them have; a bar
    joins those that Wilcoxon's test with Holm's correction does not tell apart. Upper bounds (Joint) take no part.

    FigureError for fewer than three methods or two cells, or where runs of one cell differ in recipe or data.
    """
    titles = {run.spec: run.label for run in runs if not run.method["upper_bound"]}
    methods = list(titles)
    if len(methods) < 3:
        raise FigureError(
            f"a critical-difference diagram takes 3 methods or more, got {', '.join(titles.values()) or 'none'}; "
            "`bench compare` compares two"
        )
    cells, notes = match(runs, methods)
    known = known_scores(cells, group)
    if len(known) < 2 or mixed([cell for cell, _ in known]):
        why = f"all share only {len(known)}" if len(known) < 2 else "several differ in recipe or data alone"
        raise FigureError(
            f"no ranks of {', '.join(titles.values())}: they need 2 cells (scenario, setting, order, seed) or more "
            f"that all have, and {why}; `bench figure` draws some of them with --methods. {' '.join(notes[:2])}"
        )
    found = units({cell.facts: np.array(scores) for cell, scores in known})
    ranked = ranking([titles[method] for method in methods], found.values)
    return draw_ranks(ranked, found.over, [*_what_it_says(found, ranked), *notes[:3]])


def _what_it_says(found: Units, ranked: Ranking) -> list[str]:
    """The test of the bars, its level, and of what it speaks."""
    level, pairs = LEVELS[found.level], len(ranked.pairs)
    fewest = next(units for units in range(2, 100) if pairs * 2 ** (1 - units) < ranked.level)
    few = f" With fewer than {fewest} {level}s it can tell none apart." * (ranked.units < fewest)
    of = f" of {found.place}" if found.place else " like these"
    return [
        f"A bar joins what Wilcoxon's signed-rank test (level {ranked.level:.0%}, Holm's correction for {pairs} "
        f"pairs) does not tell apart.{few}",
        f"This is about other {level}s{of}. `bench compare` has the differences of the means, and tests these.",
    ]


def draw_ranks(found: Ranking, over: str, notes: Sequence[str] = ()) -> Figure:
    """The diagram of a test over some units, such as `6 seeds`: best on the left."""
    count = len(found.methods)
    bars = joined(found)
    height = 1.0 + 0.22 * ((count + 1) // 2) + 0.12 * len(bars)
    figure = blank(6.4, height + 0.35)
    axis = figure.add_subplot()
    axis.set_xlim(0.2 - 0.18 * count, 1.18 * count + 0.8)
    axis.set_axis_off()
    _draw_scale(axis, found)
    for place, (low, high) in enumerate(bars):
        y = -0.45 - 0.3 * place
        axis.plot([low - 0.04, high + 0.04], [y, y], color="black", linewidth=3.2, solid_capstyle="butt", gid="bar")
    _draw_methods(axis, found, -0.45 - 0.3 * len(bars) - 0.35)
    title = f"Mean ranks over {over}, 1 is best (Friedman test {found.how}: {p_text(found.p)})"
    axis.set_title(title, fontsize=9, pad=12)
    write_notes(figure, notes)
    return figure


def joined(found: Ranking) -> list[tuple[float, float]]:
    """The longest ranges of mean ranks whose ends are not told apart, so that methods without a common bar are;
    between the ends of a bar some may be told apart all the same."""
    ranks = found.ranks
    bars: list[tuple[int, int]] = []
    for start in range(len(ranks) - 1):
        ends = [end for end in range(start + 1, len(ranks)) if not found.told_apart(start, end)]
        if ends and (not bars or bars[-1][1] < ends[-1]):
            bars.append((start, ends[-1]))
    return [(ranks[start], ranks[end]) for start, end in bars]


def _draw_scale(axis: Axes, found: Ranking) -> None:
    count = len(found.methods)
    axis.plot([1, count], [0, 0], color="black", linewidth=1)
    for rank in range(1, count + 1):
        axis.plot([rank, rank], [0, 0.15], color="black", linewidth=1)
        axis.text(rank, 0.25, str(rank), ha="center", va="bottom", fontsize=8)


def _draw_methods(axis: Axes, found: Ranking, top: float) -> None:
    """The better half hangs to the left, the others to the right, so that no line crosses a name."""
    count = len(found.methods)
    left, right = 1 - 0.12 * count, count + 0.12 * count
    half = (count + 1) // 2
    for place, (name, rank) in enumerate(zip(found.methods, found.ranks, strict=True)):
        on_left = place < half
        y = top - 0.5 * (place if on_left else count - 1 - place)
        side = left if on_left else right
        axis.plot([rank, rank, side], [0, y, y], color="0.35", linewidth=0.9)
        gap, align = (-0.02 * count, "right") if on_left else (0.02 * count, "left")
        axis.text(side + gap, y, f"{name}  {rank:.2f}", ha=align, va="center", fontsize=8)

"""Nemenyi's critical-difference diagram (Demšar, JMLR 2006, fig. 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from issbench.results.compare import MatchedRuns, match
from issbench.results.figures.canvas import FigureError, blank, write_notes
from issbench.results.runs import Run
from issbench.results.significance import Friedman, friedman_test

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def critical_difference(runs: Sequence[Run], group: str = "all") -> Figure:
    """Mean ranks of methods by mIoU over the cells (scenario, setting, order, seed) that all of them have; a bar
    joins methods that Nemenyi's test does not tell apart. Upper bounds (Joint) do not compete.

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
    known = [cell for cell in cells if None not in cell.scores(group)]
    if len(known) < 2 or len({cell.facts for cell in known}) < len(known):
        why = f"all share only {len(known)}" if len(known) < 2 else "several differ in recipe or data alone"
        raise FigureError(
            f"no ranks of {', '.join(titles.values())}: they need 2 cells (scenario, setting, order, seed) or more "
            f"that all have, and {why}; `bench figure` draws some of them with --methods. {' '.join(notes[:2])}"
        )
    found = friedman_test([titles[m] for m in methods], np.array([cell.scores(group) for cell in known], float))
    return draw_ranks(found, [_cells_note(known), *notes[:3]])


def _cells_note(cells: Sequence[MatchedRuns]) -> str:
    scenarios = {cell.facts[0] for cell in cells}
    note = f"{len(cells)} cells of {len(scenarios)} scenario{'s' * (len(scenarios) > 1)}."
    if len(scenarios) < len(cells):
        note += " Seeds and orders of one scenario are not independent, so p is too small."
    return note


def draw_ranks(found: Friedman, notes: Sequence[str] = ()) -> Figure:
    """The diagram of a test: best on the left."""
    count = len(found.methods)
    bars = alike(found)
    height = 1.25 + 0.22 * ((count + 1) // 2) + 0.12 * len(bars)
    figure = blank(6.4, height + 0.35)
    axis = figure.add_subplot()
    axis.set_xlim(0.2 - 0.18 * count, 1.18 * count + 0.8)
    axis.set_axis_off()
    _draw_scale(axis, found)
    for place, (low, high) in enumerate(bars):
        y = -0.45 - 0.3 * place
        axis.plot([low - 0.04, high + 0.04], [y, y], color="black", linewidth=3.2, solid_capstyle="butt", gid="bar")
    _draw_methods(axis, found, -0.45 - 0.3 * len(bars) - 0.35)
    verdict = f"χ² = {found.statistic:.2f}, p = {found.p:.2g}"
    if not found.significant:
        verdict += ": the methods cannot be told apart"
    axis.set_title(f"Mean ranks, 1 is best (Friedman test: {verdict})", fontsize=9, pad=12)
    write_notes(figure, notes)
    return figure


def alike(found: Friedman) -> list[tuple[float, float]]:
    """The longest ranges of mean ranks within which no two methods differ significantly, each of two or more."""
    ranks, wide = found.ranks, found.critical_difference if found.significant else float("inf")
    bars: list[tuple[float, float]] = []
    for start, low in enumerate(ranks):
        high = max(rank for rank in ranks[start:] if rank == low or rank - low < wide)
        if high > low or ranks.count(low) > 1:
            bars += [] if bars and bars[-1][1] >= high else [(low, high)]
    return bars


def _draw_scale(axis: Axes, found: Friedman) -> None:
    count = len(found.methods)
    axis.plot([1, count], [0, 0], color="black", linewidth=1)
    for rank in range(1, count + 1):
        axis.plot([rank, rank], [0, 0.15], color="black", linewidth=1)
        axis.text(rank, 0.25, str(rank), ha="center", va="bottom", fontsize=8)
    y, end = 1.1, 1 + found.critical_difference
    axis.plot([1, end], [y, y], color="black", linewidth=1, marker="|", markersize=6)
    axis.text(
        (1 + end) / 2, y + 0.12, f"CD = {found.critical_difference:.2f}", ha="center", va="bottom", fontsize=8
    )


def _draw_methods(axis: Axes, found: Friedman, top: float) -> None:
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

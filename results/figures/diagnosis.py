"""What was seen of trainings (`--diagnose`): methods compared over the training, and the terms of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import nan
from statistics import mean, stdev
from typing import TYPE_CHECKING

from issbench.results.diagnosis import MEASURES, PARTS, diagnosed, looks
from issbench.results.figures.canvas import (
    FigureError,
    named_legend,
    row_of_panels,
    shared_legend,
    tidy,
    write_notes,
)
from issbench.results.figures.palette import Look, free_look
from issbench.results.figures.palette import looks as looks_of
from issbench.results.figures.panels import Panel, panels, spread_note
from issbench.results.record import Diagnosis
from issbench.results.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 3.7, 2.8
_TIME = "step (up to the next, its training)"
_NOTE = "On some of the training images of each step. Lines: means over seeds."


def diagnosis(runs: Sequence[Run]) -> Figure:
    """Precision and coverage of the pseudo-labels (means over old classes), the largest probability and the
    entropy, over the training: a line for each method, the mean over seeds with a band. FigureError where nobody
    looked."""
    found, notes = _panels(runs)
    drawn = looks_of(run for panel in found for run in panel.runs)
    figure, axes = row_of_panels(len(MEASURES) * len(found), _WIDTH, _HEIGHT, columns=2)
    for axis, (panel, (name, measure)) in zip(axes, product(found, MEASURES.items()), strict=True):
        for method, members in _methods(panel).items():
            _draw(axis, members, measure, method, drawn[method])
        axis.set(title=panel.title, ylabel=name, xlabel=_TIME)
        _finish(axis)
    if not any(axis.lines for axis in axes):
        raise FigureError(
            "these methods have heads of their own, of whose channels nothing is said; "
            "`bench figure terms` has their terms"
        )
    shared_legend(figure, axes)
    write_notes(figure, [_NOTE, spread_note("Bands", found), *notes])
    return figure


def terms(runs: Sequence[Run]) -> Figure:
    """For each method mean |G| of the background and of the classes of each step, and what share each term has of
    the loss, and of its gradient on the logits, over the training. FigureError where nobody looked."""
    found, notes = _panels(runs)
    rows = [(panel, method, members) for panel in found for method, members in _methods(panel).items()]
    figure, axes = row_of_panels(len(PARTS) * len(rows), _WIDTH, _HEIGHT)
    for axis, ((panel, method, members), (name, parts)) in zip(axes, product(rows, PARTS.items()), strict=True):
        known = dict.fromkeys(part for run in members for *_, seen in looks(run) for part in parts(seen))
        for number, part in enumerate(known):
            _draw(axis, members, _value(parts, part), part, free_look(number))
        axis.set(title=f"{method}, {panel.title}", ylabel=name, xlabel=_TIME)
        _finish(axis)
        named_legend(axis, axis.lines, [str(line.get_label()) for line in axis.lines], fontsize=7)
    write_notes(figure, [_NOTE, spread_note("Bands", found), *notes])
    return figure


def _panels(runs: Sequence[Run]) -> tuple[list[Panel], list[str]]:
    known = diagnosed(runs)
    if not known:
        raise FigureError("none of the runs was looked at; `bench run --diagnose` does so while it trains")
    return panels(known)


def _methods(panel: Panel) -> dict[str, list[Run]]:
    """The runs of each method by its label."""
    found: dict[str, list[Run]] = {}
    for run in panel.runs:
        found.setdefault(run.label, []).append(run)
    return found


def _value(
    parts: Callable[[Diagnosis], Mapping[str, float | None]], name: str
) -> Callable[[Diagnosis], float | None]:
    return lambda seen: parts(seen).get(name)


def _draw(
    axis: Axes, runs: Sequence[Run], value: Callable[[Diagnosis], float | None], name: str, look: Look
) -> None:
    """A number over the training of runs that differ in the seed: a line for each step, in one colour."""
    found: dict[tuple[int, float], list[float]] = {}
    for step, over, seen in (each for run in runs for each in looks(run)):
        number = value(seen)
        if number is not None:
            found.setdefault((step, over), []).append(number)
    points = [(step + over, mean(found[step, over]), _deviation(found[step, over])) for step, over in sorted(found)]
    for number in sorted({step for step, _ in found}, reverse=True)[:-1]:  # a gap before each step but the first
        points.insert(sum(step < number for step, _ in found), (number, nan, nan))
    if not points:
        return
    x, y, deviation = zip(*points, strict=True)
    axis.plot(
        x, y, label=name, linewidth=1.3, markersize=4,
        color=look.colour, marker=look.marker, linestyle=look.dashes,
    )  # fmt: skip
    if any(each > 0 for each in deviation):
        low, high = ([a + sign * b for a, b in zip(y, deviation, strict=True)] for sign in (-1, 1))
        axis.fill_between(x, low, high, color=look.colour, alpha=0.15, linewidth=0)


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _finish(axis: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_ylim(bottom=0)
    tidy(axis)
